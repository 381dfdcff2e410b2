"""`ledger amend` and `ledger amendments`: windows that are left out of the totals, and what became of them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from probe.clock import SECOND_US, wall_us
from probe.commands.ledger import ledger_of, parse_second
from probe.commands.settings import loaded
from probe.commands.terminal import Exit, fail, out, write
from probe.core.amendments import Standing, named, problem_of, standings, withdrawal
from probe.core.model import Amendment, Exclusion
from probe.ledger import LedgerError, RemarkKind, known_targets, propose, remarks_of
from probe.times import utc


def amend(
    ledger: str | None,
    config: Path | None,
    *,
    first: str | None,
    last: str | None,
    kind: str | None,
    target: str | None,
    surface: str | None,
    withdraw: str | None,
    reason: str,
    author: str,
) -> None:
    """Exclude a window, or take one back."""
    address = ledger_of(ledger, config)
    given = {"--from": first, "--to": last, "--kind": kind, "--target": target, "--surface": surface}
    try:
        known: tuple[Amendment, ...] = remarks_of(address, RemarkKind.AMENDMENT)
        targets = set(known_targets(address))
        if withdraw is not None:
            amendment = _withdrawal(withdraw, known, given, reason, author)
        else:
            if config is not None:
                targets |= {one.name for one in loaded(config).settings.targets}
            amendment = _window(given, reason, author)
        if problem := problem_of(amendment, known, targets):
            fail(f"Nothing is added: {problem}.", Exit.INPUT)
        batch = propose(address, amendment)
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    where = f"sealed in batch {batch}" if batch is not None else "in the inbox: the daemon seals it when it next can"
    out.print(f"{amendment.amendment} {_words(amendment)}: {where}", markup=False, soft_wrap=True)


def amendments(ledger: str | None, config: Path | None, *, as_json: bool) -> None:
    """List who excluded what, when and why, and what was withdrawn."""
    try:
        found = standings(remarks_of(ledger_of(ledger, config), RemarkKind.AMENDMENT))
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    if as_json:
        write(json.dumps([described(standing) for standing in found], indent=2))
        return
    if not found:
        out.print("No window is excluded.", markup=False)
    for standing in found:
        for line in lines_of(standing):
            out.print(line, markup=False, soft_wrap=True)


def lines_of(standing: Standing) -> list[str]:
    """Describe a window in lines for people."""
    amendment, back = standing.amendment, standing.withdrawn_by
    lines = [
        f"{amendment.amendment} {_words(amendment)}",
        f"    added {utc(amendment.added_us // SECOND_US)} by {amendment.author}: {amendment.reason}",
    ]
    if back is not None:
        lines.append(f"    WITHDRAWN {utc(back.added_us // SECOND_US)} by {back.author}: {back.reason}")
    return lines


def described(standing: Standing) -> dict[str, Any]:
    """Describe a window for programs: the amendment's fields, and its withdrawal's or null."""
    back = standing.withdrawn_by
    return {**asdict(standing.amendment), "withdrawn_by": None if back is None else asdict(back)}


def _withdrawal(
    name: str, known: tuple[Amendment, ...], given: dict[str, str | None], reason: str, author: str
) -> Amendment:
    if spare := [option for option, value in given.items() if value is not None]:
        fail(f"{spare[0]}: a withdrawal repeats its amendment's window; leave {', '.join(spare)} out.", Exit.INPUT)
    of = next((one for one in known if one.amendment == name), None)
    if of is None:
        fail(f'--withdraw: there is no amendment "{name}"; `ledger amendments` lists them.', Exit.INPUT)
    return withdrawal(of, reason=reason, author=author, added_us=wall_us())


def _window(given: dict[str, str | None], reason: str, author: str) -> Amendment:
    first, last, kind = given["--from"], given["--to"], given["--kind"]
    if first is None or last is None or kind is None:
        missing = [option for option in ("--from", "--to", "--kind") if given[option] is None]
        fail(f"{missing[0]}: a window needs {', '.join(missing)}; --withdraw ID takes one back.", Exit.INPUT)
    return named(
        Amendment(
            amendment="",
            target=given["--target"] or "",
            surface=given["--surface"] or "",
            first_second=parse_second(first, "--from"),
            last_second=parse_second(last, "--to"),
            exclusion=Exclusion(kind.replace("-", "_")),
            reason=reason.strip(),
            author=author.strip(),
            added_us=wall_us(),
        )
    )


def _words(amendment: Amendment) -> str:
    kind = str(amendment.exclusion).replace("_", " ")
    who = f"{amendment.target or 'all targets'}, {amendment.surface or 'all surfaces'}"
    window = f"{utc(amendment.first_second)} to {utc(amendment.last_second)}"
    seconds = amendment.last_second - amendment.first_second + 1
    back = f"withdrawal of {amendment.withdraws}, " if amendment.withdraws else ""
    return f"{back}{kind}, {who}, {window} ({seconds:,} s)"
