"""Reading settings on the command line, and `check-config`."""

from pathlib import Path

from probe.commands.terminal import Exit, err, fail, out, write
from probe.settings import Loaded, Settings, SettingsError, effective, load


def loaded(path: Path) -> Loaded:
    """Return good settings, or say all that is wrong with them and end."""
    try:
        return load(path)
    except SettingsError as error:
        fail(str(error), Exit.INPUT)


def check_config(path: Path, *, show: bool) -> None:
    """Say whether a settings file is right."""
    # Most commands only read settings, and what attempts are made with takes a second to load on a busy host.
    import uvloop

    from probe.clock import SystemClock
    from probe.workshop import Workshop

    async def build(settings: Settings) -> None:
        workshop = Workshop(SystemClock())
        workshop.plan(settings)
        workshop.couriers(settings)

    result = loaded(path)
    try:  # What only shows when it is built: trust stores, headers that can't be folded.
        uvloop.run(build(result.settings))
    except SettingsError as error:
        fail(str(error), Exit.INPUT)
    for warning in result.warnings:
        err.print(warning, style="yellow" if err.is_terminal else None, markup=False)
    if show:
        write(effective(result.settings, result.sources))
        return
    settings = result.settings
    surfaces = sum(len(target.surfaces) for target in settings.targets)
    attempts = sum(len(target.surfaces) * target.attempts_per_second for target in settings.targets)
    out.print(
        f"{path}: right. {len(settings.targets)} target(s), {surfaces} surface(s), {attempts} attempt(s) a second "
        f"({attempts * 86_400:,} a day), {len(settings.controls)} control(s).",
        markup=False,
        soft_wrap=True,
    )
