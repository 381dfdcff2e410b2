"""Whether our own event loop stood still while an attempt was under way.

A process that is stopped (SIGSTOP), a host that sleeps or a core that somebody else holds leaves every reply unread,
and every deadline passes unseen. The deadline alone does not show it: one that falls due just after the standstill is
noticed in time. So while attempts are under way a beat runs on their loop, and one that comes late tells of it.

What all late beats add up to tells of a process that is put aside again and again, each time for a moment: by a quota,
or on a crowded host.
"""

import asyncio
from typing import Final
from weakref import WeakKeyDictionary

from probe.clock import SECOND_US, monotonic_us

BEAT_US: Final = 50_000
# As much as a deadline may be noticed late: beyond it no silence can be laid at anybody's door but ours.
STANDSTILL_US_MIN: Final = 250_000


class Pulse:
    """The beat of one event loop; it runs only while somebody listens."""

    def __init__(self) -> None:
        self._listeners = 0
        self._handle: asyncio.TimerHandle | None = None
        self._due_us = 0
        self._stood_until_us = -1
        self._away_us = 0

    def listen(self) -> None:
        """Begin to listen; each call needs one of `leave`."""
        self._listeners += 1
        if self._handle is None:
            self._await_beat()

    def leave(self) -> None:
        """Listen no more."""
        self._listeners -= 1
        if not self._listeners and self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def stood_since(self, moment_us: int) -> bool:
        """Say whether a standstill ended after this moment of the monotonic clock."""
        if self._handle is not None and monotonic_us() - self._due_us > STANDSTILL_US_MIN:
            return True  # The late beat itself is still to come.
        return self._stood_until_us >= moment_us

    def away_us(self) -> int:
        """Return for how long, in all, the loop was not there when a beat was due; only differences mean anything."""
        pending_us = 0 if self._handle is None else monotonic_us() - self._due_us
        return self._away_us + max(0, pending_us)

    def _await_beat(self) -> None:
        self._due_us = monotonic_us() + BEAT_US
        self._handle = asyncio.get_running_loop().call_later(BEAT_US / SECOND_US, self._beat)

    def _beat(self) -> None:
        now_us = monotonic_us()
        self._away_us += max(0, now_us - self._due_us)
        if now_us - self._due_us > STANDSTILL_US_MIN:
            self._stood_until_us = now_us
        self._await_beat()


_pulses: "WeakKeyDictionary[asyncio.AbstractEventLoop, Pulse]" = WeakKeyDictionary()


def pulse() -> Pulse:
    """Return the beat of the running loop."""
    loop = asyncio.get_running_loop()
    found = _pulses.get(loop)
    if found is None:
        found = _pulses[loop] = Pulse()
    return found
