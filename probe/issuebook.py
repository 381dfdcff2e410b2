"""Follows the lives of Critical Issues in the ledger: for the status, the metrics and the log.

The ledger is the truth: whenever a turn or a happening of a target is kept, its lives are read again, in a thread, and
never added up here. What is owed is reckoned anew each second, so that an obligation which passes its time is noted.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import structlog

from probe.clock import SECOND_US, Clock
from probe.core.happenings import Happening
from probe.core.lapses import Lapse
from probe.core.lapsing import NOT_WATCHED, Debt, debt_of_issue, ending_of_issue
from probe.core.lives import NO_LIVES, Life, Lives, distinct
from probe.core.obligations import Obligation, ObligationState, Pledges, obligations
from probe.issues import summary_of
from probe.lapsebook import LapseBook
from probe.ledger import LedgerError, lives_in
from probe.metrics import Metrics
from probe.sheets import Sheets
from probe.times import utc
from probe.view import View

log = structlog.get_logger("issuebook")

LOOK_INTERVAL_S = 1.0

Owed = tuple[Life, tuple[Obligation, ...]]


class IssueBook:
    """Knows the lives of the targets that are watched."""

    def __init__(
        self,
        *,
        address: str,
        sheets: Sheets,
        clock: Clock,
        metrics: Metrics,
        view: View,
        tell: Callable[[Lapse], None],
    ) -> None:
        """`tell` passes on to the ledger that an obligation was missed, without waiting."""
        self._address = address
        self._sheets = sheets
        self._clock = clock
        self._metrics = metrics
        self._view = view
        self._pledges: Mapping[str, Pledges] = {}
        self._lives: dict[str, Lives] = {}
        self._changed: set[str] = set()
        self._shown: set[str] = set()
        self._lapses = LapseBook(metrics=metrics, tell=tell)

    def configure(self, pledges: Mapping[str, Pledges]) -> None:
        """Follow these targets from now on, by what was agreed for each."""
        for target in sorted(self._pledges.keys() - pledges.keys()):
            for life in distinct(self._lives.get(target, NO_LIVES)):
                if not _is_over(life):
                    log.error(
                        "critical_issue.not_watched",
                        target=target,
                        issue=life.issue,
                        stage=life.procedure.stage,
                        meaning="its target is not in the settings any more, so neither status nor metrics show it",
                        do="put the target back, or see the issue through: sev1probe issue list --config FILE",
                    )
        self._changed |= pledges.keys() - self._pledges.keys()
        self._pledges = pledges

    def take_up(self, kept: Iterable[Lapse]) -> None:
        """Go on with the lapses that the ledger has, in its order."""
        self._lapses.take_up(lapse for lapse in kept if lapse.issue)

    def turned(self, target: str) -> None:
        """Hear that the ledger has something new of a target's issues; never wait."""
        self._changed.add(target)

    def told(self, happening: Happening) -> None:
        """Hear that a happening is sealed, and say it."""
        log.warning(
            "critical_issue.told",
            target=happening.target,
            issue=happening.issue,
            act=happening.act,
            at=utc(happening.at_us // SECOND_US),
            by=happening.actor,
            **({"party": happening.party} if happening.party else {}),
        )
        self.turned(happening.target)

    async def follow_forever(self) -> None:
        """Read what has changed, and show what is owed, each second."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def look(self) -> None:
        """Read what has changed, and show what is owed now."""
        await self._read()
        now_us = self._clock.now_us()
        # Most targets have no issue, and are not touched: all this happens between attempts.
        touched = {target for target, lives in self._lives.items() if not all(map(_is_over, lives.values()))}
        lapsed = {lapse.target: set[str]() for lapse in self._lapses.raised}
        for lapse in self._lapses.raised:
            lapsed[lapse.target].add(lapse.issue)
        followed: list[Owed] = []
        for target in sorted((touched | self._shown | lapsed.keys()) & self._pledges.keys()):
            every = distinct(self._lives.get(target, NO_LIVES))
            current = [self._owed(life, now_us) for life in every if not _is_over(life)]
            self._view.show_issues(target, [summary_of(*one) for one in current])
            self._metrics.contract.show_issues(
                target, {life.issue: life.procedure.opened_us // SECOND_US for life, _ in current}
            )
            self._metrics.contract.show_overdue(
                target, Counter(one.name for _, owed in current for one in owed if _is_overdue(one))
            )
            self._metrics.show_obligations(
                target, Counter((one.name, one.state) for _, owed in current for one in owed)
            )
            followed += current
            followed += [
                self._owed(life, now_us) for life in every if _is_over(life) and life.issue in lapsed.get(target, ())
            ]
        self._shown = touched
        self._note_lapses(followed, now_us)

    def _owed(self, life: Life, now_us: int) -> Owed:
        return life, obligations(life, self._pledges[life.target], now_us)

    def _note_lapses(self, followed: Iterable[Owed], now_us: int) -> None:
        """Note what was missed, or is no longer owed, in these lives and those of targets that nobody follows now."""
        debts: list[Debt] = []
        endings = {lapse.issue: NOT_WATCHED for lapse in self._lapses.raised if lapse.target not in self._pledges}
        for life, owed in followed:
            endings[life.issue] = ending_of_issue(life)
            debts += [debt_of_issue(life, one) for one in owed]
        self._lapses.look(debts, endings, now_us)

    async def _read(self) -> None:
        """Read the lives of the targets that changed; what can't be read now is tried again."""
        changed, self._changed = self._changed & self._pledges.keys(), set()
        if not changed:
            return
        # One target is asked for by itself; at a start all are, and then one reading serves them all.
        alone = next(iter(changed)) if len(changed) == 1 else None
        try:
            found = await asyncio.to_thread(lives_in, self._address, alone)
        except LedgerError as error:
            self._changed |= changed
            log.warning("critical_issue.not_read", reason=str(error))
            return
        for target in sorted(changed):
            before, self._lives[target] = self._lives.get(target), found.get(target, NO_LIVES)
            if before is not None:
                _say_changes(before, self._lives[target])
                for name in self._lives[target].keys() - before.keys():
                    await self._print_call_sheet(target, name)

    async def _print_call_sheet(self, target: str, issue: str) -> None:
        if sheet := await self._sheets.text_of(target, issue):
            log.critical("critical_issue.call_sheet", target=target, issue=issue, call_sheet=sheet)


def _is_overdue(one: Obligation) -> bool:
    """Say whether it was due and has not come, while one that came late is missed for ever."""
    return one.state is ObligationState.MISSED and not one.met_us


def _is_over(life: Life) -> bool:
    return life.procedure.is_over


def _say_changes(before: Lives, after: Lives) -> None:
    """Say of an issue that it relapsed, or is over."""
    for life in distinct(after):
        known = before.get(life.issue)
        if known is None:
            continue
        facts = {"target": life.target, "issue": life.issue}
        if life.procedure.relapses > known.procedure.relapses:
            log.critical("critical_issue.relapsed", **facts, opened_as=life.names[-1])
        if life.procedure.is_over and not known.procedure.is_over:
            log.warning("critical_issue.over", **facts, stage=life.procedure.stage)
