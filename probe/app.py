"""Builds the edges from the settings, starts them in order, and stops them in the reverse order. No rules here."""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from probe import clock
from probe.casework import Casework
from probe.clock import SECOND_US, SystemClock
from probe.core.engine import RULES_VERSION, TargetState
from probe.core.model import Terms
from probe.herald import Herald
from probe.ledger import Ledger, LedgerError, LedgerQueue, Recovery, remarks_of
from probe.ledger.tables import RemarkKind
from probe.metrics import Metrics
from probe.notify import Courier, CourierCharge
from probe.pages import DOCUMENTS, PageCharge, Pollers, source_of
from probe.runner import Runner
from probe.settings import Listener as ListenerSettings
from probe.settings import Loaded, Settings, SettingsError, load
from probe.systemd import ServiceManager
from probe.teller import Teller
from probe.times import utc
from probe.version import VERSION
from probe.view import View
from probe.vigil import Insight, Vigil
from probe.web import Api, Issues, Listener, Resources, SupportCases, TokenBook
from probe.workshop import Workshop, renew

log = structlog.get_logger("daemon")

# SIGTERM has to be over within this, or within the attempts' deadline if that is shorter.
STOP_S_MAX = 5.0
# Its shares; what is left of it is for the listener and for letting go of the ledger.
STOP_SHARE_ATTEMPTS = 0.5
STOP_SHARE_CUT_OFF = 0.1
STOP_SHARE_LEDGER = 0.25
RETENTION_PAUSE_S = 1.0
RETENTION_REST_S = 600.0
# A wall clock that differs by more from the time that seconds are named by is worth a line.
CLOCK_AHEAD_US_MAX = 500_000
DIFFERENCES_LOGGED_MAX = 20
SWITCH_INTERVAL_S = 0.0005
# A reload leaves these as they are: a ledger has one vantage, and open files and sockets stay open.
PARTS_OF_A_START = ("vantage", "ledger", "listener", "log")


