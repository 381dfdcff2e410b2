"""The comparison: every second of the ledger against the truth, every message against the provider's books."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from probe.core.model import Surface
from probe.simulator.desk import Received

if TYPE_CHECKING:
    from tests.soak.soak_faults import AVAILABLE, INCONCLUSIVE, LITERAL, UNAVAILABLE, UNOBSERVED
    from tests.soak.soak_plan import Window
else:
    from soak_faults import AVAILABLE, INCONCLUSIVE, LITERAL, UNAVAILABLE, UNOBSERVED
    from soak_plan import Window

Key = tuple[str, Surface]
Event = tuple[str, str, int, int]
# The window begins and ends this long before a second's border, in the part of the second where no attempt starts.
GUARD_S = 0.05


@dataclass(kw_only=True)
class Account:
    """What the run has left behind."""

    windows: Mapping[Key, Sequence[Window]]
    received: Mapping[Key, Sequence[Received]]
    rows: Sequence[Mapping[str, Any]]
    events: Sequence[Event]
    persistence: tuple[int, int, int]
    last_second: int  # what follows was cut short by the end of the run
    downs: Sequence[tuple[float, float, float]] = ()  # killed, started again, ready
    stops: Sequence[tuple[float, float]] = ()  # stopped, continued
    disagreements: list[str] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    disturbed: list[str] = field(default_factory=list)
    false_unavailable: int = 0
    missed_unavailable: int = 0

    def __post_init__(self) -> None:
        """Sort the rows."""
        self._seconds: dict[tuple[str, Surface, int], str] = {}
        self._attempts: dict[str, Mapping[str, Any]] = {}
        self._last_words: dict[tuple[str, Surface, int], Mapping[str, Any]] = {}
        for row in self.rows:
            place = (row["target"], Surface(row["surface"]), row["second"])
            if row["type"] == "second":
                if place in self._seconds:
                    self.disagreements.append(f"{place} stands in the ledger twice")
                self._seconds[place] = f"{row['verdict']}/{row['basis']}"
            else:
                if row["message_id"] in self._attempts:
                    self.disagreements.append(f"attempt {row['message_id']} stands in the ledger twice")
                self._attempts[row["message_id"]] = row
                self._last_words[place] = row
        self._answered = {
            key: Counter(_plain_id(message) for message in messages if message.answered)
            for key, messages in self.received.items()
        }

    def compare(self) -> None:
        """Find everything that differs from the truth."""
        for key in self.windows:
            self._compare_seconds(key)
            self._compare_messages(key)
        self._compare_events()

    @property
    def unobserved(self) -> int:
        """Count the compared seconds in which nobody looked."""
        return sum(count for verdict, count in self.verdicts.items() if verdict in UNOBSERVED)

    # Seconds.

    def _compare_seconds(self, key: Key) -> None:
        seconds = sorted(second for target, surface, second in self._seconds if (target, surface) == key)
        if seconds != list(range(seconds[0], seconds[-1] + 1)):
            self.disagreements.append(f"{key}: a second is missing between {seconds[0]} and {seconds[-1]}")
        for second in seconds:
            if second > self.last_second:
                break
            kind, expected = self._truth(key, second)
            got = self._seconds[(*key, second)]
            self.verdicts[got] += 1
            kind, allowed = self._with_disturbance(kind, expected, second)
            self.compared[kind] += 1
            if kind.startswith("disturbed"):
                self.disturbed.append(f"{second} {key[0]} {key[1]} {kind}: {got}")
            if got not in allowed:
                self._disagree(key, second, kind, allowed, got)

    def _truth(self, key: Key, second: int) -> tuple[str, frozenset[str]]:
        """Name the kind of a second, and list what it may be."""
        for window in self.windows[key]:
            within = window.began_s <= second and second + 1 - 2 * GUARD_S <= window.ended_s
            if within:
                return window.row.name, self._truth_within(key, second, window)
            if window.began_s - GUARD_S < second + 1 and second < window.ended_s + GUARD_S:
                # An attempt that was under way when the fault came may be cut by it in any phase.
                either = AVAILABLE | window.row.truth | (UNAVAILABLE if window.row.truth & UNAVAILABLE else frozenset())
                return "border", either
        return "healthy", AVAILABLE

    def _truth_within(self, key: Key, second: int, window: Window) -> frozenset[str]:
        fault = window.row.fault
        if fault.fraction == 1:
            return window.row.truth
        if window.row.answers_late:
            return AVAILABLE | window.row.truth
        # The provider's own books say whom the fault has struck.
        answered = self._answered[key][f"{second}.0.{key[1]}.{key[0]}.soak"]
        return AVAILABLE if answered else window.row.truth

    def _with_disturbance(self, kind: str, expected: frozenset[str], second: int) -> tuple[str, frozenset[str]]:
        for killed_s, begun_s, ready_s in self.downs:
            if killed_s <= second and second + 1 <= begun_s:
                return "down", UNOBSERVED
            # What was open when the daemon was killed is lost, and so is what passes while it starts.
            if killed_s - 6 < second < ready_s + 2:
                return "disturbed by a kill", expected | UNOBSERVED
        for stopped_s, continued_s in self.stops:
            if stopped_s - 4 < second < continued_s + 2:
                return "disturbed by a stop", expected | UNOBSERVED | INCONCLUSIVE | AVAILABLE
        return kind, expected

    def _disagree(self, key: Key, second: int, kind: str, allowed: frozenset[str], got: str) -> None:
        if got in UNAVAILABLE and not allowed & UNAVAILABLE:
            self.false_unavailable += 1
        if allowed & UNAVAILABLE and allowed <= UNAVAILABLE | UNOBSERVED and got not in UNAVAILABLE:
            self.missed_unavailable += 1
        seen = self._last_words.get((*key, second), {})
        names = ("fault", "cause", "phase", "code", "enhanced_code", "connection", "duration_ms", "started_at", "reply")
        words = " ".join(f"{name}={seen[name]!r}" for name in names) if seen else "no attempt"
        self.disagreements.append(
            f"{second} {key[0]} {key[1]} [{kind}]: expected {' or '.join(sorted(allowed))}, got {got}; {words}"
        )

    # Messages.

    def _compare_messages(self, key: Key) -> None:
        accepted = {
            name
            for name, row in self._attempts.items()
            if (row["target"], row["surface"]) == key and row["fault"] == "none"
        }
        answered = self._answered[key]
        for name in sorted(accepted - answered.keys()):
            self.disagreements.append(f"{key}: the ledger calls {name} accepted, and the provider never took it")
        for name, count in answered.items():
            if count > 1:
                self.disagreements.append(f"{key}: the provider took {name} {count} times")
            if name not in accepted and not self._may_be_unseen(key, int(name.partition(".")[0])):
                self.disagreements.append(f"{key}: the provider took {name}, and the ledger does not call it accepted")

    def _may_be_unseen(self, key: Key, second: int) -> bool:
        kind, allowed = self._with_disturbance(*self._truth(key, second), second)
        late = any(window.row.answers_late and window.first - 1 <= second <= window.end for window in self.windows[key])
        return late or second > self.last_second or kind == "down" or kind.startswith("disturbed") or not allowed

    # Critical Issues.

    def _compare_events(self) -> None:
        by_target: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for (target, _, second), verdict in self._seconds.items():
            by_target[target][second].append(verdict.partition("/")[0])
        expected = [
            event for target, seconds in by_target.items() for event in folded(target, seconds, *self.persistence)
        ]
        if sorted(expected) != sorted(self.events):
            missing, added = set(expected) - set(self.events), set(self.events) - set(expected)
            self.disagreements.append(f"issue events: missing {sorted(missing)}, unexpected {sorted(added)}")


def folded(target: str, seconds: Mapping[int, Sequence[str]], needed: int, window: int, recovery: int) -> list[Event]:
    """Fold verdicts into the turns of issues, the slow way: the window is a list, looked through anew each second."""
    events: list[Event] = []
    bad: list[int] = []
    good: list[int] = []
    is_open = False
    for second in sorted(seconds):
        surfaces = seconds[second]
        bad = [old for old in bad if old > second - window]
        if "unavailable" in surfaces:
            bad.append(second)
            good = []
            if not is_open and len(bad) >= needed:
                is_open = True
                events.append((target, "opened", bad[0], second))
        elif is_open and all(verdict == "available" for verdict in surfaces):
            good.append(second)
            if len(good) >= recovery:
                is_open = False
                events.append((target, "restored", good[0], second))
                bad, good = [], []
    return events


def _plain_id(message: Received) -> str:
    return message.message_id.removesuffix("@example.com")


def lateness_ms(rows: Iterable[Mapping[str, Any]], due_us: Mapping[Key, int]) -> list[float]:
    """List how late each attempt started, in order of size."""
    late = []
    for row in rows:
        if row["type"] == "attempt":
            begun_us = int(row["started_at"][20:26])
            late.append((begun_us - due_us[row["target"], Surface(row["surface"])]) / 1000)
    return sorted(late)


assert LITERAL < UNAVAILABLE
