"""The stopwatch of one attempt, and the way in which an attempt says that it failed."""

from probe.clock import monotonic_us
from probe.core.model import Cause, Phase


class Trouble(Exception):
    """An attempt ended without success, for a known cause; never leaves `probe.surfaces`."""

    def __init__(self, cause: Cause, reply: str = "", code: int = 0, enhanced_code: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.reply = reply
        self.code = code
        self.enhanced_code = enhanced_code


class Watch:
    """Times the phases of one attempt, in microseconds of the monotonic clock. The current phase is where it is now."""

    __slots__ = ("_marks", "_phase_started_us", "address", "phase", "started_us")

    def __init__(self) -> None:
        self.started_us = self._phase_started_us = monotonic_us()
        self.phase = Phase.START
        self.address = ""  # the address last dialled, so that it is known also where nobody answered
        self._marks: list[tuple[Phase, int]] = []

    def enter(self, phase: Phase) -> None:
        """End the current phase and begin the next."""
        now_us = monotonic_us()
        if self.phase is not Phase.START:
            self._marks.append((self.phase, now_us - self._phase_started_us))
        self.phase = phase
        self._phase_started_us = now_us

    def stop(self) -> tuple[int, tuple[tuple[Phase, int], ...]]:
        """Return the attempt's duration and the durations of all phases entered, the current one included."""
        now_us = monotonic_us()
        if self.phase is not Phase.START:
            self._marks.append((self.phase, now_us - self._phase_started_us))
        return now_us - self.started_us, tuple(self._marks)
