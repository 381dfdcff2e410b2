"""Drafts Support Cases of Unavailable seconds that did not persist, and shows where all cases stand.

The rules are in `core.drafting`; what this module adds is when they are asked. It hears of seconds once they are kept.
Every second it looks whether they come to something, and whatever is drafted is decided once more in the transaction
that keeps it, by the cases as they are then. So neither people who act at the same time nor a crash between two steps
lead to a second draft of one cause. What it remembers is made anew from the ledger at a start.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from probe.cases import case_summary_of
from probe.clock import SECOND_US, Clock
from probe.core.calendar import NeverOpen
from probe.core.case_happenings import Case, CaseAct, CaseHappening, Cases, CaseStage
from probe.core.case_obligations import CaseObligation, CasePledges, case_obligations
from probe.core.cases import tell_case
from probe.core.drafting import (
    DraftRule,
    Recollection,
    Seen,
    after,
    is_pending,
    proposal,
    recalled,
    seen_of,
)
from probe.core.lapses import Lapse
from probe.core.lapsing import NOT_WATCHED, Debt, debt_of_case, ending_of_case
from probe.core.model import Step, Verdict
from probe.core.procedure import Refused
from probe.lapsebook import LapseBook
from probe.ledger import Ledger, LedgerError, cases_in, unavailable_in
from probe.metrics import Metrics
from probe.view import View

log = structlog.get_logger("casebook")

LOOK_INTERVAL_S: Final = 1.0
AGAIN_US: Final = 10 * SECOND_US  # after something could not be read or kept
SEEN_MAX: Final = 100_000  # steps that wait to be taken in; beyond that the ledger is read again

Owed = tuple[Case, tuple[CaseObligation, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTerms:
    """What was agreed of a target's cases, and when one is drafted; never where `rule` is None."""

    pledges: CasePledges
    rule: DraftRule | None
    window_s: int  # of the persistence


