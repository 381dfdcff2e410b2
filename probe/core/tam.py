"""The Technical Account Manager: how to reach him, and when.

The contract (Technical Account Manager): primary technical contact and escalation point by phone and e-mail, during
Business Hours. At any other time nobody has promised to answer, so a card without the hours is half a card.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from probe.core.calendar import BusinessHours, Outlook, outlook
from probe.core.callsheet import SECOND_US, Contacts, moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Who the Technical Account Manager is, and whether he is at work."""

    name: str
    phone: str
    email: str
    outlook: Outlook


def card_of(contacts: Contacts, hours: BusinessHours, now_us: int) -> Card | None:
    """Make the card as of now; None where nobody has said how to reach him.

    Raises:
        NeverOpen: If there are no business hours within a year.
    """
    if not (contacts.tam_name or contacts.tam_phone or contacts.tam_email):
        return None
    return Card(
        name=contacts.tam_name,
        phone=contacts.tam_phone,
        email=contacts.tam_email,
        outlook=outlook(hours, datetime.fromtimestamp(now_us // SECOND_US, UTC)),
    )


def words_of(card: Card, zone: tzinfo) -> str:
    """Say how to reach him, whether he is at work now, and until or from when."""
    ways, seen = ", ".join(way for way in (card.name, card.phone, card.email) if way), card.outlook
    if seen.is_open:
        return f"{ways}; at work now, until {_at(seen.next_closing, zone)}"
    return f"{ways}; not at work now ({seen.why_closed}), but from {_at(seen.next_opening, zone)}"


def plain_of(card: Card | None) -> dict[str, Any] | None:
    """Write the card as JSON has it."""
    if card is None:
        return None
    return {"name": card.name, "phone": card.phone, "email": card.email, **plain_outlook(card.outlook)}


def plain_outlook(seen: Outlook) -> dict[str, Any]:
    """Write what is open, and when, as JSON has it."""
    return {
        "open": seen.is_open,
        "why_closed": seen.why_closed,
        "next_opening": f"{seen.next_opening:%Y-%m-%dT%H:%M:%SZ}",
        "next_closing": f"{seen.next_closing:%Y-%m-%dT%H:%M:%SZ}",
    }


def _at(when: datetime, zone: tzinfo) -> str:
    return moment(round(when.timestamp()) * SECOND_US, zone)
