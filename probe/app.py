"""Builds the edges from the settings, starts them in order, and stops them in the reverse order. No rules here."""

import asyncio
import gc
import signal
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import aiodns
import structlog
from prometheus_client import CollectorRegistry

from probe import clock
from probe.clock import SECOND_US, SystemClock
from probe.core.engine import RULES_VERSION
from probe.core.model import Surface
from probe.core.schedule import slots
from probe.ledger import Ledger, LedgerError, LedgerQueue, Recovery
from probe.metrics import Metrics
from probe.plan import Charge, Plan
from probe.runner import Runner
from probe.settings import Loaded, Problem, Settings, SettingsError, Target, load
from probe.surfaces.api import ApiSurface
from probe.surfaces.control import ControlSurface
from probe.surfaces.dial import trust
from probe.surfaces.smtp import SmtpSurface
from probe.teller import Teller
from probe.times import utc
from probe.version import VERSION
from probe.view import View
from probe.web import Listener

log = structlog.get_logger("daemon")

# SIGTERM has to be over within this, or within the attempts' deadline if that is shorter.
STOP_S_MAX = 5.0
STOP_SHARE_ATTEMPTS = 0.6  # the rest is for the ledger's last batch and the listener
STOP_SHARE_LEDGER = 0.25
RETENTION_PAUSE_S = 1.0
RETENTION_REST_S = 600.0
# The loop has not begun a second for this long: whoever asks should hear that the prober is blind.
BLIND_S = 3.0
DIFFERENCES_LOGGED_MAX = 20
TRUST_STORES_KEPT_MAX = 64
# A reload leaves these as they are: a ledger has one vantage, and open files and sockets stay open.
PARTS_OF_A_START = ("vantage", "ledger", "listener", "log")