class Daemon:
    """One running sev1probe."""

    def __init__(self, path: Path, loaded: Loaded) -> None:
        self._path = path
        self._begun_with = self._settings = settings = loaded.settings
        self._warnings = loaded.warnings
        self._clock = SystemClock()
        self._workshop = Workshop(self._clock)
        self._metrics = Metrics(CollectorRegistry(), version=VERSION, rules_version=RULES_VERSION)
        self._view = View(version=VERSION, vantage=settings.vantage, started_second=self._clock.now_us() // SECOND_US)
        self._ledger = Ledger(settings.ledger.url, settings.vantage)
        self._casework = Casework(
            settings=lambda: self._settings,
            address=settings.ledger.url,
            ledger=self._ledger,
            troubled=lambda: self._queue.troubled,
            clock=self._clock,
            metrics=self._metrics,
            view=self._view,
            note=lambda lapse: self._teller.remark(lapse),
        )
        self._teller = Teller(
            metrics=self._metrics,
            view=self._view,
            turned=self._casework.issues.turned,
            on_kept=self._casework.cases.kept,
            on_turns=self._casework.messenger.office.wake,
            on_unrecorded=self._casework.messenger.office.urgent,
        )
        self._queue = LedgerQueue(
            self._ledger,
            records_max=settings.ledger.queue_records_max,
            on_kept=self._teller.kept,
            on_trouble=self._teller.in_trouble,
            on_recovered=self._teller.recovered,
        )
        self._teller.attach(self._queue, settings.ledger.queue_records_max)
        self._manager = ServiceManager()
        self._herald = Herald(settings.vantage)
        self._vigil = Vigil(
            clock=self._clock,
            sink=self._teller,
            metrics=self._metrics,
            view=self._view,
            manager=self._manager,
            tell=self._herald.tell,
        )
        self._pages = Pollers(
            vantage=settings.vantage,
            clock=self._clock,
            tell=self._teller.remark,
            paused=lambda: self._queue.troubled,
        )
        self._tls = self._workshop.listener_tls(settings)
        self._listener = Listener(
            host=settings.listener.host,
            port=settings.listener.port,
            tls=self._tls,
            render=self._metrics.render,
            healthy=self._vigil.healthy,
            ready=self._vigil.ready,
            reload=self.reload,
            api=self._api(settings.listener),
        )
        self._runner: Runner | None = None
        self._started = asyncio.Event()
        self._asked_to_stop = False
        self._reloading = asyncio.Lock()
        self._clock_is_off = False

    def _api(self, listener: ListenerSettings) -> Api:
        operations = (
            *Resources(status=self._view.status, record=self._casework.archive).operations(),
            *Issues(self._casework.archive).operations(),
            *SupportCases(self._casework.archive).operations(),
        )
        tokens = None if listener.tokens_file is None else TokenBook(listener.tokens_file)
        return Api(operations, tokens=tokens, open_reading=listener.open_reading)

    async def run(self) -> bool:
        """Probe until SIGTERM or SIGINT; say whether everything that was seen is in the ledger.

        Raises:
            SettingsError: If a part can't be built from its settings.
            LedgerError: If the ledger can't be opened or read at the start.
            ListenerError: If the listener's address can't be had.
        """
        settings = self._settings
        self._listen_to_signals()
        plan, couriers = self._workshop.plan(settings), self._workshop.couriers(settings)
        await self._ledger.open()
        recovery = await self._ledger.recover(plan.terms)
        _log_recovery(recovery, self._ledger.name)
        self._show(settings, plan.terms, couriers, recovery.states)
        self._show_chain(recovery)
        self._vigil.take_up(await asyncio.to_thread(remarks_of, settings.ledger.url, RemarkKind.CONDITION))
        self._casework.take_up(await asyncio.to_thread(remarks_of, settings.ledger.url, RemarkKind.LAPSE))
        runner = self._runner = Runner(
            plan=plan,
            clock=self._clock,
            sink=self._vigil,
            states=recovery.states,
            control_records=recovery.control_records,
            on_second=self._second_begins,
            on_turn=self._vigil.turned,
        )
        self._vigil.attach(
            Insight(
                waiting=lambda: runner.waiting,
                open_seconds=lambda: runner.open_seconds,
                clock_ahead_us=lambda: runner.clock_ahead_us,
            )
        )
        await self._listener.start()
        await self._casework.messenger.open()
        self._log_start()
        self._started.set()
        _keep_the_cadence()
        helpers = [
            self._queue.start(),
            asyncio.create_task(self._teller.tell_forever()),
            asyncio.create_task(self._cut_forever()),
            asyncio.create_task(self._vigil.watch_forever()),
            asyncio.create_task(self._herald.tell_forever()),
            *map(asyncio.create_task, self._casework.work()),
        ]
        for helper in helpers:  # None of them ever ends by itself; one that does has met a bug.
            helper.add_done_callback(lambda _: runner.stop())
        if self._asked_to_stop:
            runner.stop()
        try:
            await runner.run()
        finally:
            is_recorded = await self._stop(runner, helpers)
        for helper in helpers:
            if not helper.cancelled() and (error := helper.exception()):
                raise error
        return is_recorded

    async def reload(self) -> tuple[bool, str]:
        """Read the settings again and go over to them; a wrong file changes nothing."""
        async with self._reloading:
            if self._asked_to_stop:
                return False, "The daemon is stopping."
            self._manager.reloading()
            try:
                return await self._go_over()
            finally:
                self._vigil.reloaded()

    async def _go_over(self) -> tuple[bool, str]:
        try:
            settings = await self._settings_to_go_over_to()
        except (SettingsError, LedgerError) as error:
            self._refuse_settings(str(error))
            return False, f"The old settings are kept: {error}"
        except Exception as error:
            # Whatever it is, the daemon goes on as it was, and says so where people look.
            self._refuse_settings(f"an error inside the program: {type(error).__name__}")
            log.exception("settings.failed_inside")
            return False, "The old settings are kept: an error inside the program; the log has its traceback."
        self._view.settings_trouble = ""
        log.info("settings.reloaded", file=str(self._path), targets=len(settings.targets))
        return True, f"Now watching {_count(len(settings.targets), 'target')} by {self._path}."

    def _refuse_settings(self, why: str) -> None:
        self._metrics.observe_reload(successful=False, wall_us=clock.wall_us())
        self._view.settings_trouble = why
        log.error("settings.refused", kept="the old settings", problems=why.splitlines())

    async def _settings_to_go_over_to(self) -> Settings:
        runner = self._runner
        assert runner is not None
        # In a thread: a large file takes tens of milliseconds to read and check.
        loaded = await asyncio.to_thread(load, self._path)
        for warning in loaded.warnings:
            log.warning("settings.warning", warning=warning)
        kept = {part: getattr(self._begun_with, part) for part in PARTS_OF_A_START}
        if changed := [part for part, value in kept.items() if getattr(loaded.settings, part) != value]:
            log.warning("settings.need_a_restart", parts=changed, until_then="they keep what they were started with")
        settings = loaded.settings.model_copy(update=kept)
        plan = self._workshop.plan(settings)
        # In a thread: Apprise takes a fifth of a second to load.
        couriers = await asyncio.to_thread(self._workshop.couriers, settings)
        if self._tls is not None:
            renew(self._tls, settings)
        watched = {target.name for target in self._settings.targets}
        come = [target for target in plan.terms if target not in watched]
        states = {target: state for target in come if (state := runner.state_of(target)) is not None}
        if new := {target: plan.terms[target] for target in come if target not in states}:
            recovery = await self._ledger.recover(new, check_chain=False)
            states |= recovery.states
            runner.replace(plan, recovery.states)
        else:
            runner.replace(plan, {})
        self._settings = settings
        self._show(settings, plan.terms, couriers, states)
        return settings

    def _show(
        self,
        settings: Settings,
        terms: Mapping[str, Terms],
        couriers: Sequence[tuple[CourierCharge, Courier]],
        states: Mapping[str, TargetState],
    ) -> None:
        """Show and tell by these settings from now on; `states` are those of targets that come into view."""
        self._teller.configure(terms, self._casework.configure(settings, terms, couriers, states))
        self._view.configure(settings.vantage, terms, [control.name for control in settings.controls])
        self._metrics.configure(settings.targets, settings.controls, _sources(settings), settings.notify)
        self._herald.configure(settings.on_condition)
        self._vigil.configure([*terms], settings.blind_after_s, max(_timeouts_s(settings)))
        self._metrics.observe_reload(successful=True, wall_us=clock.wall_us())
        self._pages.configure([PageCharge.of(*page) for page in self._workshop.pages(settings)])
        for state in states.values():
            self._view.recover(state)
            self._metrics.show_state(state.target, state)

    def _show_chain(self, recovery: Recovery) -> None:
        if recovery.head.seq:
            self._view.chain = (recovery.head.seq, recovery.head.digest)
            self._metrics.set_chain_head(sequence=recovery.head.seq, digest=recovery.head.digest)

    async def _stop(self, runner: Runner, helpers: "list[asyncio.Task[None]]") -> bool:
        """End everything within the limit, each step whatever became of the one before; say whether all is recorded."""
        self._asked_to_stop = True
        self._manager.stopping()
        limit_s = min(STOP_S_MAX, max(_timeouts_s(self._settings)))
        until_s = asyncio.get_running_loop().time() + limit_s
        log.info("daemon.stopping", within_s=limit_s)
        await _whatever_happens(self._pages.close(), limit_s * STOP_SHARE_CUT_OFF)
        await _whatever_happens(runner.finish(limit_s * STOP_SHARE_ATTEMPTS, limit_s * STOP_SHARE_CUT_OFF), limit_s)
        await _whatever_happens(self._queue.drain(limit_s * STOP_SHARE_LEDGER), limit_s)
        waiting = self._queue.records
        self._teller.tell_rest()
        self._herald.close()
        await _whatever_happens(self._casework.messenger.close(), limit_s * STOP_SHARE_CUT_OFF)
        for helper in helpers:
            helper.cancel()
        await asyncio.wait(helpers, timeout=limit_s * STOP_SHARE_CUT_OFF)
        for last in (self._workshop.close(), self._listener.stop(), self._ledger.close()):
            await _whatever_happens(last, until_s - asyncio.get_running_loop().time())
        self._casework.archive.close()
        if waiting:
            lost = "the ledger will say of these seconds that nobody looked"
            log.error("ledger.left_unwritten", records=waiting, meaning=lost)
        log.info("daemon.stopped", chain_sequence=self._view.chain[0], chain_digest=self._view.chain[1])
        return not waiting

    async def _cut_forever(self) -> None:
        """Cut what is older than the ledger keeps, in small steps between the batches."""
        while True:
            ledger, finished = self._settings.ledger, True
            try:
                report = await self._ledger.cut(
                    self._clock.now_us() // SECOND_US,
                    ledger.attempts_kept_s,
                    ledger.verdicts_kept_s,
                    targets=[target.name for target in self._settings.targets],
                )
                finished = report.finished
            except LedgerError as error:
                log.warning("ledger.not_cut", reason=str(error))
            await asyncio.sleep(RETENTION_REST_S if finished else RETENTION_PAUSE_S)

    def _second_begins(self, second: int) -> None:
        assert self._runner is not None
        self._metrics.set_open_seconds(self._runner.open_seconds)
        self._metrics.set_clock_ahead(ahead_us := self._runner.clock_ahead_us)
        if (is_off := abs(ahead_us) > CLOCK_AHEAD_US_MAX) != self._clock_is_off:
            self._clock_is_off = is_off
            facts = {"wall_clock_ahead_s": ahead_us / SECOND_US, "seconds_named": "by the clock as it was before"}
            log.warning("clock.differs" if is_off else "clock.agrees", **facts)
        for name, record in self._runner.control_records.items():
            self._metrics.set_control(name, record.success_ppm, record.trusted)
            self._view.show_control(name, record.success_ppm, record.trusted)
        self._vigil.second_begins(second)

    def _listen_to_signals(self) -> None:
        """Take signals from the beginning on, since a recovery may take seconds; they act once it is over."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_soon)
        tasks: set[asyncio.Task[Any]] = set()

        def reload() -> None:
            tasks.add(task := asyncio.create_task(self._reload_soon()))
            task.add_done_callback(tasks.discard)

        loop.add_signal_handler(signal.SIGHUP, reload)

    def _stop_soon(self) -> None:
        self._asked_to_stop = True
        if self._runner is not None:
            self._runner.stop()

    async def _reload_soon(self) -> None:
        await self._started.wait()
        await self.reload()

    def _log_start(self) -> None:
        settings = self._settings
        for warning in self._warnings:
            log.warning("settings.warning", warning=warning)
        if not settings.controls:
            log.warning("controls.none", meaning="network faults stay inconclusive: nothing tells ours from theirs")
        log.info(
            "daemon.started",
            version=VERSION,
            vantage=settings.vantage,
            targets=[target.name for target in settings.targets],
            controls=[control.name for control in settings.controls],
            ledger=self._ledger.name,
            listener=self._listener.url,
        )


async def _whatever_happens(step: Awaitable[object], limit_s: float) -> None:
    """Take one step of the end; neither a failure nor a disk that hangs keeps the later ones from being taken."""
    try:
        await asyncio.wait_for(step, max(0.0, limit_s))
    except Exception:
        log.exception("daemon.stop_step_failed")


def _log_recovery(recovery: Recovery, name: str) -> None:
    for problem in recovery.problems:
        log.error("ledger.chain_broken", problem=problem, see=f"sev1probe ledger verify {name}")
    for difference in recovery.differences[:DIFFERENCES_LOGGED_MAX]:
        log.error("ledger.differs_from_rules", difference=str(difference))
    if len(recovery.differences) > DIFFERENCES_LOGGED_MAX:
        log.error("ledger.differs_from_rules", differences=len(recovery.differences))
    for state in recovery.states.values():
        issue: Mapping[str, Any] = {}
        if state.open_issue is not None:
            issue = {"critical_issue": state.open_issue.issue, "since": utc(state.open_issue.since_second)}
        log.info("target.recovered", target=state.target, through=utc(state.next_second - 1), **issue)


def _keep_the_cadence() -> None:
    """Let neither the ledger's thread nor the garbage collector hold up the loop for long.

    With 5 ms, the interpreter's default, a commit of 1,200 records delays attempts by up to 10 ms; with 0.5 ms by half.
    A full collection over 200,000 objects takes 31 ms, in which no attempt starts: what the start has built is taken
    out of the collector's sight, and it looks less often.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _sources(settings: Settings) -> list[str]:
    """Name what the statements of the status pages come from."""
    return [source_of(page.name, document) for page in settings.status_pages for document in DOCUMENTS]


def _timeouts_s(settings: Settings) -> list[float]:
    return [part.timeout_s for target in settings.targets for part in (target.api, target.smtp) if part is not None]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
