"""What the `issue` commands do: read lives, tell what happened, and show both to people and to scripts."""

import getpass
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from rich.table import Table
from rich.text import Text

from probe.clock import SECOND_US, wall_us
from probe.commands.ledger import ledger_of
from probe.commands.moments import iso, local_zone, parse_due, parse_past, shown
from probe.commands.settings import loaded
from probe.commands.terminal import Exit, fail, out, write
from probe.core.callsheet import Contacts, Facts, owed_words
from probe.core.callsheet import call_sheet as sheet_of
from probe.core.happenings import PROGRAM, Act, Happening, Party, Stage, named
from probe.core.lives import Life, add, distinct
from probe.core.obligations import Obligation, ObligationState, Pledges, obligations
from probe.core.procedure import Refused
from probe.issues import as_html, as_text
from probe.ledger import LedgerError, evidence_of, lives_in, propose, statements_of
from probe.settings import Settings

STYLES: Mapping[str, str] = {
    Stage.OPEN: "bold red",
    Stage.DISAGREED: "bold red",
    Stage.RESTORED: "yellow",
    Stage.RESOLVED: "green",
    Stage.RECLASSIFIED: "dim",
    ObligationState.PENDING: "yellow",
    ObligationState.MISSED: "bold red",
    ObligationState.MET: "green",
}


def list_issues(config: Path | None, ledger: str | None, *, everything: bool, as_json: bool) -> None:
    """List issues; NO if one is not over."""
    address, settings = ledger_of(ledger, config), _settings(config)
    lives = [life for life in _all(address) if everything or not life.procedure.is_over]
    if as_json:
        write(json.dumps([described(life, _pledges(settings, life.target)) for life in lives], indent=2))
    elif not lives:
        out.print("No Critical Issue is open." if not everything else "There was no Critical Issue.")
    else:
        out.print(_table(lives, settings))
    raise SystemExit(Exit.NO if any(not life.procedure.is_over for life in lives) else Exit.OK)


def show(issue: str | None, config: Path | None, ledger: str | None, *, as_json: bool) -> None:
    """Show one issue."""
    life = _found(ledger_of(ledger, config), issue)
    _print(life, _pledges(_settings(config), life.target), as_json=as_json)


def call_sheet(
    issue: str | None, config: Path | None, ledger: str | None, *, form: str, to: Path | None, as_json: bool
) -> None:
    """Write the call sheet."""
    address, settings = ledger_of(ledger, config), _settings(config)
    life = _found(address, issue)
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


def tell(
    act: str,
    issue: str | None,
    config: Path | None,
    ledger: str | None,
    *,
    at: str | None,
    by: str | None,
    as_json: bool,
    words: str = "",
    party: str | None = None,
    spoken_to: str = "",
    reference: str = "",
    next_update: str | None = None,
    seen: int = 0,
) -> None:
    """Record what happened; NO if the procedure does not allow it."""
    address, settings = ledger_of(ledger, config), _settings(config)
    life, now_us = _found(address, issue), wall_us()
    at_us = now_us if at is None else parse_past(at, "--at", now_us)
    _refuse_a_line_that_is_none(Act(act), life, settings)
    happening = named(
        Happening(
            target=life.target,
            issue=life.issue,
            act=Act(act),
            at_us=at_us,
            recorded_us=now_us,
            actor=(by if by is not None else _login()).strip(),
            words=words.strip(),
            party=None if party is None else Party(party),
            spoken_to=spoken_to.strip(),
            reference=reference.strip(),
            next_update_us=0 if next_update is None else parse_due(next_update, "--next-update", at_us),
            seen_revision=seen,
        )
    )
    try:
        add(
            life, happening
        )  # Here already, so that a refusal needs no writer; the writer's word is the one that counts.
        batch = propose(address, happening)
    except Refused as refusal:
        _refuse(refusal)
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    if batch is None:
        fail("Nobody has decided on it yet: it lies in the inbox until the daemon next looks there.", Exit.CANNOT)
    _print(_found(address, life.issue), _pledges(settings, life.target), as_json=as_json, sealed=batch)


def described(life: Life, pledges: Pledges) -> dict[str, Any]:
    """Describe an issue for programs."""
    state = life.procedure
    return {
        "issue": life.issue,
        "names": life.names,
        "target": life.target,
        "stage": state.stage,
        "revision": state.revision,
        "opened": iso(state.opened_us),
        "noticed": iso(state.noticed_us),
        "restored": iso(state.restored_us),
        "line_called": iso(state.line_called_us),
        "called_back": iso(state.called_back_us),
        "agreed": {party: iso(at_us) for party, at_us in state.agreed},
        "disagreed": state.disagreed,
        "resolved": iso(state.resolved_us),
        "reclassified": iso(state.reclassified_us),
        "relapses": state.relapses,
        "cases": state.cases,
        "references": state.references,
        "obligations": [owed_described(one) for one in obligations(life, pledges, wall_us())],
        "happenings": [_happening(one) for one in life.happenings],
        "unfitting": [{**_happening(one), "refusal": why} for one, why in life.unfitting],
    }


def owed_described(one: Obligation) -> dict[str, Any]:
    """Describe an obligation for programs."""
    return {
        "obligation": one.name,
        "owed_by": one.owed_by,
        "due": iso(one.due_us),
        "state": one.state,
        "met": iso(one.met_us),
    }


def _happening(one: Happening) -> dict[str, Any]:
    return {
        "happening": one.happening,
        "act": one.act,
        "at": iso(one.at_us),
        "recorded": iso(one.recorded_us),
        "actor": one.actor,
        "words": one.words,
        "party": one.party,
        "spoken_to": one.spoken_to,
        "reference": one.reference,
        "next_update": iso(one.next_update_us),
    }


