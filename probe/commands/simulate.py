"""`simulate`: the simulated provider on its own."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import uvloop

from probe.commands.terminal import Exit, fail, out
from probe.simulator import ScenarioError, run_simulator


def simulate(scenario: Path | None, host: str, api_port: int, smtp_port: int, page_port: int, directory: Path) -> None:
    """Serve until SIGINT or SIGTERM."""
    try:
        uvloop.run(_serve(scenario, host, api_port, smtp_port, page_port, directory))
    except ScenarioError as error:
        fail(str(error), Exit.INPUT)
    except OSError as error:
        where = f"{host}, API port {api_port}, SMTP port {smtp_port}, page's port {page_port}, files in {directory}"
        fail(f"The simulated provider can't start ({where}): {error.strerror or error}.", Exit.CANNOT)


async def _serve(
    scenario: Path | None, host: str, api_port: int, smtp_port: int, page_port: int, directory: Path
) -> None:
    server = asyncio.create_task(
        run_simulator(scenario, host, api_port, smtp_port, directory, _say, page_port=page_port)
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, server.cancel)
    with suppress(asyncio.CancelledError):
        await server


def _say(line: str) -> None:
    out.print(line, markup=False, soft_wrap=True)
