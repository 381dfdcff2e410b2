"""What the `issue` commands do: read lives, tell what happened, and show both to people and to scripts."""

import getpass
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from rich.table import Table
from rich.text import Text

from probe.clock import SECOND_US, local_zone, wall_us
from probe.commands.ledger import ledger_of
from probe.commands.moments import parse_due, parse_past, shown
from probe.commands.settings import loaded
from probe.commands.terminal import Exit, err, fail, out, write
from probe.core.callsheet import owed_words
from probe.core.happenings import PROGRAM, Act, Happening, Party, Stage, named
from probe.core.lapses import Lapse
from probe.core.lives import Life, add, distinct
from probe.core.obligations import Obligation, ObligationState, obligations
from probe.core.procedure import Refused
from probe.core.tam import plain_of, words_of
from probe.issues import lapses_of, whole_of
from probe.ledger import LedgerError, lives_in, newest_second, propose, remarks_of
from probe.ledger.tables import RemarkKind
from probe.settings import Settings, pledges_of, tam_of

# A record that ends longer ago is not up to date: a second is kept within the attempts' deadline and a commit.
RECORD_AGE_S_MAX = 120

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
    address, settings = ledger_of(ledger, config), settings_of(config)
    lives = [life for life in _all(address) if everything or not life.procedure.is_over]
    _warn_of_age(address)
    if as_json:
        write(json.dumps([whole_of(life, _owed(life, settings)) for life in lives], indent=2))
    elif not lives:
        out.print("No Critical Issue is open." if not everything else "There was no Critical Issue.")
    else:
        out.print(_table(lives, settings))
    raise SystemExit(Exit.NO if any(not life.procedure.is_over for life in lives) else Exit.OK)


def _warn_of_age(address: str) -> None:
    """Say it where the record ended a while ago: then what is open may be missing from it."""
    try:
        newest = newest_second(address)
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    if newest is not None and wall_us() // SECOND_US - newest > RECORD_AGE_S_MAX:
        said = f"The ledger ends at {shown(newest * SECOND_US)}: no daemon runs, or it can't write."
        err.print(f"{said} What came since then is not in it; see `sev1probe status`.", markup=False)


def show(issue: str | None, config: Path | None, ledger: str | None, *, as_json: bool) -> None:
    """Show one issue."""
    address = ledger_of(ledger, config)
    life = found_issue(address, issue)
    _print(life, settings_of(config), _lapses(address, life), as_json=as_json)


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
    address, settings = ledger_of(ledger, config), settings_of(config)
    life, now_us = found_issue(address, issue), wall_us()
    at_us = now_us if at is None else parse_past(at, "--at", now_us)
    _refuse_a_line_that_is_none(Act(act), life, settings)
    happening = named(
        Happening(
            target=life.target,
            issue=life.issue,
            act=Act(act),
            at_us=at_us,
            recorded_us=now_us,
            actor=login(by),
            words=words.strip(),
            party=None if party is None else Party(party),
            spoken_to=spoken_to.strip(),
            reference=reference.strip(),
            next_update_us=0 if next_update is None else parse_due(next_update, "--next-update", at_us),
            seen_revision=seen,
        )
    )
    try:
        # Here already, so that a refusal needs no writer; the writer's word is the one that counts.
        add(life, happening)
        batch = propose(address, happening)
    except Refused as refusal:
        _refuse(refusal)
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    if batch is None:
        fail("Nobody has decided on it yet: it lies in the inbox until the daemon next looks there.", Exit.CANNOT)
    after = found_issue(address, life.issue)
    _print(after, settings, _lapses(address, after), as_json=as_json, sealed=batch)


def _refuse(refusal: Refused) -> NoReturn:
    fail(f"Nothing is recorded: {refusal}.", Exit.NO)


def _refuse_a_line_that_is_none(act: Act, life: Life, settings: Settings | None) -> None:
    if act is Act.LINE_CALLED and not pledges_of(settings, life.target).has_line:
        sentence = "this profile has no Severity 1 line; record `issue submitted` and `issue escalated` instead"
        fail(f"Nothing is recorded: {sentence}.", Exit.NO)


def login(by: str | None) -> str:
    """Name who records something: as he says, or by his login."""
    if by is not None:
        return by.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        fail("--by: this user has no login name; say who records this.", Exit.INPUT)


def settings_of(config: Path | None) -> Settings | None:
    """Load the settings, if they are given."""
    return None if config is None else loaded(config).settings


def _all(address: str) -> list[Life]:
    try:
        return [life for lives in lives_in(address).values() for life in distinct(lives)]
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)


def found_issue(address: str, name: str | None) -> Life:
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
    if name is None:
        _warn_of_age(address)
    what = "No Critical Issue is open" if name is None else f'There is no Critical Issue "{name}"'
    fail(f"{what}; `sev1probe issue list --all` lists them.", Exit.INPUT)


def _table(lives: list[Life], settings: Settings | None) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("issue", min_width=max(len(life.issue) for life in lives))  # A name that is cut is none.
    for column in ("stage", "since", "restored", "owed"):
        table.add_column(column)
    for life in lives:
        state = life.procedure
        owed = [one for one in _owed(life, settings) if one.state is not ObligationState.MET]
        table.add_row(
            Text(life.issue),
            Text(state.stage, style=STYLES[state.stage]),
            shown(state.opened_us),
            shown(state.restored_us),
            Text("; ".join(f"{one.name} {one.state}, due {shown(one.due_us)}" for one in owed)),
        )
    return table


def _owed(life: Life, settings: Settings | None) -> tuple[Obligation, ...]:
    return obligations(life, pledges_of(settings, life.target), wall_us())


def _lapses(address: str, life: Life) -> list[Lapse]:
    """Read what the daemon noted of the issue's obligations."""
    try:
        kept: tuple[Lapse, ...] = remarks_of(address, RemarkKind.LAPSE)
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    return [lapse for lapse in kept if lapse.issue == life.issue]


def _print(
    life: Life, settings: Settings | None, lapses: Sequence[Lapse], *, as_json: bool, sealed: int | None = None
) -> None:
    owed, tam = _owed(life, settings), tam_of(settings, life.target, wall_us())
    if as_json:
        sealed_in = {} if sealed is None else {"batch": sealed}
        whole = {**whole_of(life, owed), **lapses_of(lapses, life.issue), "tam": plain_of(tam), **sealed_in}
        write(json.dumps(whole, indent=2))
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
    for due in owed:
        out.print(Text(owed_words(due, local_zone()), style=STYLES[due.state]), soft_wrap=True)
    for lapse in lapses:
        noticed = f"noticed {shown(lapse.noticed_us)}: {lapse.obligation} of the {lapse.owed_by}"
        turn = "was missed" if lapse.raised else "is no longer owed"
        out.print(f"{noticed}, due {shown(lapse.due_us)}, {turn}: {lapse.words}", markup=False, soft_wrap=True)
    if tam is not None and not state.is_over:
        out.print(f"to escalate: {words_of(tam, local_zone())}", markup=False, soft_wrap=True)


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
