"""The simulated provider: both surfaces, the scenario's clock, and control by hand."""

import asyncio
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from probe.core.model import Surface
from probe.simulator.api import ApiWire
from probe.simulator.certificates import make_contexts
from probe.simulator.desk import Desk, Received, Tally
from probe.simulator.door import Door
from probe.simulator.faults import WAY_IN, FaultKind, SimulatedFault, resolve
from probe.simulator.options import ProviderOptions, TlsMode
from probe.simulator.page import SimulatedPage
from probe.simulator.scenario import NoticeWindow, Scenario, Window
from probe.simulator.smtp import SmtpWire

CA_FILE_NAME = "ca.pem"
_SWEEP_S_MAX = 1.0
_SWEEP_S_MIN = 0.01

OnTurn = Callable[[Surface, SimulatedFault | None], None]


class SimulatedProvider:
    """A provider on loopback that can be told to fail.

    Use as an async context manager. The scenario's windows count from the entry. `set` and `clear` act at once, and
    from then on the scenario leaves that surface alone.
    """

    def __init__(
        self,
        options: ProviderOptions | None = None,
        scenario: Scenario | None = None,
        *,
        directory: Path | None = None,
        on_turn: OnTurn | None = None,
    ) -> None:
        options = options or ProviderOptions()
        if not options.key:
            options = replace(options, key=secrets.token_hex(20))
        self.options = options
        self._scenario = scenario or Scenario()
        self._directory = directory
        self._own_directory: tempfile.TemporaryDirectory[str] | None = None
        self._on_turn = on_turn
        seed = options.seed if scenario is None else scenario.seed
        self._desks = {surface: Desk(surface, seed=seed, records_max=options.records_max) for surface in Surface}
        self._doors: dict[Surface, Door] = {}
        self.page = SimulatedPage()
        self._by_hand: set[Surface] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._sweepers: dict[Surface, asyncio.TimerHandle] = {}

    async def __aenter__(self) -> Self:
        """Make certificates, open both listeners, start the scenario's clock."""
        contexts = await asyncio.to_thread(make_contexts, self.options.names)
        self._write_ca(contexts.ca_pem)
        options, desks = self.options, self._desks
        try:
            self._doors[Surface.API] = Door(
                options.host, options.api_port, lambda: ApiWire(desks[Surface.API], contexts, options)
            )
            self._doors[Surface.SMTP] = Door(
                options.host, options.smtp_port, lambda: SmtpWire(desks[Surface.SMTP], contexts, options)
            )
            if options.page_port is not None:
                tls = contexts.good if options.api_tls is TlsMode.IMPLICIT else None
                await self.page.open(options.host, options.page_port, tls)
        except OSError:
            await self.__aexit__()
            raise
        loop = asyncio.get_running_loop()
        for surface in Surface:
            self._doors[surface].open()
            self._sweep(surface)
            windows = self._scenario.windows_of(surface)
            self._tasks.append(loop.create_task(self._play(surface, windows, loop.time())))
        for notice in self._scenario.page:
            self._tasks.append(loop.create_task(self._announce(notice, loop.time())))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close everything at once."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        for timer in self._sweepers.values():
            timer.cancel()
        await self.page.close()
        for surface, door in self._doors.items():
            await door.close()
            self._desks[surface].reset_all()
        # The transports finish in the loop's next turn; without it their sockets would be reported as left open.
        await asyncio.sleep(0)
        if self._own_directory is not None:
            self._own_directory.cleanup()

    # Where it is.

    @property
    def api_port(self) -> int:
        """Return the API's port."""
        return self._doors[Surface.API].port

    @property
    def smtp_port(self) -> int:
        """Return the SMTP port."""
        return self._doors[Surface.SMTP].port

    @property
    def api_url(self) -> str:
        """Return the base URL, as it stands in a target's settings."""
        return f"{self._base_url(self.api_port)}{self.options.base_path}"

    @property
    def page_url(self) -> str:
        """Return the status page's base URL; it is served if the options give it a port."""
        assert self.options.page_port is not None
        return self._base_url(self.page.port)

    @property
    def key(self) -> str:
        """Return the API key, which is the SMTP password too."""
        return self.options.key

    @property
    def user(self) -> str:
        """Return the SMTP user."""
        return self.options.user

    @property
    def ca_file(self) -> Path:
        """Return the file with the authority's certificate."""
        assert self._directory is not None
        return self._directory / CA_FILE_NAME

    # What it does wrong.

    def set(self, surface: Surface, fault: SimulatedFault) -> None:
        """Begin a fault now, whatever the scenario says; ValueError if the surface has no such fault."""
        resolved = resolve(surface, fault)
        self._by_hand.add(surface)
        self._turn(surface, resolved)

    def clear(self, surface: Surface) -> None:
        """End the fault now, whatever the scenario says."""
        self._by_hand.add(surface)
        self._turn(surface, None)

    def fault(self, surface: Surface) -> SimulatedFault | None:
        """Return the fault of the moment."""
        return self._desks[surface].fault

    # What came in.

    def tally(self, surface: Surface) -> Tally:
        """Return the surface's counts since the start."""
        return self._desks[surface].tally()

    def received(self, surface: Surface) -> tuple[Received, ...]:
        """Return the last messages that the surface took, oldest first."""
        return tuple(self._desks[surface].received)

    # Inside.

    def _base_url(self, port: int) -> str:
        scheme = "http" if self.options.api_tls is TlsMode.NONE else "https"
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"{scheme}://{host}:{port}"

    def _write_ca(self, pem: bytes) -> None:
        if self._directory is None:
            self._own_directory = tempfile.TemporaryDirectory(prefix="sev1probe-simulator-")
            self._directory = Path(self._own_directory.name)
        self._directory.mkdir(parents=True, exist_ok=True)
        self.ca_file.write_bytes(pem)

    def _turn(self, surface: Surface, fault: SimulatedFault | None) -> None:
        desk, door = self._desks[surface], self._doors[surface]
        desk.fault = fault
        desk.redraw()
        if fault is not None and fault.kind is FaultKind.REFUSE:
            door.shut()
            desk.reset_all()
        else:
            door.open()
            if fault is not None and fault.phase in WAY_IN:
                desk.turn_out()
        self._sweep(surface)
        if self._on_turn is not None:
            self._on_turn(surface, fault)

    def _sweep(self, surface: Surface) -> None:
        """Close idle connections now and again later."""
        desk, loop = self._desks[surface], asyncio.get_running_loop()
        if (pending := self._sweepers.get(surface)) is not None:
            pending.cancel()
        fault = desk.fault
        idle_s = self.options.api_idle_s if surface is Surface.API else self.options.smtp_idle_s
        if fault is not None and fault.kind is FaultKind.IDLE_CLOSE:
            idle_s = fault.after_s
        desk.close_idle(loop.time(), idle_s)
        every_s = max(_SWEEP_S_MIN, min(_SWEEP_S_MAX, idle_s / 4))
        self._sweepers[surface] = loop.call_later(every_s, self._sweep, surface)

    async def _play(self, surface: Surface, windows: tuple[Window, ...], start: float) -> None:
        """Follow the scenario, unless the surface is controlled by hand."""
        loop = asyncio.get_running_loop()
        for window in windows:
            await asyncio.sleep(start + window.at_s - loop.time())
            if surface not in self._by_hand:
                self._turn(surface, window.fault)
            if window.for_s is None:
                return
            await asyncio.sleep(start + window.at_s + window.for_s - loop.time())
            if surface not in self._by_hand:
                self._turn(surface, None)

    async def _announce(self, window: NoticeWindow, start: float) -> None:
        """Put a notice of the scenario on the page, and take it down again."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(start + window.at_s - loop.time())
        self.page.show(window.notice)
        if window.for_s is not None:
            await asyncio.sleep(start + window.at_s + window.for_s - loop.time())
            self.page.take_down(window.notice)
