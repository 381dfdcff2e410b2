"""A signed webhook: one JSON object for each notice, which its receiver can prove to be ours and to be new."""

import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Any, Final

from probe import clock
from probe.core.notices import Bearing, Notice
from probe.notify.charge import CourierCharge
from probe.notify.post import Post
from probe.times import utc

VERSION: Final = 1
TIMESTAMP_HEADER: Final = "Sev1probe-Timestamp"
SIGNATURE_HEADER: Final = "Sev1probe-Signature"
KEY_HEADER: Final = "Idempotency-Key"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Sign a body: "v1=" and HMAC-SHA256 over timestamp, a dot and the body, in hexadecimal."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"v1={digest}"


def body_of(notice: Notice) -> dict[str, Any]:
    """Make the body; docs/notifications.md describes its fields."""
    return {
        "v": VERSION,
        "key": notice.key,
        "thread": notice.thread,
        "kind": notice.kind,
        "vantage": notice.vantage,
        "target": notice.target,
        "issue": notice.issue,
        "case": notice.case,
        "obligation": notice.obligation,
        "owed_by": notice.owed_by,
        "due": utc(notice.due_second) if notice.due_second else "",
        "due_second": notice.due_second,
        "severity": notice.severity,
        "line": notice.line,
        "bearing": notice.bearing,
        "ends": notice.bearing is Bearing.ENDS,
        "title": notice.title,
        "text": notice.text,
        "since": utc(notice.since_second),
        "since_second": notice.since_second,
        "noticed": utc(notice.noticed_second),
        "noticed_second": notice.noticed_second,
        "recorded": notice.recorded,
        "call_sheet": notice.call_sheet,
    }


class WebhookCourier:
    """Tells one receiver."""

    def __init__(self, charge: CourierCharge) -> None:
        assert charge.secret is not None
        self._post = Post(charge)
        self._secret = charge.secret

    async def tell(self, notice: Notice) -> None:
        """Tell one notice."""
        body = json.dumps(body_of(notice), ensure_ascii=False).encode()
        timestamp = str(clock.wall_us() // clock.SECOND_US)
        headers = {
            "Content-Type": "application/json",
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: signature(self._secret.get_secret_value(), timestamp, body),
            KEY_HEADER: f'"{notice.key}"',  # a string of RFC 8941, as the draft of this header asks for
        }
        await self._post.send(body, headers)

    async def repeat(self, lasting: Iterable[Notice]) -> None:
        """Do nothing: what a receiver was told once it knows."""

    async def close(self) -> None:
        """Let go of connections."""
        await self._post.close()
