"""`run`: the daemon."""

import faulthandler
import signal
from contextlib import suppress
from pathlib import Path

import uvloop

from probe import log
from probe.app import Daemon
from probe.commands.settings import loaded
from probe.commands.terminal import Exit, fail
from probe.ledger import LedgerError
from probe.settings import Loaded, SettingsError
from probe.web import ListenerError


def run(path: Path) -> None:
    """Probe until told to stop."""
    settings = loaded(path)
    writer = log.set_up(settings.settings.log.format, settings.settings.log.level)
    # A watchdog ends what hangs with SIGABRT: each thread then says where it is, without any values.
    with suppress(OSError, ValueError):  # Standard error may be no file, as under a tool that runs us in itself.
        faulthandler.enable()
    # A reload that is asked for before there is anything to reload must not end the process, as SIGHUP does by default.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        is_recorded = uvloop.run(_daemon(path, settings))
    except SettingsError as error:
        fail(str(error), Exit.INPUT)
    except LedgerError as error:
        fail(f"The ledger can't be used, so nothing would be proven: {error}", Exit.CANNOT)
    except ListenerError as error:
        fail(str(error), Exit.CANNOT)
    finally:
        writer.close()
    if not is_recorded:
        raise SystemExit(Exit.CANNOT)


async def _daemon(path: Path, settings: Loaded) -> bool:
    return await Daemon(path, settings).run()