class Workshop:
    """Builds surfaces and controls; keeps what is dear to build: the resolver, and one TLS context per trust store."""

    def __init__(self, system_clock: clock.Clock) -> None:
        self.clock = system_clock
        self.resolver = aiodns.DNSResolver(timeout=2.0, tries=2)
        self._trust = lru_cache(TRUST_STORES_KEPT_MAX)(_trust_of)

    def trust(self, ca_file: Path | None) -> ssl.SSLContext:
        """Return the TLS context for a trust store; the system's for None. A file that was replaced is read again.

        Raises:
            SettingsError: If the file can't be used.
        """
        if ca_file is None:
            return self._trust(None, (0, 0))
        try:
            found = ca_file.stat()
            return self._trust(str(ca_file), (found.st_mtime_ns, found.st_ino))
        except OSError as error:  # ssl.SSLError is one.
            reason = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
            sentence = f"ca_file can't be used: {reason}"
            raise SettingsError((Problem(file=str(ca_file), line=0, sentence=sentence),)) from error

    def api(self, target: Target, vantage: str) -> ApiSurface:
        """Build the prober of a target's API."""
        assert target.api is not None
        return ApiSurface(
            target.api,
            target=target.name,
            vantage=vantage,
            resolver=self.resolver,
            clock=self.clock,
            tls=self.trust(target.api.ca_file) if target.api.base_url.startswith("https:") else None,
            in_flight_max=target.in_flight_max,
        )

    def smtp(self, target: Target, vantage: str) -> SmtpSurface:
        """Build the prober of a target's SMTP injection."""
        assert target.smtp is not None
        return SmtpSurface(
            target.smtp,
            target=target.name,
            vantage=vantage,
            resolver=self.resolver,
            clock=self.clock,
            tls=self.trust(target.smtp.ca_file) if target.smtp.tls != "none" else None,
            in_flight_max=target.in_flight_max,
        )

    def plan(self, settings: Settings) -> Plan:
        """Build everything that the second loop works with."""
        charges: dict[tuple[str, Surface], Charge] = {}
        for target in settings.targets:
            if target.api is not None:
                charges[target.name, Surface.API] = Charge(
                    prober=self.api(target, settings.vantage),
                    timeout_us=round(target.api.timeout_s * SECOND_US),
                    in_flight_max=target.in_flight_max,
                )
            if target.smtp is not None:
                charges[target.name, Surface.SMTP] = Charge(
                    prober=self.smtp(target, settings.vantage),
                    timeout_us=round(target.smtp.timeout_s * SECOND_US),
                    in_flight_max=target.in_flight_max,
                )
        return Plan(
            vantage=settings.vantage,
            slots=slots(settings.vantage, ((t.name, t.surfaces, t.attempts_per_second) for t in settings.targets)),
            terms={target.name: target.terms() for target in settings.targets},
            charges=charges,
            controls={
                control.name: ControlSurface(
                    control, resolver=self.resolver, clock=self.clock, tls=self.trust(control.ca_file)
                )
                for control in settings.controls
            },
        )


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
        self._teller = Teller(metrics=self._metrics, view=self._view)
        self._ledger = Ledger(settings.ledger.url, settings.vantage)
        self._queue = LedgerQueue(
            self._ledger,
            records_max=settings.ledger.queue_records_max,
            on_kept=self._teller.kept,
            on_trouble=self._teller.in_trouble,
            on_recovered=self._teller.recovered,
        )
        self._teller.attach(self._queue, settings.ledger.queue_records_max)
        self._listener = Listener(
            host=settings.listener.host,
            port=settings.listener.port,
            render=self._metrics.render,
            healthy=self._healthy,
            ready=self._ready,
            reload=self.reload,
            status=self._view.status,
        )
        self._runner: Runner | None = None
        self._started = asyncio.Event()
        self._asked_to_stop = False
        self._reloading = asyncio.Lock()
        self._begun_second = 0

    async def run(self) -> None:
        """Probe until SIGTERM or SIGINT.

        Raises:
            LedgerError: If the ledger can't be opened or read at the start.
            ListenerError: If the listener's address can't be had.
        """
        settings = self._settings
        self._listen_to_signals()
        await self._ledger.open()
        recovery = await self._ledger.recover({target.name: target.terms() for target in settings.targets})
        _log_recovery(recovery, self._ledger.name)
        self._show(settings, recovery)
        runner = self._runner = Runner(
            plan=self._workshop.plan(settings),
            clock=self._clock,
            sink=self._teller,
            states=recovery.states,
            on_second=self._second_begins,
        )
        await self._listener.start()
        self._log_start()
        self._started.set()
        _calm_the_collector()
        helpers = [
            self._queue.start(),
            asyncio.create_task(self._teller.tell_forever()),
            asyncio.create_task(self._cut_forever()),
        ]
        for helper in helpers:  # None of them ever ends by itself; one that does has met a bug.
            helper.add_done_callback(lambda _: runner.stop())
        if self._asked_to_stop:
            runner.stop()
        try:
            await runner.run()
        finally:
            await self._stop(runner, helpers)
        for helper in helpers:
            if not helper.cancelled() and (error := helper.exception()):
                raise error

    async def reload(self) -> tuple[bool, str]:
        """Read the settings again and go over to them; a wrong file changes nothing."""
        async with self._reloading:
            try:
                settings = await self._settings_to_go_over_to()
            except (SettingsError, LedgerError) as error:
                self._metrics.observe_reload(successful=False, wall_us=clock.wall_us())
                self._view.settings_trouble = str(error)
                log.error("settings.refused", kept="the old settings", problems=str(error).splitlines())
                return False, f"The old settings are kept: {error}"
            self._view.settings_trouble = ""
            log.info("settings.reloaded", file=str(self._path), targets=len(settings.targets))
            return True, f"Now watching {_count(len(settings.targets), 'target')} by {self._path}."

    async def _settings_to_go_over_to(self) -> Settings:
        assert self._runner is not None
        # In a thread: a large file takes tens of milliseconds to read and check.
        loaded = await asyncio.to_thread(load, self._path)
        for warning in loaded.warnings:
            log.warning("settings.warning", warning=warning)
        kept = {part: getattr(self._begun_with, part) for part in PARTS_OF_A_START}
        if changed := [part for part, value in kept.items() if getattr(loaded.settings, part) != value]:
            log.warning("settings.need_a_restart", parts=changed, until_then="they keep what they were started with")
        settings = loaded.settings.model_copy(update=kept)
        plan = self._workshop.plan(settings)
        new = {t.name: t.terms() for t in settings.targets if t.name not in self._runner.watched}
        recovery = await self._ledger.recover(new) if new else None
        self._settings = settings
        self._show(settings, recovery)
        self._runner.replace(plan, recovery.states if recovery is not None else {})
        return settings

    def _show(self, settings: Settings, recovery: Recovery | None) -> None:
        terms = {target.name: target.terms() for target in settings.targets}
        self._view.configure(settings.vantage, terms, [control.name for control in settings.controls])
        self._metrics.configure(settings.targets, settings.controls)
        self._metrics.observe_reload(successful=True, wall_us=clock.wall_us())
        if recovery is None:
            return
        for state in recovery.states.values():
            self._view.recover(state)
            self._metrics.show_state(state.target, state)
        if recovery.head.seq:
            self._view.chain = (recovery.head.seq, recovery.head.digest)
            self._metrics.set_chain_head(sequence=recovery.head.seq, digest=recovery.head.digest)

    async def _stop(self, runner: Runner, helpers: "list[asyncio.Task[None]]") -> None:
        timeouts = [part.timeout_s for t in self._settings.targets for part in (t.api, t.smtp) if part is not None]
        limit_s = min(STOP_S_MAX, max(timeouts))
        log.info("daemon.stopping", within_s=limit_s)
        await runner.finish(limit_s * STOP_SHARE_ATTEMPTS)
        waiting = await self._queue.drain(limit_s * STOP_SHARE_LEDGER)
        self._teller.tell_rest()
        await self._queue.stop()
        for helper in helpers:
            helper.cancel()
        await asyncio.wait(helpers)
        await self._listener.stop()
        await self._ledger.close()
        if waiting:
            log.error(
                "ledger.left_unwritten", records=waiting, meaning="these seconds will be unobserved in the ledger"
            )
        log.info("daemon.stopped", chain_sequence=self._view.chain[0], chain_digest=self._view.chain[1])

    async def _cut_forever(self) -> None:
        """Cut what is older than the ledger keeps, in small steps between the batches."""
        while True:
            ledger, finished = self._settings.ledger, True
            try:
                report = await self._ledger.cut(
                    self._clock.now_us() // SECOND_US, ledger.attempts_kept_s, ledger.verdicts_kept_s
                )
                finished = report.finished
            except LedgerError as error:
                log.warning("ledger.not_cut", reason=str(error))
            await asyncio.sleep(RETENTION_REST_S if finished else RETENTION_PAUSE_S)

    def _second_begins(self, second: int) -> None:
        self._begun_second = second
        assert self._runner is not None
        self._metrics.set_open_seconds(self._runner.open_seconds)

    def _healthy(self) -> tuple[bool, str]:
        late_s = self._clock.now_us() / SECOND_US - self._begun_second
        if self._begun_second and late_s > BLIND_S:
            return False, f"The prober is blind: no second has begun for {late_s:.0f} s."
        if self._view.ledger_trouble:
            return False, f"Probing goes on, but the ledger can't be written: {self._view.ledger_trouble}"
        return True, "Probing, judging and recording."

    def _ready(self) -> tuple[bool, str]:
        if not self._begun_second:
            return False, "The first second has not begun yet."
        return True, f"Probing since {utc(self._begun_second)} at the latest."

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
            listener=f"http://{self._listener.address}/",
        )


def _trust_of(ca_file: str | None, _stamp: tuple[int, int]) -> ssl.SSLContext:
    return trust(ca_file)


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


def _calm_the_collector() -> None:
    """Take what the start has built out of the garbage collector's sight, and let it look less often.

    A full collection over 200,000 objects takes 31 ms, in which no attempt starts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
