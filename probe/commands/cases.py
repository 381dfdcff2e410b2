"""What the `case` commands do: begin Support Cases, tell what happened in them, and show them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from rich.table import Table
from rich.text import Text

from probe.cases import case_of
from probe.clock import SECOND_US, local_zone, wall_us
from probe.commands.issues import login, settings_of
from probe.commands.ledger import ledger_of
from probe.commands.moments import parse_due, parse_past, shown
from probe.commands.terminal import Exit, fail, out, write
from probe.core.calendar import NeverOpen
from probe.core.callsheet import moment
from probe.core.case_happenings import Case, CaseAct, CaseHappening, CaseKind, CaseStage, Way, named_case
from probe.core.case_obligations import CaseDuty, CaseObligation, case_obligations
from probe.core.cases import tell_case
from probe.core.happenings import Party
from probe.core.obligations import ObligationState
from probe.core.procedure import Refused
from probe.core.tam import Card, plain_of, words_of
from probe.ledger import LedgerError, cases_in, known_targets, propose
from probe.settings import Settings, case_pledges_of, tam_of

STYLES: Final[Mapping[str, str]] = {
    CaseStage.DRAFT: "dim",
    CaseStage.OPEN: "bold",
    CaseStage.SUBMITTED: "yellow",
    CaseStage.ANSWERED: "yellow",
    CaseStage.RESOLVED: "green",
    CaseStage.WITHDRAWN: "dim",
    ObligationState.PENDING: "yellow",
    ObligationState.MISSED: "bold red",
    ObligationState.MET: "green",
}
WAYS: Final = {None: "", Way.MAIL: " by mail", Way.DASHBOARD: " through the dashboard"}
DUTIES: Final = {CaseDuty.RESPOND: "answer", CaseDuty.UPDATE: "give an update"}


def list_cases(config: Path | None, ledger: str | None, *, everything: bool, as_json: bool) -> None:
    """List cases."""
    address, settings = ledger_of(ledger, config), settings_of(config)
    cases = [case for case in _all(address) if everything or not case.over_us]
    if as_json:
        write(json.dumps([case_of(case, owed_in(case, settings)) for case in cases], indent=2))
    elif not cases:
        out.print("There was no Support Case." if everything else "No Support Case is open.")
    else:
        out.print(_table(cases, settings))


def show(name: str | None, config: Path | None, ledger: str | None, *, as_json: bool) -> None:
    """Show one case."""
    case, settings = found_case(ledger_of(ledger, config), name), settings_of(config)
    show_case(case, owed_in(case, settings), tam_of(settings, case.target, wall_us()), as_json=as_json)


def open_case(
    name: str | None,
    config: Path | None,
    ledger: str | None,
    *,
    is_draft: bool,
    target: str | None,
    kind: str | None,
    title: str,
    words: str,
    first: str | None,
    last: str | None,
    at: str | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Begin a case, or open a draft."""
    address = ledger_of(ledger, config)
    act = CaseAct.DRAFTED if is_draft else CaseAct.OPENED
    if name is not None:
        if is_draft or target or kind or title or first or last:
            fail("CASE: a draft is opened as it is; to begin another case leave CASE out.", Exit.INPUT)
        tell(act, name, config, ledger, at=at, by=by, as_json=as_json, words=words)
        return
    if kind is None or not title.strip():
        fail("--kind and --title: a new case needs both.", Exit.INPUT)
    if last is not None and first is None:
        fail("--to: needs --from, the first second of the evidence.", Exit.INPUT)
    now_us = wall_us()
    first_second = 0 if first is None else parse_past(first, "--from", now_us) // SECOND_US
    last_us = now_us if last is None else parse_past(last, "--to", now_us)
    happening = named_case(
        CaseHappening(
            target=_target(address, target),
            act=act,
            at_us=now_us if at is None else parse_past(at, "--at", now_us),
            recorded_us=now_us,
            actor=login(by),
            words=words.strip(),
            kind=CaseKind(kind),
            title=title.strip(),
            first_second=first_second,
            last_second=last_us // SECOND_US if first_second else 0,
        )
    )
    keep(address, None, happening, settings_of(config), as_json=as_json)


