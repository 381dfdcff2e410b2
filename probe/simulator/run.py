"""The simulated provider on its own, for drills: files to point a client at, and a line for each turn."""

import asyncio
import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from probe.core.model import Surface
from probe.simulator.faults import SimulatedFault, describe
from probe.simulator.options import ProviderOptions
from probe.simulator.provider import SimulatedProvider
from probe.simulator.scenario import Scenario, load_scenario

KEY_FILE_NAME = "api.key"
_KEY_BYTES_MAX = 4096

Announce = Callable[[str], None]


async def serve(scenario: Scenario, options: ProviderOptions, *, directory: Path, announce: Announce) -> None:
    """Serve until cancelled; say where, and each turn of the scenario. The key goes to a file and is never said."""
    if not options.key:
        options = replace(options, key=_keep_key(directory / KEY_FILE_NAME))
    loop = asyncio.get_running_loop()
    start = loop.time()

    def turn(surface: Surface, fault: SimulatedFault | None) -> None:
        what = "healthy again" if fault is None else describe(fault)
        announce(f"{loop.time() - start:7.1f}s  {surface:<4}  {what}")

    async with SimulatedProvider(options, scenario, directory=directory, on_turn=turn) as provider:
        announce(f"API        {provider.api_url}/transmissions")
        announce(f"SMTP       {options.host}:{provider.smtp_port} ({options.smtp_tls}, user {options.user})")
        if options.page_port is not None:
            announce(f"page       {provider.page_url} (what the provider says of itself)")
        announce(f"key        in {directory / KEY_FILE_NAME}; it is the SMTP password too")
        announce(f"authority  {provider.ca_file}")
        for surface in Surface:
            announce(f"scenario   {surface}: {len(scenario.windows_of(surface))} faults")
        await asyncio.Event().wait()


async def run_simulator(
    config_path: Path | None,
    host: str,
    api_port: int,
    smtp_port: int,
    directory: Path,
    announce: Announce,
    *,
    page_port: int | None = None,
) -> None:
    """Serve a scenario file, or a healthy provider, until cancelled; ScenarioError or OSError if it can't start."""
    scenario = Scenario() if config_path is None else await asyncio.to_thread(load_scenario, config_path)
    options = ProviderOptions(host=host, api_port=api_port, smtp_port=smtp_port, page_port=page_port)
    await serve(scenario, options, directory=directory, announce=announce)


def _keep_key(path: Path) -> str:
    """Return the key of an earlier run, or make one that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open(encoding="ascii") as file:
            known = file.read(_KEY_BYTES_MAX).strip()
    except FileNotFoundError:
        known = ""
    if known:
        return known
    key = secrets.token_hex(20)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(key + "\n")
    return key
