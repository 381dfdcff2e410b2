"""`run`: the daemon."""

from pathlib import Path

import uvloop

from probe import log
from probe.app import Daemon
from probe.commands.settings import loaded
from probe.commands.terminal import Exit, fail
from probe.ledger import LedgerError
from probe.settings import Loaded
from probe.web import ListenerError


def run(path: Path) -> None:
    """Probe until told to stop."""
    settings = loaded(path)
    writer = log.set_up(settings.settings.log.format, settings.settings.log.level)
    try:
        uvloop.run(_daemon(path, settings))
    except LedgerError as error:
        fail(f"The ledger can't be used, so nothing would be proven: {error}", Exit.CANNOT)
    except ListenerError as error:
        fail(str(error), Exit.CANNOT)
    finally:
        writer.close()


async def _daemon(path: Path, settings: Loaded) -> None:
    await Daemon(path, settings).run()
