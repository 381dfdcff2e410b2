"""Three weeks of a daemon's metrics, in virtual time: the real rules, the real metrics, and an hour of trouble.

Hours of calm are one judged second that counts for the rest of its stretch; around trouble every second is judged.
What Prometheus would have scraped is written as OpenMetrics with times, which promtool turns into blocks.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TextIO

from prometheus_client import CollectorRegistry

from probe.core.case_obligations import CaseDuty
from probe.core.endings import fault_of
from probe.core.engine import TargetState, advance, begin, skip
from probe.core.model import (
    Amendment,
    Cause,
    ClockState,
    ControlOutcome,
    Exclusion,
    Fault,
    Outcome,
    Persistence,
    Phase,
    Statement,
    Step,
    Surface,
    Synchronisation,
    Terms,
)
from probe.core.month import MonthTally
from probe.core.notices import Delivery
from probe.core.obligations import Duty, ObligationState
from probe.metrics import Metrics

JOB, INSTANCE = "sev1probe", "127.0.0.1:9747"
SURFACES = (Surface.API, Surface.SMTP)
TARGETS = ("main", "spare")
CONTROLS = ("gateway", "resolver")
TERMS = Terms(profile="sparkpost-enterprise", persistence=Persistence(), objective_ppm=999_900, surfaces=SURFACES)
SCRAPE_EVERY_S = 15
CALM_EVERY_S = 6 * 3600
GONE_AFTER_S = 60
SECOND_US = 1_000_000
PHASES: Final = {
    Surface.API: (
        *((Phase.LOOKUP, 900), (Phase.CONNECT, 9_000), (Phase.TLS, 21_000)),
        *((Phase.REQUEST, 100), (Phase.FIRST_BYTE, 60_000), (Phase.BODY, 900)),
    ),
    Surface.SMTP: ((Phase.MAIL, 2_000), (Phase.RCPT, 3_000), (Phase.DATA, 1_000), (Phase.FINAL, 300_000)),
}
ACCEPTED: Final = (Cause.ACCEPTED, Cause.ACCEPTED)


def at(text: str) -> int:
    """Give the second of a time in June 2026, such as "20 11:30"."""
    shape = "%Y-%m-%d %H:%M:%S" if text.count(":") == 2 else "%Y-%m-%d %H:%M"
    return int(datetime.strptime(f"2026-06-{text}", shape).replace(tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Some seconds of the target `main` that were all alike: the causes on both surfaces, and whether controls worked.

    No causes: nobody looked.
    """

    first: int
    last: int
    causes: tuple[Cause, Cause] | None = ACCEPTED
    controls_work: bool = True


def stretch(first: str, last: str, api: Cause, smtp: Cause, *, controls_work: bool = True) -> Stretch:
    """Make a stretch from the first to the last second, both included."""
    return Stretch(first=at(first), last=at(last), causes=(api, smtp), controls_work=controls_work)


BEGIN, END = at("01 00:00"), at("20 12:00")
# Two Critical Issues, the second with seconds of every kind before it.
FIRST_ISSUE: Final = stretch("05 10:00", "05 10:01:59", Cause.HTTP_ERROR, Cause.ACCEPTED)
BETWEEN: Final = stretch("20 11:10", "20 11:10:29", Cause.REFUSED, Cause.ACCEPTED)
OURS: Final = stretch("20 11:15", "20 11:15:59", Cause.CONNECT_TIMEOUT, Cause.CONNECT_TIMEOUT, controls_work=False)
SUSPECTED: Final = stretch("20 11:18", "20 11:18:09", Cause.CREDENTIALS, Cause.ACCEPTED)
UNWATCHED: Final = Stretch(first=at("20 11:20"), last=at("20 11:21:59"), causes=None)
OUTAGE: Final = stretch("20 11:30", "20 11:39:59", Cause.HTTP_ERROR, Cause.SILENT)
TROUBLES: Final = (FIRST_ISSUE, BETWEEN, OURS, SUSPECTED, UNWATCHED, OUTAGE)
# What is scraped every 15 s and judged second by second.
CLOSE_LOOKS: Final = ((at("05 09:55"), at("05 10:15")), (at("20 11:00"), END))
# Left out of the month's totals of `main`, and calm.
MAINTENANCE: Final = Amendment(
    amendment="maintenance",
    target="main",
    surface="",
    first_second=at("12 02:00"),
    last_second=at("12 02:09:59"),
    exclusion=Exclusion.PLANNED_MAINTENANCE,
    reason="announced",
    author="somebody",
    added_us=0,
)
ISSUE = "main-20260620-113000"
CERTIFICATE_EXPIRES: Final = at("30 12:00")
UNWRITTEN: Final = (at("20 11:50"), at("20 11:51"))