def tell(
    act: CaseAct,
    name: str | None,
    config: Path | None,
    ledger: str | None,
    *,
    at: str | None,
    by: str | None,
    as_json: bool,
    words: str = "",
    way: Way | None = None,
    reference: str = "",
    party: str | None = None,
    spoken_to: str = "",
    next_update: str | None = None,
    seen: int = 0,
) -> None:
    """Record what happened in a case; NO if it is not allowed."""
    address = ledger_of(ledger, config)
    case = found_case(address, name)
    happening = told_of(
        case,
        act,
        at=at,
        by=by,
        words=words.strip(),
        way=way,
        reference=reference.strip(),
        party=None if party is None else Party(party),
        spoken_to=spoken_to.strip(),
        next_update=next_update,
        seen_revision=seen,
    )
    keep(address, case, happening, settings_of(config), as_json=as_json)


def told_of(
    case: Case, act: CaseAct, *, at: str | None, by: str | None, next_update: str | None = None, **fields: Any
) -> CaseHappening:
    """Make what happened in a case that is there."""
    now_us = wall_us()
    at_us = now_us if at is None else parse_past(at, "--at", now_us)
    return named_case(
        CaseHappening(
            case=case.case,
            target=case.target,
            act=act,
            at_us=at_us,
            recorded_us=now_us,
            actor=login(by),
            next_update_us=0 if next_update is None else parse_due(next_update, "--next-update", at_us),
            **fields,
        )
    )


def keep(
    address: str, case: Case | None, happening: CaseHappening, settings: Settings | None, *, as_json: bool
) -> None:
    """Have it kept, and show the case as it is then."""
    check(case, happening)  # Here already, so that a refusal needs no writer; the writer's word is the one that counts.
    try:
        batch = propose(address, happening)
    except Refused as refusal:
        _refuse(refusal)
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    if batch is None:
        fail("Nobody has decided on it yet: it lies in the inbox until the daemon next looks there.", Exit.CANNOT)
    after = found_case(address, happening.case)
    tam = tam_of(settings, after.target, wall_us())
    show_case(after, owed_in(after, settings), tam, as_json=as_json, sealed=batch)


def check(case: Case | None, happening: CaseHappening) -> None:
    """End with the refusal if it is not allowed as things are."""
    try:
        tell_case(case, happening)
    except Refused as refusal:
        _refuse(refusal)


def found_case(address: str, name: str | None) -> Case:
    """Find a case by its id or the beginning of it, or as the only one that is not over."""
    every = _all(address)
    if name is None:
        found = [case for case in every if not case.over_us]
    else:
        found = [case for case in every if case.case.startswith((name, f"case-{name}"))]
    if len(found) == 1:
        return found[0]
    if found:
        fail(f"Which one? Name one of {', '.join(case.case for case in found)}.", Exit.INPUT)
    what = "No Support Case is open" if name is None else f'There is no Support Case "{name}"'
    fail(f"{what}; `sev1probe case list --all` lists them.", Exit.INPUT)


def owed_in(case: Case, settings: Settings | None) -> tuple[CaseObligation, ...]:
    """List what is owed in a case; nothing without settings, which say what was agreed."""
    if settings is None:
        return ()
    try:
        return case_obligations(case, case_pledges_of(settings, case.target), wall_us())
    except NeverOpen as error:
        fail(f"{error}; see `sev1probe hours`.", Exit.INPUT)


