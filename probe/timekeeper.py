"""Which second comes next, why others were skipped, and what is put on record of the host's clock."""

from dataclasses import dataclass
from typing import Final

import structlog

from probe.adjtimex import KernelClock
from probe.clock import DID_NOT_RUN, SECOND_US, STEP_US_MIN, Clock, Correction
from probe.core.model import ClockState, Synchronisation
from probe.plan import Sink

log = structlog.get_logger("clock")

# The clock's state is put on record this often, and whenever something turned.
STATE_SECONDS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The second that begins now.

    `why_skipped` says why those before it were, and `why_missed` why no attempt was made in it, should that come true.
    """

    second: int
    why_skipped: str
    why_missed: str


class Timekeeper:
    """Looks at the host's clock once a second, on behalf of the second loop."""

    def __init__(self, *, clock: Clock, sink: Sink) -> None:
        self._clock = clock
        self._sink = sink
        self._synchronisation: Synchronisation | None = None
        self._state_second = 0
        self.ahead_us = 0  # how far the wall clock is ahead of the time that seconds are named by

    def next_second(self, expected: int) -> Beginning:
        """Say which second begins now, `expected` or later, and why nobody looked at those between."""
        late_us = self._clock.now_us() - expected * SECOND_US
        found = self._clock.discipline()
        self.ahead_us = found.left_us
        now_us = self._clock.now_us()
        second = max(expected, now_us // SECOND_US)
        reason = found.reason(late_us)
        # A jump into the middle of a second takes away what stood before; all of the second after a whole jump is left.
        is_cut_short = now_us - second * SECOND_US >= STEP_US_MIN
        self._put_on_record(second, found)
        return Beginning(second=second, why_skipped=reason, why_missed=reason if is_cut_short else DID_NOT_RUN)

    def _put_on_record(self, second: int, found: Correction) -> None:
        kernel = self._clock.kernel()
        has_turned = kernel.synchronisation is not self._synchronisation
        if has_turned:
            _say_synchronisation(kernel, self._synchronisation)
        if found.suspended_us or found.stepped_us:
            _say_moved(found)
        elif not has_turned and second - self._state_second < STATE_SECONDS:
            return
        self._synchronisation, self._state_second = kernel.synchronisation, second
        self._sink.remark(
            ClockState(
                second=second,
                read_us=self._clock.now_us(),
                synchronisation=kernel.synchronisation,
                estimated_error_us=kernel.estimated_error_us,
                maximum_error_us=kernel.maximum_error_us,
                ahead_us=found.ahead_us,
            )
        )


def _say_moved(found: Correction) -> None:
    facts = {
        "host_suspended_s": found.suspended_us / SECOND_US,
        "wall_clock_stepped_s": found.stepped_us / SECOND_US,
        "wall_clock_ahead_s": found.left_us / SECOND_US,
        "followed": "at once: the seconds between are unobserved" if found.is_jump else "slowly: no second is repeated",
    }
    log.warning("clock.moved", **facts)


def _say_synchronisation(kernel: KernelClock, before: Synchronisation | None) -> None:
    facts = {
        "estimated_error_s": kernel.estimated_error_us / SECOND_US,
        "maximum_error_s": kernel.maximum_error_us / SECOND_US,
    }
    match kernel.synchronisation:
        case Synchronisation.UNSYNCHRONISED:
            meaning = "nothing disciplines this host's clock, so the names of seconds may be off; run an NTP client"
            log.warning("clock.unsynchronised", meaning=meaning, **facts)
        case Synchronisation.SYNCHRONISED if before is None:
            log.info("clock.synchronised", **facts)
        case Synchronisation.SYNCHRONISED:
            log.warning("clock.synchronised", meaning="the names of seconds can be relied on again", **facts)
        case Synchronisation.UNKNOWN:
            log.info("clock.unknown", meaning="the kernel does not say whether its clock is synchronised")