class Recorder:
    """A daemon's metrics, and what they say at each scrape."""

    def __init__(self, written: TextIO) -> None:
        self._written = written
        self._metrics = Metrics(CollectorRegistry(), version="1.2.3", rules_version=2)
        named = [_Named(name) for name in TARGETS], [_Named(name) for name in CONTROLS]
        self._metrics.configure(*named, ["page"], [_Named("pager"), _Named("chat")])
        self._metrics.observe_reload(successful=True, wall_us=BEGIN * SECOND_US)
        self._metrics.contract.name_lines({"main": "+1 555 0100", "spare": ""})
        self._states: dict[str, TargetState] = {}
        self._months = {target: MonthTally(target, SURFACES, BEGIN - 1, [MAINTENANCE]) for target in TARGETS}
        self._heads_written = False

    def record(self) -> None:
        """Write the whole month."""
        second = BEGIN
        self._scrape(second)
        for first, last in CLOSE_LOOKS:
            self._calm(second, first)
            self._states = {target: begin(target, TERMS, first) for target in TARGETS}
            for second in range(first, last):
                self._second(second)
                if (second + 1) % SCRAPE_EVERY_S == 0:
                    self._scrape(second + 1)
            second = last
        # After the end nobody answers any more.
        self._written.write(f"{_labelled('up 0.0')} {END + GONE_AFTER_S}\n# EOF\n")

    def _calm(self, first: int, before: int) -> None:
        while first < before:
            following = min(first + CALM_EVERY_S, before)
            for target in TARGETS:
                state, step = advance(begin(target, TERMS, first), TERMS, first, _outcomes(target, first, ACCEPTED), ())
                self._observe(replace(step, seconds=following - first), state)
            self._metrics.observe_controls(_controls(first, worked=True))
            self._metrics.observe_commit(1_500, sequence=first - BEGIN, digest="ab" * 32)
            self._scrape(following)
            first = following

    def _second(self, second: int) -> None:
        trouble = next((one for one in TROUBLES if one.first <= second <= one.last), None)
        if trouble is not None and trouble.causes is None:
            self._unwatched(second, trouble)
            return
        controls = _controls(second, worked=trouble is None or trouble.controls_work)
        for target in TARGETS:
            self._metrics.set_blind(target, False)
            causes = trouble.causes if trouble is not None and trouble.causes and target == "main" else ACCEPTED
            for surface in SURFACES:
                self._metrics.attempt_started(target, surface, 400)
            outcomes = _outcomes(target, second, causes)
            self._states[target], step = advance(self._states[target], TERMS, second, outcomes, controls)
            self._observe(step, self._states[target])
            for surface in SURFACES:
                self._metrics.attempt_ended(target, surface)
        self._metrics.observe_controls(controls)
        self._beside(second)

    def _observe(self, step: Step, state: TargetState) -> None:
        self._metrics.observe_step(step, state)
        self._months[step.target].add(step)

    def _unwatched(self, second: int, trouble: Stretch) -> None:
        """Nobody looks; the prober finds itself blind, and afterwards the seconds are recorded as unobserved."""
        for target in TARGETS:
            if second >= trouble.first + 30:
                self._metrics.set_blind(target, True)
            if second == trouble.last:
                self._states[target], step = skip(self._states[target], TERMS, second, "the loop stalled")
                self._observe(step, self._states[target])

    def _beside(self, second: int) -> None:
        """Tell of everything that is not a verdict: ledger, couriers, clock, page, what is owed."""
        metrics = self._metrics
        writable = not UNWRITTEN[0] <= second < UNWRITTEN[1]
        unrecorded = 0 if writable else second - UNWRITTEN[0]
        metrics.set_ledger(
            writable=writable, queue_records=4 + unrecorded, queue_records_max=1000, unrecorded_seconds=unrecorded
        )
        metrics.set_open_seconds(11 if OUTAGE.first <= second <= OUTAGE.last else 1)
        metrics.observe_commit(1_500, sequence=second - BEGIN, digest="ab" * 32)
        metrics.set_clock_ahead(-3)
        metrics.set_clock_state(
            ClockState(
                second=second,
                read_us=second * SECOND_US,
                synchronisation=Synchronisation.SYNCHRONISED,
                estimated_error_us=80,
                maximum_error_us=9_000,
                ahead_us=0,
            )
        )
        for control in CONTROLS:
            metrics.set_control(control, 999_000, True)
        if second % 60 == 0:
            metrics.observe_statement(_statement(second))
        self._told(second)

    def _told(self, second: int) -> None:
        """Tell people of the outage; the chat is down, and what is owed to call is late."""
        metrics, into_s = self._metrics, second - OUTAGE.first
        if into_s == 360:
            metrics.observe_missed("main", Duty.CALL_LINE)
        if into_s == 60:
            pending = {(CaseDuty.RESPOND, ObligationState.PENDING): 1}
            metrics.show_cases("main", {}, pending)
        if into_s in (60, 61):
            metrics.observe_delivery("pager", Delivery.TOLD)
            metrics.observe_delivery("chat", Delivery.FAILED)
            metrics.set_courier_failing("chat", True)
            metrics.set_outbox_waiting("chat", 2)
        if 60 <= into_s < 900:
            call = ObligationState.PENDING if into_s < 360 else ObligationState.MISSED
            metrics.show_obligations("main", {(Duty.CALL_LINE, call): 1, (Duty.UPDATE, ObligationState.PENDING): 1})
            metrics.contract.show_overdue("main", {Duty.CALL_LINE: int(420 > into_s >= 360)})
            metrics.contract.show_issues("main", {ISSUE: OUTAGE.first})

    def _scrape(self, second: int) -> None:
        for target, month in self._months.items():
            self._metrics.contract.show_month(target, month.count(), TERMS.objective_ppm)
            for surface in SURFACES:
                self._metrics.set_certificate(target, surface, CERTIFICATE_EXPIRES)
        _, _, body = asyncio.run(self._metrics.render("application/openmetrics-text", ""))
        for line in (*body.decode().splitlines(), "# TYPE up gauge", "up 1.0"):
            if not line.startswith("#"):
                self._written.write(f"{_labelled(line)} {second}\n")
            elif not self._heads_written and line != "# EOF":
                self._written.write(line + "\n")
        self._heads_written = True


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    surfaces: tuple[Surface, ...] = SURFACES


