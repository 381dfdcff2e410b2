"""`case submit`: by mail through the relay, or as submitted through the dashboard."""

import asyncio
import io
import shlex
from pathlib import Path
from typing import Final

from probe.cases import Enclosure, Letter, NotSent, letter, message_id_of, send
from probe.clock import wall_us
from probe.commands.cases import check, found_case, keep, tell, told_of
from probe.commands.issues import settings_of
from probe.commands.ledger import ledger_of
from probe.commands.terminal import Exit, err, fail
from probe.core.case_happenings import Case, CaseAct, Way
from probe.core.lives import NO_LIVES, distinct
from probe.core.model import Verdict
from probe.ledger import LedgerError, evidence_of, export_rows, lives_in, write_csv
from probe.settings import Relay, Settings, contacts_of, contract_of, pledges_of

RECORD_BYTES_MAX: Final = 10 * 1024 * 1024  # of the attached CSV; many mail servers take no more once it is encoded
# What people told each other of the outage is not for the provider's eyes.
ENCLOSED: Final = frozenset({"second", "attempt"})


def submit(
    name: str | None,
    config: Path | None,
    ledger: str | None,
    *,
    number: str | None,
    by_mail: bool,
    at: str | None,
    by: str | None,
    seen: int,
    as_json: bool,
) -> None:
    """Submit a case; CANNOT if the relay did not take it, and then nothing is recorded."""
    if by_mail == (number is not None):
        fail("Say either --by-mail, or --number NUMBER of a case that is in the dashboard already.", Exit.INPUT)
    if number is not None:
        target = found_case(ledger_of(ledger, config), name).target
        tell(
            CaseAct.SUBMITTED, name, config, ledger,
            at=at, by=by, way=Way.DASHBOARD, reference=number, seen=seen, as_json=as_json,
        )  # fmt: skip
        _remind_of_issue(target, number, config, ledger)
        return
    if at is not None:
        fail("--at: a mail is submitted now.", Exit.INPUT)
    settings = settings_of(config)
    if settings is None:
        fail("--by-mail: needs --config FILE, which names the relay.", Exit.INPUT)
    address = ledger_of(ledger, config)
    case = found_case(address, name)
    relay, sender, recipient = _ways(settings, case, config)
    reference = message_id_of(case.case, sender)

    check(case, told_of(case, CaseAct.SUBMITTED, at=None, by=by, way=Way.MAIL, reference=reference, seen_revision=seen))
    message = letter(
        Letter(
            case=case,
            sender=sender,
            recipient=recipient,
            contacts=contacts_of(settings, case.target),
            vantage=settings.vantage,
            now_us=wall_us(),
            enclosure=_enclosure(address, case),
        )
    )
    try:
        asyncio.run(send(message, relay))
    except NotSent as error:
        fail(f"Nothing is recorded: {error}.", Exit.CANNOT)
    # From here on the provider has it, so what is recorded no longer depends on what the proposer saw before.
    happening = told_of(case, CaseAct.SUBMITTED, at=None, by=by, way=Way.MAIL, reference=reference)
    keep(address, case, happening, settings, as_json=as_json)
    _remind_of_issue(case.target, reference, config, ledger)


def _remind_of_issue(target: str, reference: str, config: Path | None, ledger: str | None) -> None:
    """Name the Critical Issue that still asks for a Support Case: whether this is it only people know."""
    settings = settings_of(config)
    if settings is None or pledges_of(settings, target).has_line:
        return
    try:
        lives = lives_in(ledger_of(ledger, config), target).get(target, NO_LIVES)
    except LedgerError:
        return  # What matters is recorded, and the next command says what is wrong with the ledger.
    for life in distinct(lives):
        if not life.procedure.is_over and not life.procedure.case_submitted_us:
            command = f"sev1probe issue submitted {life.issue} -c {config} --reference {shlex.quote(reference)}"
            asks = f"The Critical Issue {life.issue} still asks for its Support Case."
            err.print(f"{asks} If this is it, record that: {command}", style="yellow", markup=False, soft_wrap=True)


def _ways(settings: Settings, case: Case, config: Path | None) -> tuple[Relay, str, str]:
    relay, contract = settings.cases.relay, contract_of(settings, case.target)
    if relay is None:
        fail(f"{config}: cases.relay: there is none; name the mail server that takes Support Cases.", Exit.INPUT)
    if contract is None or not contract.support_email:
        where = f"contract.support_email of the target {case.target}"
        fail(f"{config}: {where}: there is none; it is the designated address of your order form.", Exit.INPUT)
    return relay, settings.cases.sender, contract.support_email


def _enclosure(address: str, case: Case) -> Enclosure | None:
    if not case.first_second:
        return None
    first, last = case.first_second, case.last_second
    text = io.StringIO(newline="")
    try:
        evidence = evidence_of(address, case.target, first, last)
        if evidence is None:
            fail(f"The ledger has no seconds (any more) of the evidence of {case.case}.", Exit.CANNOT)
        rows = [row for row in export_rows(address, first, last, case.target) if row["type"] in ENCLOSED]
        write_csv(rows, text)
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    record = text.getvalue().encode("utf-8", "replace")
    if len(record) > RECORD_BYTES_MAX:
        limit = f"{RECORD_BYTES_MAX // 1024 // 1024} MiB"
        fail(f"The record of {case.case} is larger than {limit}; open a case with fewer seconds.", Exit.CANNOT)
    unavailable = [
        (str(row["surface"]), int(row["second"]), str(row["basis"]))
        for row in rows
        if row["type"] == "second" and row["verdict"] == Verdict.UNAVAILABLE
    ]
    return Enclosure(evidence=evidence, unavailable=unavailable, record=record)