def show_case(
    case: Case, owed: Sequence[CaseObligation], tam: Card | None, *, as_json: bool, sealed: int | None = None
) -> None:
    """Show a case to people or to scripts."""
    if as_json:
        sealed_in = {} if sealed is None else {"batch": sealed}
        write(json.dumps({**case_of(case, owed), "tam": plain_of(tam), **sealed_in}, indent=2))
        return
    out.print(Text(f"{case.case}: ") + Text(case.stage, style=STYLES[case.stage]), soft_wrap=True)
    out.print(f"{case.target}, {case.kind.replace('_', ' ')}: {case.title}", markup=False, soft_wrap=True)
    if case.first_second:
        first, last = (moment(second * SECOND_US, local_zone()) for second in (case.first_second, case.last_second))
        out.print(f"evidence from {first} to {last}", markup=False, soft_wrap=True)
    if case.cause:
        last = moment(case.through_second * SECOND_US, local_zone())
        counted = f"counted: {case.seconds:,} Unavailable seconds by the cause {case.cause}, the last at {last}"
        out.print(counted, markup=False, soft_wrap=True)
    if case.stage is CaseStage.DRAFT:
        hint = f"a draft: `sev1probe case open {case.case}` opens it, `sev1probe case withdraw {case.case}` drops it"
        out.print(hint, style="yellow", markup=False, soft_wrap=True)
    if sealed is not None:
        out.print(f"sealed in batch {sealed}, revision {case.revision}", style="dim", markup=False)
    for one in case.happenings:
        out.print(_line(one), markup=False, soft_wrap=True)
    for one, why in case.unfitting:
        out.print(f"DOES NOT FIT ({why}): {_line(one)}", style="red", markup=False, soft_wrap=True)
    for due in owed:
        came = (
            f", came {moment(due.met_us, local_zone())}" if due.met_us and due.state is ObligationState.MISSED else ""
        )
        by, was = moment(due.due_us, local_zone()), "is" if due.state is ObligationState.PENDING else "was"
        sentence = f"{due.state}: the {due.owed_by} {was} to {DUTIES[due.name]} by {by}{came}"
        out.print(Text(sentence, style=STYLES[due.state]), soft_wrap=True)
    if tam is not None and not case.over_us:
        out.print(f"to escalate: {words_of(tam, local_zone())}", markup=False, soft_wrap=True)


def _refuse(refusal: Refused) -> NoReturn:
    fail(f"Nothing is recorded: {refusal}.", Exit.NO)


def _read(read: Callable[[str], Any], address: str) -> Any:
    try:
        return read(address)
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)


def _all(address: str) -> list[Case]:
    return list(_read(cases_in, address).values())


def _target(address: str, name: str | None) -> str:
    known: Sequence[str] = sorted(_read(known_targets, address))
    if name is None and len(known) == 1:
        return known[0]
    if name not in known:
        what = "which one is it about?" if name is None else f"the ledger knows no target {name!r}."
        fail(f"--target: {what} It has: {', '.join(known) or 'none'}.", Exit.INPUT)
    return str(name)


def _table(cases: list[Case], settings: Settings | None) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("case", min_width=max(len(case.case) for case in cases))  # A name that is cut is none.
    for column in ("stage", "target", "title", "submitted", "owed"):
        table.add_column(column)
    for case in cases:
        owed = [one for one in owed_in(case, settings) if one.state is not ObligationState.MET]
        table.add_row(
            Text(case.case),
            Text(case.stage, style=STYLES[case.stage]),
            Text(case.target),
            Text(case.title),
            shown(case.submitted_us),
            Text("; ".join(f"{one.name} {one.state}, due {shown(one.due_us)}" for one in owed)),
        )
    return table


def _line(one: CaseHappening) -> str:
    """Say a happening in a line."""
    parts = [f"{shown(one.at_us)}  {str(one.act).replace('_', ' ')}{WAYS[one.way]}"]
    parts += [f"by the {one.party}"] if one.party else []
    parts += [f"to {one.spoken_to}"] if one.spoken_to else []
    parts += [f"reference {one.reference}"] if one.reference else []
    parts += [f"“{one.words}”"] if one.words else []
    parts += [f"next update {shown(one.next_update_us)}"] if one.next_update_us else []
    late = one.recorded_us - one.at_us >= 60 * SECOND_US
    parts.append(f"({one.actor}{', recorded ' + shown(one.recorded_us) if late else ''})")
    return ", ".join(parts)
