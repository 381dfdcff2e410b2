"""The settings of Business Hours: what a file says, and what the rules are given."""

from collections.abc import Callable
from datetime import date, time

import yaml

from probe.core.calendar import HORIZON_DAYS, SATURDAY, DatedException, ServiceZone
from probe.settings import Loaded, effective
from probe.settings.hours import EXCEPTIONS_MAX

Loads = Callable[..., Loaded]

TARGET = """
targets:
  - name: a
    smtp: {host: localhost, sender: a@example.com, recipient: b@example.com}
"""


def test_the_default_is_us_eastern_without_exceptions(loads: Loads) -> None:
    """A target that says nothing has the plain hours."""
    contract = loads(TARGET).settings.targets[0].contract
    assert contract.service_zone is ServiceZone.US_EASTERN
    assert contract.exceptions() == {}


def test_exceptions_are_given_to_the_rules_and_written_back(loads: Loads) -> None:
    """Dates and hours need no quotes, and what check-config shows can be loaded again."""
    said = """
    contract:
      service_time_zone: uk
      business_hours_exceptions:
        - {date: 2026-12-24, hours: 08:30-12:00, reason: "Christmas Eve "}
        - date: 2026-12-29
          hours: closed
          reason: a move of the office
"""
    loaded = loads(TARGET + said)
    contract = loaded.settings.targets[0].contract
    assert contract.service_zone is ServiceZone.UK
    assert contract.exceptions() == {
        date(2026, 12, 24): DatedException(span=(time(8, 30), time(12)), reason="Christmas Eve"),
        date(2026, 12, 29): DatedException(span=None, reason="a move of the office"),
    }
    shown = effective(loaded.settings, loaded.sources)
    assert loads(shown).settings.targets[0].contract == contract
    assert yaml.safe_load(shown)["targets"][0]["contract"]["business_hours_exceptions"][1] == {
        "date": "2026-12-29",
        "hours": "closed",
        "reason": "a move of the office",
    }


def test_no_file_can_close_a_provider_for_good() -> None:
    """There are fewer exceptions than working days within the horizon of the calendar, bank holidays aside."""
    fewest = min(
        sum(date.fromordinal(first + place).weekday() < SATURDAY for place in range(HORIZON_DAYS))
        for first in range(date(2026, 1, 1).toordinal(), date(2026, 1, 8).toordinal())
    )
    bank_holidays_max = 20
    assert fewest - bank_holidays_max > EXCEPTIONS_MAX
