"""A message as the simulated provider reads it: the few header fields that the service acts on."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from probe.simulator.options import ProviderOptions

CAMPAIGN_BYTES_MAX = 64
# Unfolding is part of the pattern: a line that begins with white space belongs to the field before it (RFC 5322
# section 2.2.3). The email package would take a hundred times as long for these four fields.
_FIELDS = re.compile(rb"^(message-id|from|x-msys-api|x-binding):((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Message:
    """What matters of a message; `error` is the documented reply to it, or "" if it can be taken."""

    message_id: str = ""
    has_binding: bool = False
    metadata: Mapping[str, object] = field(default_factory=dict)
    error: str = ""


def read_message(data: bytes, sender: str, options: ProviderOptions) -> Message:
    """Read a message's header and say what the service would hold against it."""
    head = data.partition(b"\r\n\r\n")[0]
    fields = {
        match[1].lower(): match[2].replace(b"\r\n", b"").strip().decode("utf-8", "replace")
        for match in _FIELDS.finditer(head)
    }
    author = fields.get(b"from", sender)
    if not options.takes_domain_of(author):
        domain = author.rpartition("@")[2].strip(" <>")
        return Message(error=f"550 5.7.1 Unconfigured Sending Domain <{domain}>")
    metadata = _metadata(fields.get(b"x-msys-api", "{}"))
    if metadata is None:
        return Message(error="550 5.6.0 Invalid X-MSYS-API header")
    return Message(fields.get(b"message-id", "").strip(" <>"), b"x-binding" in fields, metadata)


def _metadata(text: str) -> dict[str, object] | None:
    """Return the metadata of an X-MSYS-API field; None if the service would refuse the field."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("metadata", {}), dict):
        return None
    campaign = value.get("campaign_id", "")
    if not isinstance(campaign, str) or len(campaign.encode()) > CAMPAIGN_BYTES_MAX:
        return None
    metadata: dict[str, object] = value.get("metadata", {})
    return metadata
