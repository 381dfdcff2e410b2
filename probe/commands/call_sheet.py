"""`issue call-sheet`: whom to call and what to say, made of the settings and the record."""

import json
from dataclasses import asdict
from pathlib import Path

from probe.clock import local_zone, wall_us
from probe.commands.issues import found_issue, settings_of
from probe.commands.ledger import ledger_of
from probe.commands.terminal import Exit, fail, out, write
from probe.issues import as_html, as_text
from probe.ledger import LedgerError
from probe.sheets import sheet_of


def call_sheet(
    issue: str | None, config: Path | None, ledger: str | None, *, form: str, to: Path | None, as_json: bool
) -> None:
    """Write the call sheet."""
    address, settings = ledger_of(ledger, config), settings_of(config)
    life = found_issue(address, issue)
    try:
        sheet = sheet_of(address, life, settings, local_zone(), wall_us())
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
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
