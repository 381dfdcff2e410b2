"""The stopwatch and the deadline of one attempt, and the way in which an attempt says that it failed."""

import asyncio
from dataclasses import replace
from types import TracebackType
from typing import Final

from probe.clock import SECOND_US, Clock, monotonic_us
from probe.core.model import REPLY_CHARACTERS_MAX, Cause, Fault, Outcome, Phase
from probe.surfaces.pulse import STANDSTILL_US_MIN, pulse

# A deadline that we notice this late was missed by our own loop, which may have left a reply unread meanwhile; what has
# come in is then taken before anything is judged. Up to this much is the loop's daily work, during which it reads.
NOTICED_LATE_US_MIN: Final = 20_000
# Of an attempt's life, the share in which our own loop was away beyond which its end proves nothing.
STARVED_SHARE_MIN: Final = 0.5
# Faults that say something about somebody else; after a standstill of our own loop they say nothing.
BLAMING_FAULTS: Final = frozenset({Fault.SERVER_TIMEOUT, Fault.SERVER_ERROR, Fault.NETWORK})
# Enough to read what waits in the kernel's buffers, and short enough that a server gains nothing by it.
SECOND_LOOK_S: Final = 0.05
# Of an outcome's reply, for the addresses that were dialled and not used.
PASSED_OVER_CHARACTERS_MAX: Final = 200


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

    __slots__ = ("_marks", "_phase_started_us", "address", "passed_over", "phase", "started_us")

    def __init__(self) -> None:
        self.started_us = self._phase_started_us = monotonic_us()
        self.phase = Phase.START
        self.address = ""  # the address last dialled, so that it is known also where nobody answered
        self.passed_over: dict[str, str] = {}  # addresses that were dialled and not used, and why
        self._marks: list[tuple[Phase, int]] = []

    @property
    def words(self) -> str:
        """Name the addresses that were passed over, for the record of an attempt; "" if there was none."""
        if not self.passed_over:
            return ""
        said = "; ".join(f"{address}: {why}" for address, why in self.passed_over.items())
        return f" (passed over: {said[:PASSED_OVER_CHARACTERS_MAX]})"

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


class Deadline:
    """Raises TimeoutError when an attempt's time is over, like `asyncio.timeout`, but forgives what our own loop slept.

    When the deadline is noticed late, the loop gets one more look at the socket first: the reply may have come in time
    and lain unread. `noticed_late_us` says afterwards how late it was, and `stalled` whether our own loop stood still
    for so long, at any time since the beginning, that a failure can't be laid at anybody's door but ours.
    """

    __slots__ = (
        "_away_us",
        "_begun_us",
        "_clock",
        "_deadline_us",
        "_handle",
        "_lived_us",
        "_stood_still",
        "_timeout",
        "noticed_late_us",
    )

    def __init__(self, clock: Clock, deadline_us: int) -> None:
        self._clock = clock
        self._deadline_us = deadline_us
        self._timeout = asyncio.timeout(None)
        self._handle: asyncio.TimerHandle | None = None
        self._begun_us = 0
        self._away_us = self._lived_us = 0
        self._stood_still = False
        self.noticed_late_us = 0

    @property
    def is_past(self) -> bool:
        """Say whether there was no time from the beginning."""
        return self._deadline_us <= self._clock.monotonic_us()

    @property
    def stalled(self) -> bool:
        """Say whether our own loop stood still for so long that a failure proves nothing; known when it is left."""
        return self._stood_still or self.noticed_late_us > STANDSTILL_US_MIN or self._was_starved

    @property
    def _was_starved(self) -> bool:
        """Say whether our own loop was away for half of the attempt or more, in however small pieces."""
        return self._away_us > STANDSTILL_US_MIN and self._away_us >= self._lived_us * STARVED_SHARE_MIN

    @property
    def words(self) -> str:
        """Say how our own loop failed the attempt."""
        if self.noticed_late_us > STANDSTILL_US_MIN:
            return f"our own loop noticed the deadline {self.noticed_late_us // 1000} ms late"
        if self._stood_still:
            return "our own loop stood still meanwhile"
        return f"our own loop did not run for {self._away_us // 1000} ms of {self._lived_us // 1000} ms"

    async def __aenter__(self) -> "Deadline":
        await self._timeout.__aenter__()
        self._begun_us = monotonic_us()
        pulse().listen()
        self._away_us = pulse().away_us()
        left_us = self._deadline_us - self._clock.monotonic_us()
        loop = asyncio.get_running_loop()
        self._handle = loop.call_at(loop.time() + max(0, left_us) / SECOND_US, self._fall_due)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._handle is not None
        self._handle.cancel()
        self._stood_still = pulse().stood_since(self._begun_us)
        self._away_us = pulse().away_us() - self._away_us
        self._lived_us = monotonic_us() - self._begun_us
        pulse().leave()
        await self._timeout.__aexit__(kind, error, traceback)

    def _fall_due(self) -> None:
        self.noticed_late_us = max(0, self._clock.monotonic_us() - self._deadline_us)
        look_s = SECOND_LOOK_S if self.noticed_late_us > NOTICED_LATE_US_MIN else 0.0
        self._timeout.reschedule(asyncio.get_running_loop().time() + look_s)


def unblamed(outcome: Outcome, deadline: Deadline) -> Outcome:
    """Take the blame for a failure during which our own loop stood still; what was seen is kept in the words."""
    if not deadline.stalled or outcome.fault not in BLAMING_FAULTS:
        return outcome
    words = f"{deadline.words}; else: {outcome.fault} {outcome.cause} {outcome.reply}".rstrip()
    return replace(outcome, fault=Fault.SELF, cause=Cause.STALLED, reply=words[:REPLY_CHARACTERS_MAX])


def take_back_cancelling(before: int) -> None:
    """Let the current task go on after a CancelledError that it has turned into a value.

    `before` is how many wishes to cancel it had when the attempt began. Were any left, the next `asyncio.timeout` of
    the same task would take them for its own.
    """
    task = asyncio.current_task()
    assert task is not None
    while task.cancelling() > before:
        task.uncancel()


def cancelling_now() -> int:
    """Return how many wishes to cancel the current task has pending."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()
