"""`notify test`: one notice through each courier, and what happened."""

import asyncio
from pathlib import Path

import uvloop

from probe import log
from probe.clock import SECOND_US, SystemClock, monotonic_us, wall_us
from probe.commands.settings import loaded
from probe.commands.terminal import Exit, err, fail, out
from probe.core.notices import trial
from probe.notify import Courier, CourierCharge, CourierError, tell_in_time
from probe.settings import Settings, SettingsError
from probe.workshop import Workshop


def test(path: Path) -> None:
    """Tell through all couriers at once, and say in one line each what happened."""
    result = loaded(path)
    if not result.settings.notify:
        fail(f"{path}: there is no courier; name some under notify.", Exit.INPUT)
    for warning in result.warnings:
        err.print(warning, style="yellow" if err.is_terminal else None, markup=False)
    writer = log.set_up(result.settings.log.format, "error")
    try:
        lines = uvloop.run(_try_all(result.settings))
    except SettingsError as error:
        fail(str(error), Exit.INPUT)
    finally:
        writer.close()
    for _, line in lines:
        out.print(line, markup=False, soft_wrap=True)
    raise SystemExit(Exit.OK if all(worked for worked, _ in lines) else Exit.NO)


async def _try_all(settings: Settings) -> list[tuple[bool, str]]:
    couriers = Workshop(SystemClock()).couriers(settings)
    return await asyncio.gather(*[_try(charge, courier, settings.vantage) for charge, courier in couriers])


async def _try(charge: CourierCharge, courier: Courier, vantage: str) -> tuple[bool, str]:
    begun_us = monotonic_us()
    try:
        await tell_in_time(courier, charge, trial(vantage, wall_us() // SECOND_US))
    except CourierError as error:
        return False, f"{charge.name} ({charge.kind}): NOT told: {error}"
    finally:
        await courier.close()
    return True, f"{charge.name} ({charge.kind}): told in {(monotonic_us() - begun_us) / SECOND_US:.2f} s"