def _refuse(refusal: Refused) -> NoReturn:
    fail(f"Nothing is recorded: {refusal}.", Exit.NO)


def _refuse_a_line_that_is_none(act: Act, life: Life, settings: Settings | None) -> None:
    if act is Act.LINE_CALLED and not _pledges(settings, life.target).has_line:
        sentence = "this profile has no Severity 1 line; record `issue submitted` and `issue escalated` instead"
        fail(f"Nothing is recorded: {sentence}.", Exit.NO)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        fail("--by: this user has no login name; say who records this.", Exit.INPUT)


def _settings(config: Path | None) -> Settings | None:
    return None if config is None else loaded(config).settings


def _pledges(settings: Settings | None, target: str) -> Pledges:
    """Give what was agreed; by the contract's and our own numbers where the settings are not given."""
    for one in settings.targets if settings is not None else ():
        if one.name == target:
            return one.contract.pledges()
    return Pledges()


def _all(address: str) -> list[Life]:
    try:
        return [life for lives in lives_in(address).values() for life in distinct(lives)]
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)


def _found(address: str, name: str | None) -> Life:
    """Find an issue by any of its ids, by the beginning of one, or as the only one that is not over."""
    every = _all(address)
    if name is None:
        found = [life for life in every if not life.procedure.is_over]
    else:
        found = [life for life in every if name in life.names] or [
            life for life in every if any(one.startswith(name) for one in life.names)
        ]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(life.issue for life in found)
        fail(f"Which one? Name one of {listed}.", Exit.INPUT)
    what = "No Critical Issue is open" if name is None else f'There is no Critical Issue "{name}"'
    fail(f"{what}; `sev1probe issue list --all` lists them.", Exit.INPUT)


def _facts(address: str, life: Life, settings: Settings | None) -> Facts:
    state, now_us = life.procedure, wall_us()
    target = next((one for one in settings.targets if one.name == life.target), None) if settings else None
    pledges = _pledges(settings, life.target)
    last_second = state.restored_us // SECOND_US - 1 if state.restored_us else None
    try:
        evidence = evidence_of(address, life.target, state.opened_us // SECOND_US, last_second)
        statements = statements_of(address, (state.over_us or now_us) // SECOND_US)
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    return Facts(
        life=life,
        contacts=contacts_of(settings, life.target),
        profile="sparkpost-enterprise" if target is None else target.contract.profile,
        pledges=pledges,
        vantage="this host" if settings is None else settings.vantage,
        evidence=evidence,
        statements=statements,
        owed=obligations(life, pledges, now_us),
        zone=local_zone(),
        now_us=now_us,
    )


def contacts_of(settings: Settings | None, target: str) -> Contacts:
    """Give who calls whom, by the settings."""
    if settings is None:
        return Contacts()
    company = settings.company
    contract = next((one.contract for one in settings.targets if one.name == target), None)
    return Contacts(
        company=company.name,
        contact_name=company.contact_name,
        contact_phone=company.contact_phone,
        contact_email=company.contact_email,
        severity_1_line="" if contract is None else contract.severity_1_line,
        tam_name="" if contract is None else contract.tam.name,
        tam_phone="" if contract is None else contract.tam.phone,
        tam_email="" if contract is None else contract.tam.email,
    )


def _table(lives: list[Life], settings: Settings | None) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("issue", "stage", "since", "restored", "owed"):
        table.add_column(column)
    for life in lives:
        state = life.procedure
        owed = [one for one in obligations(life, _pledges(settings, life.target), wall_us()) if not _is_met(one)]
        table.add_row(
            Text(life.issue),
            Text(state.stage, style=STYLES[state.stage]),
            shown(state.opened_us),
            shown(state.restored_us),
            Text("; ".join(f"{one.name} {one.state}, due {shown(one.due_us)}" for one in owed)),
        )
    return table


def _is_met(one: Obligation) -> bool:
    return one.state is ObligationState.MET


def _print(life: Life, pledges: Pledges, *, as_json: bool, sealed: int | None = None) -> None:
    if as_json:
        write(json.dumps({**described(life, pledges), **({"batch": sealed} if sealed else {})}, indent=2))
        return
    state = life.procedure
    out.print(Text(f"{life.issue}: ") + Text(state.stage, style=STYLES[state.stage]), soft_wrap=True)
    if len(life.names) > 1:
        out.print(f"relapsed as {', '.join(life.names[1:])}", markup=False, soft_wrap=True)
    if sealed is not None:
        out.print(f"sealed in batch {sealed}, revision {state.revision}", style="dim", markup=False)
    for one in life.happenings:
        out.print(_line(one), markup=False, soft_wrap=True)
    for one, why in life.unfitting:
        out.print(f"DOES NOT FIT ({why}): {_line(one)}", style="red", markup=False, soft_wrap=True)
    for owed in obligations(life, pledges, wall_us()):
        out.print(Text(owed_words(owed, local_zone()), style=STYLES[owed.state]), soft_wrap=True)


def _line(one: Happening) -> str:
    """Say a happening in a line."""
    parts = [f"{shown(one.at_us)}  {str(one.act).replace('_', ' ')}"]
    parts += [f"by the {one.party}"] if one.party else []
    parts += [f"to {one.spoken_to}"] if one.spoken_to else []
    parts += [f"reference {one.reference}"] if one.reference else []
    parts += [f"“{one.words}”"] if one.words else []
    parts += [f"next update {shown(one.next_update_us)}"] if one.next_update_us else []
    if one.actor != PROGRAM:
        late = one.recorded_us - one.at_us >= 60 * SECOND_US
        parts.append(f"({one.actor}{', recorded ' + shown(one.recorded_us) if late else ''})")
    return ", ".join(parts)
