"""The Technical Account Manager's card: how to reach him, and when."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from probe.core.calendar import BusinessHours
from probe.core.callsheet import Contacts
from probe.core.tam import card_of, plain_of, words_of

LONDON = ZoneInfo("Europe/London")
HOURS = BusinessHours(name="uk", zone=LONDON, opens=time(8, 30), closes=time(16, 30), holiday=lambda _: "")
CONTACTS = Contacts(tam_name="Terry Amato", tam_email="terry@example.com")


def us(text: str) -> int:
    """Read a moment of London."""
    return round(datetime.fromisoformat(text).replace(tzinfo=LONDON).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ("2026-07-03T16:29:59", "at work now, until 2026-07-03 15:30:00 UTC"),
        ("2026-07-03T16:30:00", "not at work now (after business hours), but from 2026-07-06 07:30:00 UTC"),
        ("2026-07-05T03:00:00", "not at work now (the weekend), but from 2026-07-06 07:30:00 UTC"),
    ],
)
def test_the_card_says_whether_he_is_at_work(now: str, words: str) -> None:
    """Until when if he is, why not and from when if he is not."""
    card = card_of(CONTACTS, HOURS, us(now))
    assert card is not None
    assert words_of(card, UTC) == f"Terry Amato, terry@example.com; {words}"


def test_the_card_is_plain_for_scripts() -> None:
    """What is open now opens next after it has closed; nobody who is not known has a card."""
    assert plain_of(card_of(CONTACTS, HOURS, us("2026-07-03T12:00:00"))) == {
        "name": "Terry Amato",
        "phone": "",
        "email": "terry@example.com",
        "open": True,
        "why_closed": "",
        "next_opening": "2026-07-06T07:30:00Z",
        "next_closing": "2026-07-03T15:30:00Z",
    }
    assert plain_of(card_of(Contacts(company="Acme"), HOURS, us("2026-07-03T12:00:00"))) is None