def _labelled(line: str) -> str:
    """Add the labels that Prometheus adds to what it scrapes."""
    name, braced, rest = re.fullmatch(r"([a-z0-9_]+)(\{)?(.*)", line).groups()  # type: ignore[union-attr]
    own = f'job="{JOB}",instance="{INSTANCE}",vantage="ops-1"'
    return f"{name}{{{own},{rest}" if braced else f"{name}{{{own}}}{rest}"


def _outcomes(target: str, second: int, causes: tuple[Cause, Cause]) -> list[Outcome]:
    return list(_each_outcome(target, second, causes))


def _each_outcome(target: str, second: int, causes: tuple[Cause, Cause]) -> Iterator[Outcome]:
    for surface, cause in zip(SURFACES, causes, strict=True):
        fault = fault_of(cause)
        yield Outcome(
            target=target,
            surface=surface,
            second=second,
            ordinal=0,
            started_us=second * SECOND_US,
            duration_us=10_000_000 if fault is Fault.SERVER_TIMEOUT else 92_000 + second % 7 * 10_000,
            fault=fault,
            cause=cause,
            phase=PHASES[surface][-1][0],
            code=401 if cause is Cause.CREDENTIALS else 0,
            phases=PHASES[surface] if fault is Fault.NONE else PHASES[surface][:2],
        )


def _controls(second: int, *, worked: bool) -> list[ControlOutcome]:
    return [
        ControlOutcome(
            control=name,
            second=second,
            started_us=second * SECOND_US,
            duration_us=9_000,
            worked=worked,
            cause=Cause.ACCEPTED if worked else Cause.CONNECT_TIMEOUT,
        )
        for name in CONTROLS
    ]


def _statement(second: int) -> Statement:
    return Statement(
        source="page", second=second, fetched_us=second * SECOND_US, code=200, trouble="", digest="cd" * 32, body="{}"
    )
