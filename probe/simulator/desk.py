"""What one surface of the simulated provider knows: the fault of the moment, and what came in on the wire."""

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from probe.clock import wall_us
from probe.core.model import Phase, Surface
from probe.simulator.faults import SimulatedFault

RECORDS_MAX_DEFAULT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One message that the provider took, as it stood on the wire.

    `message_id` is the Message-ID header without its brackets, or for an API call without one `metadata.message_id`.
    `answered` is False where the provider took the message and a fault kept the success from the client.
    """

    surface: Surface
    received_us: int
    transmission: str
    message_id: str
    sender: str
    recipients: int
    answered: bool
    blackholed: bool
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts since the start.

    `attempts` are whole API requests, or SMTP transactions begun with MAIL; `struck` are the requests, transactions
    and, for faults on the way in, connections that met a fault.
    """

    connections: int = 0
    connections_open: int = 0
    handshakes_failed: int = 0
    attempts: int = 0
    accepted: int = 0
    refused: int = 0
    struck: int = 0


@dataclass(slots=True)
class Draw:
    """Whether the fault of one turn strikes one connection, or one transaction on it: drawn once, then it holds."""

    turn: int = 0
    strikes: bool = False


class Guest(Protocol):
    """An open connection, as far as the desk must command it."""

    idle_since: float | None
    leaving: bool

    def close(self) -> None:
        """Close in order."""

    def reset(self) -> None:
        """Cut with a reset."""


class Desk:
    """The state that all connections of one surface share."""

    def __init__(self, surface: Surface, *, seed: int, records_max: int) -> None:
        self.surface = surface
        self.fault: SimulatedFault | None = None
        self.guests: set[Guest] = set()
        self.received: deque[Received] = deque(maxlen=records_max)
        self.connections = 0
        self.handshakes_failed = 0
        self.attempts = 0
        self.accepted = 0
        self.refused = 0
        self.struck = 0
        self._seed = seed
        self._dice = random.Random()  # noqa: S311 - repeatable draws are wanted, not secret ones.
        self._serial = 0
        self._turn = 0
        self.redraw()

    def redraw(self) -> None:
        """Begin the sequence of draws anew, so that each fault strikes the same attempts in each run."""
        self._turn += 1
        self._dice.seed(f"{self._seed}:{self.surface}")

    def strike(self, phase: Phase, draw: Draw) -> SimulatedFault | None:
        """Return the fault that is met in this phase now, if any, by whom `draw` is for.

        A phase may come twice in one dialogue, as EHLO and RCPT do: what was drawn the first time holds.
        """
        fault = self.fault
        if fault is None or fault.phase is not phase:
            return None
        if draw.turn != self._turn:
            draw.turn = self._turn
            draw.strikes = fault.fraction == 1 or self._dice.random() < fault.fraction
            self.struck += draw.strikes
        return fault if draw.strikes else None

    def next_serial(self) -> int:
        """Return a new number for a message."""
        self._serial += 1
        return self._serial

    def take(
        self,
        transmission: str,
        *,
        message_id: str,
        sender: str,
        recipients: int,
        metadata: Mapping[str, object],
        answered: bool = True,
        blackholed: bool = False,
    ) -> None:
        """Record a message that the provider took responsibility for."""
        self.accepted += 1
        self.received.append(
            Received(
                surface=self.surface,
                received_us=wall_us(),
                transmission=transmission,
                message_id=message_id,
                sender=sender,
                recipients=recipients,
                answered=answered,
                blackholed=blackholed,
                metadata=metadata,
            )
        )

    def tally(self) -> Tally:
        """Return the counts so far."""
        return Tally(
            connections=self.connections,
            connections_open=len(self.guests),
            handshakes_failed=self.handshakes_failed,
            attempts=self.attempts,
            accepted=self.accepted,
            refused=self.refused,
            struck=self.struck,
        )

    def turn_out(self) -> None:
        """Close connections that are idle now, and the others as soon as they are, so that all must come in anew."""
        for guest in list(self.guests):
            guest.leaving = True
            if guest.idle_since is not None:
                guest.close()

    def close_idle(self, now: float, idle_s: float) -> None:
        """Close the connections that have been idle for so long."""
        for guest in list(self.guests):
            if guest.idle_since is not None and now - guest.idle_since >= idle_s:
                guest.close()

    def reset_all(self) -> None:
        """Cut every connection."""
        for guest in list(self.guests):
            guest.reset()
