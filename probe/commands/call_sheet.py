"""`issue call-sheet`: whom to call and what to say, made of the settings and the record."""

import json
from dataclasses import asdict
from pathlib import Path

from probe.clock import SECOND_US, wall_us
from probe.commands.issues import found_issue, settings_of
from probe.commands.ledger import ledger_of
from probe.commands.moments import local_zone
from probe.commands.terminal import Exit, fail, out, write
from probe.core.callsheet import Facts
from probe.core.callsheet import call_sheet as sheet_of
from probe.core.lives import Life
from probe.core.obligations import obligations
from probe.issues import as_html, as_text
from probe.ledger import LedgerError, evidence_of, statements_of
from probe.settings import Contract, Settings, contacts_of, contract_of, pledges_of


def call_sheet(
    issue: str | None, config: Path | None, ledger: str | None, *, form: str, to: Path | None, as_json: bool
) -> None:
    """Write the call sheet."""
    address, settings = ledger_of(ledger, config), settings_of(config)
    life = found_issue(address, issue)
    sheet = sheet_of(_facts(address, life, settings))
    if as_json:
        write(json.dumps(asdict(sheet), indent=2))
        return
    page = as_html(sheet) if form == "html" else as_text(sheet)
    if to is None:
        write(page)
        return
    try:
        to.write_text(page, encoding="utf-8")
    except OSError as error:
        fail(f"--output {to}: {error.strerror}.", Exit.CANNOT)
    out.print(f"call sheet of {life.issue} written to {to}", markup=False, soft_wrap=True)


def _facts(address: str, life: Life, settings: Settings | None) -> Facts:
    state, now_us, pledges = life.procedure, wall_us(), pledges_of(settings, life.target)
    contract = None if settings is None else contract_of(settings, life.target)
    last_second = state.restored_us // SECOND_US - 1 if state.restored_us else None
    try:
        evidence = evidence_of(address, life.target, state.opened_us // SECOND_US, last_second)
        statements = statements_of(address, (state.over_us or now_us) // SECOND_US)
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    return Facts(
        life=life,
        contacts=contacts_of(settings, life.target),
        profile=(contract or Contract()).profile,
        pledges=pledges,
        vantage="this host" if settings is None else settings.vantage,
        evidence=evidence,
        statements=statements,
        owed=obligations(life, pledges, now_us),
        zone=local_zone(),
        now_us=now_us,
    )
