"""Reading settings on the command line, and `check-config`."""

import ssl
from pathlib import Path

from probe.commands.terminal import Exit, err, fail, out, write
from probe.settings import Loaded, Settings, SettingsError, effective, load


def loaded(path: Path) -> Loaded:
    """Return good settings, or say all that is wrong with them and end."""
    try:
        result = load(path)
    except SettingsError as error:
        fail(str(error), Exit.INPUT)
    _refuse_empty_trust(result.settings)
    return result


def _refuse_empty_trust(settings: Settings) -> None:
    """End if a ca_file holds no certificate; without one no server could be trusted."""
    parts = (*settings.controls, *(part for t in settings.targets for part in (t.api, t.smtp) if part is not None))
    for ca_file in dict.fromkeys(part.ca_file for part in parts if part.ca_file is not None):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
        except OSError as error:  # ssl.SSLError is one.
            reason = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
            fail(f"{ca_file}: ca_file can't be used: {reason}", Exit.INPUT)


def check_config(path: Path, *, show: bool) -> None:
    """Say whether a settings file is right."""
    result = loaded(path)
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
