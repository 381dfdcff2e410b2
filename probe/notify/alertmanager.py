"""Alertmanager's API, version 2: what lasts is an alert that is sent again and again until it is over.

Each message says until when the alert fires if nothing more is heard, so Alertmanager's own `resolve_timeout` does not
matter, and an alert whose prober has died ends by itself.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from probe import clock
from probe.core.notices import Bearing, Notice, Severity
from probe.notify.charge import CourierCharge
from probe.notify.post import Post
from probe.times import utc

PATH: Final = "/api/v2/alerts"
# So many repeats may get lost before the alert ends by itself.
REPEATS_IN_RESERVE: Final = 5
# What only happened, and does not last, fires for so long.
NOTE_LASTS_S: Final = 300
RELAPSED: Final = "Sev1probeCriticalIssueRelapsed"


class AlertmanagerCourier:
    """Tells one Alertmanager."""

    def __init__(self, charge: CourierCharge) -> None:
        self._post = Post(charge, PATH)
        self._labels = dict(charge.labels)
        self._lasts_s = max(1, round(REPEATS_IN_RESERVE * charge.repeat_s))

    async def tell(self, notice: Notice) -> None:
        """Tell one notice: an alert fires from now on, for a while, or no more."""
        # What people note of an issue or a case neither begins an alert nor ends it, and an alert has no history.
        is_of_people = bool(notice.issue or notice.case) and notice.severity is Severity.INFO
        if not (is_of_people and notice.bearing is Bearing.NOTES):
            await self._send([notice, _relapse(notice)] if notice.is_relapse else [notice])

    async def repeat(self, lasting: Iterable[Notice]) -> None:
        """Keep the alerts of what lasts firing."""
        await self._send(lasting)

    async def close(self) -> None:
        """Let go of connections."""
        await self._post.close()

    async def _send(self, notices: Iterable[Notice]) -> None:
        now_second = clock.wall_us() // clock.SECOND_US
        alerts = [self._alert(notice, now_second) for notice in notices]
        await self._post.send(json.dumps(alerts).encode(), {"Content-Type": "application/json"})

    def _alert(self, notice: Notice, now_second: int) -> Mapping[str, Any]:
        annotations = {"summary": notice.title, "description": notice.text, "call_sheet": notice.call_sheet}
        alert: dict[str, Any] = {
            "labels": {**self._labels, **_labels(notice)},
            "annotations": {name: text for name, text in annotations.items() if text},
        }
        match notice.bearing:
            case Bearing.BEGINS:
                return {**alert, "startsAt": utc(notice.since_second), "endsAt": utc(now_second + self._lasts_s)}
            case Bearing.NOTES:
                return {**alert, "startsAt": utc(notice.noticed_second), "endsAt": utc(now_second + NOTE_LASTS_S)}
            case Bearing.ENDS:
                return {**alert, "endsAt": utc(min(now_second, notice.noticed_second))}


def _relapse(notice: Notice) -> Notice:
    """Make an alert of its own: the issue's fires all the while, and once acknowledged it pages nobody again."""
    return replace(notice, name=RELAPSED, bearing=Bearing.NOTES)


def _labels(notice: Notice) -> dict[str, str]:
    """Name the alert: the same while it lasts and when it ends. Alertmanager has no labels that are empty."""
    labels = {
        "alertname": notice.name,
        "target": notice.target,
        "issue": notice.issue,
        "case": notice.case,
        "obligation": notice.obligation,
        "owed_by": notice.owed_by,
        # Two of the same obligation may be missed one after the other: the end of one must not end the other.
        "due": utc(notice.due_second) if notice.due_second else "",
        "severity": str(notice.severity),
        "line": notice.line,
        # As the rules in deploy/prometheus have it, so that it is one alert with theirs.
        "about": "issue" if notice.name == RELAPSED else "",
        "vantage": notice.vantage,
    }
    return {name: value for name, value in labels.items() if value}
