"""Kept connections of one surface of one target: who is idle, who is too old, and when a fresh one is due.

The provider asks for rotation (SMTP after 100 messages, API after 15 minutes) and cuts an SMTP connection that was idle
for a minute, so a connection that idles longer than half of that is not offered again.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from probe.clock import monotonic_us

IDLE_S_MAX = 30.0


class Keepable(Protocol):
    """A connection that can wait for the next attempt."""

    opened_us: int
    idle_since_us: int
    uses: int

    @property
    def is_open(self) -> bool:
        """Say whether the other side has not closed it yet, as far as we know."""
        ...

    def abort(self) -> None:
        """Drop the connection at once and free its descriptor; harmless if it is closed already."""
        ...


Kept = TypeVar("Kept", bound=Keepable)


class Pool(Generic[Kept]):
    """Idle connections, the youngest on top, so that those a burst left behind age away."""

    def __init__(
        self, *, age_max_s: float, uses_max: int, fresh_every: int, retire: Callable[[Kept], None], stagger: int = 0
    ) -> None:
        self._idle: list[Kept] = []
        self._age_max_us = int(age_max_s * 1_000_000)
        self._uses_max = uses_max
        self._fresh_every = fresh_every
        self._retire = retire
        self._attempts = stagger
        self._closed = False

    def take(self) -> Kept | None:
        """Return a kept connection, or None when the attempt has to open a fresh one."""
        self._attempts += 1
        if self._fresh_every and self._attempts % self._fresh_every == 0:
            return None
        while self._idle:
            kept = self._idle.pop()
            if self._is_fit(kept) and monotonic_us() - kept.idle_since_us <= IDLE_S_MAX * 1_000_000:
                return kept
            self._retire(kept)
        return None

    def give(self, kept: Kept) -> None:
        """Take back a connection after an attempt, or retire it when its time is over."""
        kept.uses += 1
        kept.idle_since_us = monotonic_us()
        if not self._is_fit(kept):
            self._retire(kept)
            return
        self._idle.append(kept)
        self._retire_stale(kept.idle_since_us)

    def close(self) -> None:
        """Retire everything that is idle now, and what is still in use when it comes back."""
        self._closed = True
        while self._idle:
            self._retire(self._idle.pop())

    def _is_fit(self, kept: Kept) -> bool:
        return (
            not self._closed
            and kept.is_open
            and kept.uses < self._uses_max
            and monotonic_us() - kept.opened_us < self._age_max_us
        )

    def _retire_stale(self, now_us: int) -> None:
        while self._idle and now_us - self._idle[0].idle_since_us > IDLE_S_MAX * 1_000_000:
            self._retire(self._idle.pop(0))
