"""Keeps that obligations were missed: each once in the ledger, over restarts, and told to people by that.

What was noted is the ledger's word: it is taken up at the start, so whatever was not kept before the program died is
noted anew, and nothing else is.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

import structlog

from probe.core.lapses import Key, Lapse
from probe.core.lapsing import Debt, changes
from probe.metrics import Metrics
from probe.times import utc

log = structlog.get_logger("lapsebook")

SECOND_US = 1_000_000


class LapseBook:
    """Knows which obligations of all issues, or of all cases, were seen to be missed."""

    def __init__(self, *, metrics: Metrics, tell: Callable[[Lapse], None]) -> None:
        """`tell` passes what is noted on to the ledger, without waiting."""
        self._metrics = metrics
        self._tell = tell
        self._noted: dict[Key, Lapse] = {}

    @property
    def raised(self) -> Collection[Lapse]:
        """List what is still owed."""
        return [lapse for lapse in self._noted.values() if lapse.raised]

    def take_up(self, kept: Iterable[Lapse]) -> None:
        """Go on with what the ledger has, in its order."""
        self._noted = {lapse.key: lapse for lapse in kept}
        for lapse in self.raised:
            log.warning("obligation.still_missed", **_facts(lapse))

    def look(self, debts: Iterable[Debt], endings: Mapping[str, str], now_us: int) -> None:
        """Note what has changed; `core.lapsing.changes` says what of."""
        for lapse in changes(self._noted, debts, endings, now_us):
            if lapse.key not in self._noted:
                self._metrics.observe_missed(lapse.target, lapse.name)
            self._noted[lapse.key] = lapse
            if lapse.raised:
                log.error("obligation.missed", **_facts(lapse))
            else:
                log.warning("obligation.over", **_facts(lapse))
            self._tell(lapse)


def _facts(lapse: Lapse) -> dict[str, str]:
    about = {"issue": lapse.issue} if lapse.issue else {"case": lapse.case}
    return {
        "target": lapse.target,
        **about,
        "obligation": lapse.obligation,
        "owed_by": lapse.owed_by,
        "due": utc(lapse.due_us // SECOND_US),
        "words": lapse.words,
    }
