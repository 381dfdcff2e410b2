"""The ledger, as the API asks it: reads beside the writer, and amendments through it."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import structlog

from probe import clock
from probe.cases import case_of
from probe.core.calendar import outlook
from probe.core.case_happenings import Case, CaseHappening, Cases
from probe.core.case_obligations import case_obligations
from probe.core.cases import tell_case
from probe.core.happenings import Happening
from probe.core.lives import Life, Lives, add, distinct
from probe.core.model import Amendment
from probe.core.obligations import obligations
from probe.core.tam import plain_of, plain_outlook
from probe.issues import as_html, as_text, whole_of
from probe.ledger import Ledger, LedgerError, RemarkKind, cases_in, known_targets, lives_in, remarks_of
from probe.ledger.thread import Worker
from probe.settings import Settings, business_hours_of, case_pledges_of, pledges_of, tam_of
from probe.sheets import Sheets
from probe.times import utc
from probe.web import Decide, Tell, TellCase, Unavailable

WAITING_MAX: Final = 32  # calls that wait for the disk, those whose clients gave up included
T = TypeVar("T")

log = structlog.get_logger("daemon")


class Archive:
    """Reads one ledger in a thread of its own, and writes to it in the writer's; a disk that hangs holds up no more."""

    def __init__(
        self,
        address: str,
        ledger: Ledger,
        *,
        troubled: Callable[[], bool],
        settings: Callable[[], Settings],
        told: Callable[[Happening | CaseHappening], None],
        sheets: Sheets,
        amended: Callable[[], None] = lambda: None,
    ) -> None:
        self._address = address
        self._ledger = ledger
        self._troubled = troubled
        self._settings = settings
        self._told = told
        self._sheets = sheets
        self._amended = amended
        self._worker = Worker("ledger-reader")
        self._tasks: set[asyncio.Task[object]] = set()

    async def lives(self) -> tuple[Life, ...]:
        """Read the lives of all issues, each once, by target and in the order in which they began."""
        found = await self._read(lambda: lives_in(self._address))
        return tuple(life for lives in found.values() for life in distinct(lives))

    async def tell(self, decide: Tell) -> Life:
        """Keep the happening that `decide` makes of the lives as they are; give the life that it leads to."""
        self._check()
        seen: list[Life] = []

        def deciding(lives: Mapping[str, Lives]) -> Happening:
            seen[:] = [life for of_target in lives.values() for life in distinct(of_target)]
            return decide(seen)

        happening = await self._bounded(self._ledger.tell(deciding))
        self._told(happening)
        return add(next(life for life in seen if happening.issue == life.issue), happening)

    def has_line(self, target: str) -> bool:
        """Say whether the target's profile has a Severity 1 line."""
        return pledges_of(self._settings(), target).has_line

    async def described(self, lives: Sequence[Life]) -> tuple[Mapping[str, Any], ...]:
        """Say of each issue where it stands, what happened, what is owed now, and whom to escalate to."""
        settings, now_us = self._settings(), clock.wall_us()
        return await self._read(lambda: tuple(_issue(life, settings, now_us) for life in lives))

    async def targets(self) -> Collection[str]:
        """Name the targets that the ledger knows or the settings have."""
        found = await self._read(lambda: known_targets(self._address))
        return {*found, *(target.name for target in self._settings().targets)}

    async def cases(self) -> Cases:
        """Read the Support Cases of all targets, in the order in which they began."""
        return await self._read(lambda: cases_in(self._address))

    async def tell_case(self, decide: TellCase) -> Case:
        """Keep the happening that `decide` makes of the cases as they are; give the case that it leads to."""
        self._check()
        seen: dict[str, Case] = {}

        def deciding(cases: Cases) -> CaseHappening:
            seen.update(cases)
            return decide(cases)

        happening = await self._bounded(self._ledger.tell_case(deciding))
        self._told(happening)
        return tell_case(seen.get(happening.case), happening)

    async def described_cases(self, cases: Sequence[Case]) -> tuple[Mapping[str, Any], ...]:
        """Say of each case where it stands, what happened, what is owed now, and whom to escalate to."""
        settings, now_us = self._settings(), clock.wall_us()
        return await self._read(lambda: tuple(_case(case, settings, now_us) for case in cases))

    async def hours(self) -> tuple[Mapping[str, Any], ...]:
        """Say of each target that is watched whether it is within Business Hours."""
        settings, now_us = self._settings(), clock.wall_us()
        return await self._read(lambda: tuple(_hours(one.name, settings, now_us) for one in settings.targets))

    async def call_sheet(self, life: Life) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Write the call sheet of an issue: its fields, and pages by media type."""
        sheet = await self._read(lambda: self._sheets.write(life))
        return asdict(sheet), {"text/html": as_html(sheet), "text/plain": as_text(sheet)}

    async def amendments(self) -> tuple[Amendment, ...]:
        """Read the amendments, in the order in which they were kept."""
        return await self._read(lambda: remarks_of(self._address, RemarkKind.AMENDMENT))

    async def amend(self, decide: Decide) -> tuple[Amendment, ...]:
        """Keep what `decide` makes of the amendments and the targets that are known; give all amendments with it."""
        self._check()
        targets = await self.targets()
        seen: list[Amendment] = []

        def deciding(known: tuple[Amendment, ...]) -> Amendment:
            seen[:] = known
            return decide(known, targets)

        # Cancelled or not, it is kept or refused as a whole; the next reading tells which.
        amendment = await self._bounded(self._ledger.amend(deciding))
        log.info("ledger.amended", remark=str(amendment))
        self._amended()
        return (*seen, amendment)

    def _check(self) -> None:
        if self._troubled():
            raise Unavailable("The ledger can't be written now, so nothing is added; /api/v1/status says why.")

    def close(self) -> None:
        """End the thread."""
        self._worker.stop()

    async def _read(self, read: Callable[[], T]) -> T:
        return await self._bounded(self._worker.run(read))

    async def _bounded(self, work: Coroutine[object, object, T]) -> T:
        """Wait for the ledger, but not in any number."""
        if len(self._tasks) >= WAITING_MAX:
            work.close()
            raise Unavailable("Too many calls wait for the ledger already.")
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except LedgerError as error:
            log.warning("ledger.not_asked", reason=str(error))
            raise Unavailable("The ledger can't be read or written now; the daemon's log says why.") from error

    def _done(self, task: "asyncio.Task[object]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Seen, though the client may be gone.


# What follows reckons with bank holidays and many business days: in the thread, since the loop times the targets.
def _issue(life: Life, settings: Settings, now_us: int) -> Mapping[str, Any]:
    owed = obligations(life, pledges_of(settings, life.target), now_us)
    return {**whole_of(life, owed), "tam": plain_of(tam_of(settings, life.target, now_us))}


def _case(case: Case, settings: Settings, now_us: int) -> Mapping[str, Any]:
    owed = case_obligations(case, case_pledges_of(settings, case.target), now_us)
    return {**case_of(case, owed), "tam": plain_of(tam_of(settings, case.target, now_us))}


def _hours(target: str, settings: Settings, now_us: int) -> Mapping[str, Any]:
    hours, second = business_hours_of(settings, target), now_us // clock.SECOND_US
    seen = outlook(hours, datetime.fromtimestamp(second, UTC))
    return {
        "target": target,
        "service_time_zone": hours.name,
        "time_zone": str(hours.zone),
        "hours": f"{hours.opens:%H:%M}-{hours.closes:%H:%M}",
        "at": utc(second),
        **plain_outlook(seen),
        "exception": seen.exception or None,
        "tam": plain_of(tam_of(settings, target, now_us)),
    }