class CaseBook:
    """Knows the cases of the targets that are watched, and the Unavailable seconds that may become one."""

    def __init__(
        self,
        *,
        address: str,
        ledger: Ledger,
        clock: Clock,
        metrics: Metrics,
        view: View,
        tell: Callable[[Lapse], None],
        paused: Callable[[], bool] = lambda: False,
        drafted: Callable[[], None] = lambda: None,
    ) -> None:
        """`tell` passes on to the ledger that an obligation was missed, without waiting.

        While `paused`, as it is in the ledger's trouble, nothing is drafted; `drafted` hears that something was.
        """
        self._address = address
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics
        self._view = view
        self._paused = paused
        self._drafted = drafted
        self._terms: Mapping[str, CaseTerms] = {}
        self._cases: dict[str, dict[str, Case]] = {}
        self._are_cases_read = False
        self._seen: deque[Seen] = deque()
        self._known: dict[str, Recollection] = {}
        self._unread: dict[str, tuple[int, int]] = {}  # targets to recall, and of which seconds; all later are heard of
        self._awake: set[str] = set()  # targets of which every step matters
        self._undecided: set[str] = set()
        self._shown: set[str] = set()
        self._again_us = 0
        self._lapses = LapseBook(metrics=metrics, tell=tell)

    def take_up(self, kept: Iterable[Lapse]) -> None:
        """Go on with the lapses that the ledger has, in its order."""
        self._lapses.take_up(lapse for lapse in kept if lapse.case)

    def configure(self, terms: Mapping[str, CaseTerms], next_seconds: Mapping[str, int]) -> None:
        """Follow these targets from now on; `next_seconds` has the next one of each target that comes into view."""
        before, self._terms = self._terms, terms
        for target, agreed in terms.items():
            known = before.get(target)
            if known is None or (known.rule, known.window_s) != (agreed.rule, agreed.window_s):
                self._forget(target, next_seconds.get(target))
        for target in before.keys() - terms.keys():
            self._awake.discard(target)
            self._undecided.discard(target)
            self._known.pop(target, None)
            self._unread.pop(target, None)

    def kept(self, step: Step) -> None:
        """Hear of a second that is kept; never wait."""
        target = step.target
        if target not in self._awake and step.verdict is not Verdict.UNAVAILABLE and not step.events:
            return
        terms = self._terms.get(target)
        if terms is None or terms.rule is None:
            return
        self._awake.add(target)
        if len(self._seen) >= SEEN_MAX:
            self._seen.clear()
            for each in self._terms:
                self._forget(each)
        self._seen.append(seen_of(step))

    def told(self, happening: CaseHappening) -> None:
        """Hear that what people told of a case is sealed, and say it."""
        log.info("case.told", case=happening.case, act=str(happening.act), actor=happening.actor)
        self._are_cases_read = False
        self._again_us = 0

    async def follow_forever(self) -> None:
        """Draft what is to be drafted, and show what is owed, each second."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def look(self) -> None:
        """Take in what was kept, draft what is to be drafted, and show what is owed now."""
        now_us = self._clock.now_us()
        if now_us >= self._again_us and not self._paused():
            try:
                await self._read()
                self._take_in()
                await self._draft(now_us)
            except LedgerError as error:
                self._are_cases_read = False
                self._again_us = now_us + AGAIN_US
                log.warning("case.not_followed", reason=str(error), again_in_s=AGAIN_US // SECOND_US)
        self._note_lapses(self._show(now_us), now_us)

    def _forget(self, target: str, next_second: int | None = None) -> None:
        """Have the Unavailable seconds of a target before one, by default all so far, read from the ledger again."""
        terms = self._terms[target]
        self._known.pop(target, None)
        if terms.rule is None:
            self._unread.pop(target, None)
            return
        if next_second is None:
            next_second = self._clock.now_us() // SECOND_US + 1
        first = next_second - terms.window_s - terms.rule.remembered_s
        known_first, _ = self._unread.get(target, (first, 0))
        self._unread[target] = (min(first, known_first), next_second - 1)
        self._awake.add(target)

    async def _read(self) -> None:
        """Read the cases if somebody changed them, and the seconds of targets that nothing is known of."""
        if not self._are_cases_read:
            self._are_cases_read = True
            found = await asyncio.to_thread(cases_in, self._address)
            self._cases = {}
            for case in found.values():
                self._cases.setdefault(case.target, {})[case.case] = case
            self._undecided |= self._known.keys()
        if self._unread:
            await self._recall()

    async def _recall(self) -> None:
        spans = {**self._unread}
        recorded = await asyncio.to_thread(unavailable_in, self._address, spans)
        for target, found in recorded.items():
            if self._unread.get(target) != spans[target]:
                continue  # It has been configured anew meanwhile.
            del self._unread[target]
            terms = self._terms[target]
            assert terms.rule is not None
            self._known[target] = recalled(
                found.through_second, found.unavailable, found.turns, terms.window_s, terms.rule.remembered_s
            )
            self._undecided.add(target)

    def _take_in(self) -> None:
        waiting = deque[Seen]()
        while self._seen:
            seen = self._seen.popleft()
            if seen.target in self._unread:
                waiting.append(seen)
                continue
            terms, known = self._terms.get(seen.target), self._known.get(seen.target)
            if terms is None or terms.rule is None or known is None:
                continue
            grown = self._known[seen.target] = after(known, seen, terms.window_s, terms.rule.remembered_s)
            if grown.certain != known.certain:
                self._undecided.add(seen.target)
        self._seen = waiting
        self._awake = {target for target, known in self._known.items() if known.uncertain} | self._unread.keys()

    async def _draft(self, now_us: int) -> None:
        for target in sorted(self._undecided & self._terms.keys()):
            rule, known = self._terms[target].rule, self._known.get(target)
            if rule is None or known is None:
                self._undecided.discard(target)
                continue
            try:
                while proposal(target, self._cases.get(target, {}), known, rule, now_us) is not None:
                    if not await self._keep(target, known, rule, now_us):
                        break
            except Refused as refusal:
                log.error("case.refused", target=target, reason=str(refusal))
                self._undecided.discard(target)
            if not is_pending(target, self._cases.get(target, {}), known.certain, rule):
                self._undecided.discard(target)

    async def _keep(self, target: str, known: Recollection, rule: DraftRule, now_us: int) -> bool:
        """Have it decided by the ledger's own cases; say whether something was added."""
        seen: list[Cases] = []

        def decide(cases: Cases) -> CaseHappening | None:
            seen.append(cases)
            return proposal(target, cases, known, rule, now_us)

        added = await self._ledger.draft(target, decide)
        of_target = self._cases[target] = dict(seen[-1])
        if added is None:
            return False
        case = of_target[added.case] = tell_case(of_target.get(added.case), added)
        _say(added, case)
        self._drafted()
        return True

    def _show(self, now_us: int) -> list[Owed]:
        """Show the cases that are not over, and give them; most targets have none, and are not touched."""
        every: list[Owed] = []
        touched = {
            target for target, cases in self._cases.items() if any(not case.over_us for case in cases.values())
        } & self._terms.keys()
        for target in sorted(touched | (self._shown & self._terms.keys())):
            current = [case for case in self._cases.get(target, {}).values() if not case.over_us]
            owed = [(case, _owed(case, self._terms[target].pledges, now_us)) for case in current]
            self._view.show_cases(target, [case_summary_of(*one) for one in owed])
            self._metrics.show_cases(
                target,
                Counter(case.stage for case in current),
                Counter((one.name, one.state) for _, of_case in owed for one in of_case),
            )
            every += owed
        self._shown = touched
        return every

    def _note_lapses(self, followed: Iterable[Owed], now_us: int) -> None:
        """Note what was missed, or is no longer owed, in cases that are not over and in those where something was."""
        owed = [*followed]
        lapsed = {lapse.case for lapse in self._lapses.raised}
        endings = {lapse.case: NOT_WATCHED for lapse in self._lapses.raised if lapse.target not in self._terms}
        for target in {lapse.target for lapse in self._lapses.raised} & self._terms.keys():
            over = [case for case in self._cases.get(target, {}).values() if case.over_us and case.case in lapsed]
            owed += [(case, _owed(case, self._terms[target].pledges, now_us)) for case in over]
        debts: list[Debt] = []
        for case, of_case in owed:
            endings[case.case] = ending_of_case(case)
            debts += [debt_of_case(case, one) for one in of_case]
        self._lapses.look(debts, endings, now_us)


def _owed(case: Case, pledges: CasePledges, now_us: int) -> tuple[CaseObligation, ...]:
    try:
        return case_obligations(case, pledges, now_us)
    except NeverOpen:  # `check-config` and `hours` say it; then nothing can be due.
        return ()


def _say(added: CaseHappening, case: Case) -> None:
    facts = {"target": case.target, "case": case.case, "cause": case.cause, "unavailable_seconds": case.seconds}
    if added.act is CaseAct.JOINED:
        log.info("case.joined", **facts)
        return
    assert case.stage is CaseStage.DRAFT
    log.warning(
        "case.drafted",
        **facts,
        title=case.title,
        see=f"sev1probe case show {case.case} --config FILE",
        do=f"sev1probe case open {case.case}, or case withdraw {case.case} --words WHY",
    )
