"""From the YAML file to frozen settings, or to all that is wrong with it at once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from probe.settings.cases import read_relay_password, refuse_relay_under_test
from probe.settings.document import read_document
from probe.settings.kinds import REDACTED, FromFile, redact_url
from probe.settings.model import Settings, repeated
from probe.settings.problem import Findings
from probe.settings.problem import Path as Place
from probe.settings.provider import complete
from probe.settings.report import drop_nothings, report
from probe.settings.secret import Vault, read_secrets
from probe.settings.sense import target_hosts, warn


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Good settings, what is doubtful about them, and where each secret came from (by field)."""

    settings: Settings
    warnings: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)


def load(path: Path | str, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Read settings; raises SettingsError with all that is wrong."""
    file = Path(path)
    findings = Findings(str(file))
    data = read_document(file, findings)
    folder = file.absolute().parent
    drop_nothings(data)
    _complete(data, findings, Vault(findings, folder, environ))
    _refuse_repeated(data, findings)
    settings = None
    try:
        settings = Settings.model_validate(data, context=FromFile(folder=folder), by_alias=True, by_name=False)
    except ValidationError as error:
        report(error, findings)
    if settings is not None:
        refuse_relay_under_test(settings.cases.relay, target_hosts(settings), findings)
    findings.stop()
    assert settings is not None
    warn(settings, findings)
    return Loaded(settings=settings, warnings=tuple(findings.warnings), sources=findings.sources)


def _complete(data: dict[str, Any], findings: Findings, vault: Vault) -> None:
    targets = data.get("targets")
    for place, target in enumerate(targets if isinstance(targets, list) else ()):
        if isinstance(target, dict):
            complete(target, ("targets", place), findings, vault)
    couriers = data.get("notify")
    for place, courier in enumerate(couriers if isinstance(couriers, list) else ()):
        if isinstance(courier, dict):
            _complete_courier(courier, ("notify", place), vault)
    read_relay_password(data.get("cases"), vault)
    ledger = data.get("ledger")
    if isinstance(ledger, dict) and isinstance(ledger.get("url"), dict):
        ledger["url"] = vault.read(ledger["url"], ("ledger", "url")).get_secret_value()
    elif (
        isinstance(ledger, dict)
        and isinstance(ledger.get("url"), str)
        and f"://{REDACTED}@" in redact_url(ledger["url"])
    ):
        findings.warn(("ledger", "url"), "a login may stand in this URL; read it from {file: PATH} instead")


def _complete_courier(courier: dict[str, Any], path: Place, vault: Vault) -> None:
    """Read a courier's secrets, in place. The URL of Apprise is one; any other may be."""
    if courier.get("kind") == "apprise" or isinstance(courier.get("url"), dict):
        if courier.get("url") is not None:
            courier["url"] = vault.read(courier["url"], (*path, "url"))
    elif isinstance(courier.get("url"), str):
        courier["url"] = SecretStr(courier["url"])
    read_secrets(courier, path, vault, field="secret")


def _refuse_repeated(data: dict[str, Any], findings: Findings) -> None:
    """Find repeated names before the models do, because they look only where nothing else is wrong."""
    for kind in ("targets", "controls", "status_pages", "notify"):
        parts = data.get(kind)
        if not isinstance(parts, list):
            continue
        names = [part.get("name") if isinstance(part, dict) else None for part in parts]
        texts = [name if isinstance(name, str) else f"\0{place}" for place, name in enumerate(names)]
        for place, first in repeated(texts):
            expected = f"a name that {kind}[{first}] does not have already"
            findings.refuse((kind, place, "name"), f'"{texts[place]}"', expected)
