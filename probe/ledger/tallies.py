"""What a range of seconds was judged to be, counted by the database: a month is never read second by second."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, case, func, literal, literal_column, select
from sqlalchemy.sql.selectable import CTE, FromClause

from probe.core.amendments import Section, Standing, sections, standings
from probe.core.blocks import BlockAdder, BlockTotals, spread, stretches
from probe.core.model import Amendment, Basis, Surface, Suspicion, Terms, Verdict
from probe.core.totals import Adder, Alike, Judged, Totals, merged
from probe.ledger import tables
from probe.ledger.canonical import parse_rules
from probe.ledger.remarks import read_remarks
from probe.ledger.snapshot import snapshot
from probe.ledger.tables import Kind, RemarkKind

# On a ledger of more targets, those of one are looked for second by second instead of among all.
TARGETS_READ_TOGETHER_MAX = 8
# Seconds that are looked for in one query then; the database sorts them in memory.
SOUGHT_S = 86_400

_BETWEEN = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The totals of one target over a range, and the terms that it was last judged by in it.

    `blocks` has the widths that were asked for, the narrowest first: each surface, then the target as a whole.
    """

    target: str
    terms: Terms | None
    totals: tuple[Totals, ...]
    suspicions: tuple[Suspicion, ...]
    blocks: tuple[BlockTotals, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the record says of a range of seconds, both ends included.

    `windows` has the amendments that reach into the range, withdrawn ones too. `controls_seen` says whether a control
    was attempted in it; None where those records are cut, at least in part, and none is left.
    """

    first_second: int
    last_second: int
    tallies: tuple[Tally, ...]
    windows: tuple[Standing, ...]
    controls_seen: bool | None


def known_targets(address: str) -> tuple[str, ...]:
    """Name the targets that a ledger knows, in order.

    Raises:
        LedgerError: If the ledger can't be read.
    """
    with snapshot(address) as connection:
        return _targets(connection)


def account_of(
    address: str, first_second: int, last_second: int, target: str | None = None, block_widths_s: Iterable[int] = ()
) -> Account:
    """Give the totals of a range, of one target or of all, from one state of the ledger.

    Each width must part a day evenly.

    Raises:
        LedgerError: If the ledger can't be read.
    """
    with snapshot(address) as connection:
        return _account(connection, first_second, last_second, target, tuple(block_widths_s))


def _account(connection: Connection, first: int, last: int, target: str | None, widths_s: tuple[int, ...]) -> Account:
    amendments = list(read_remarks(connection, RemarkKind.AMENDMENT))
    windows = tuple(
        standing
        for standing in standings(amendments)
        if standing.amendment.first_second <= last
        and standing.amendment.last_second >= first
        and (target is None or standing.amendment.target in ("", target))
    )
    holding = [standing.amendment for standing in windows if standing.withdrawn_by is None]
    known = _targets(connection)
    tallies = tuple(
        _tally(
            connection, name, (first, last), holding, BlockAdder(widths_s), many=len(known) > TARGETS_READ_TOGETHER_MAX
        )
        for name in known
        if target in (None, name)
    )
    rests_on_controls = any(total.as_judged.unavailable_corroborated for tally in tallies for total in tally.totals)
    return Account(
        first_second=first,
        last_second=last,
        tallies=tallies,
        windows=windows,
        controls_seen=rests_on_controls or _controls_seen(connection, first, last),
    )


def _controls_seen(connection: Connection, first: int, last: int) -> bool | None:
    column = tables.control.c.second
    if connection.execute(select(column).where(column.between(first, last)).limit(1)).first() is not None:
        return True
    cut = tables.cut.c
    through = connection.execute(select(func.max(cut.through_second)).where(cut.kind == str(Kind.ATTEMPTS))).scalar()
    return None if through is not None and through >= first else False


def _targets(connection: Connection) -> tuple[str, ...]:
    column = tables.rules.c.target
    return tuple(connection.execute(select(column).distinct().order_by(column)).scalars())


def _tally(
    connection: Connection,
    target: str,
    between: tuple[int, int],
    holding: Iterable[Amendment],
    blocks: BlockAdder,
    *,
    many: bool,
) -> Tally:
    first, last = between
    runs = _runs(connection, target, first, last)
    width = blocks.finest_s
    parts = []
    for stretch in _stretches(connection, first, last, runs) if width else [between]:
        found = [
            (section, [*_single(connection, target, section, width, many), *_clipped_runs(runs, section, width)])
            for section in sections(holding, target, tuple(Surface), *stretch)
        ]
        blocks.add(found)
        parts += [(section, merged(groups)) for section, groups in found]
    terms = _terms(connection, target, last)
    seen = {surface for _, groups in parts for group in groups for surface, _ in group.judged}
    watched = seen or set(terms.surfaces if terms is not None else Surface)
    surfaces = [surface for surface in Surface if surface in watched]
    adder = Adder(surfaces)
    for section, groups in parts:
        adder.add(section, groups)
    suspicions = read_remarks(connection, RemarkKind.SUSPICION, None, last)
    return Tally(
        target=target,
        terms=terms,
        totals=adder.totals(),
        suspicions=tuple(found for found in suspicions if found.target == target and found.last_second >= first),
        blocks=blocks.totals(surfaces),
    )


def _stretches(connection: Connection, first: int, last: int, runs: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """Part a range so that what is held of its blocks is that of a day at most."""
    oldest, newest = _ends(connection)
    return stretches(first, last, (oldest, max([newest, *(run.second + run.seconds - 1 for run in runs)])))


def _ends(connection: Connection) -> tuple[int, int]:
    """Give the first seconds of the oldest and of the newest verdict; the newest is before the oldest if none is."""
    column = tables.verdict.c.second
    # Two queries: only each by itself is answered from the end of the index.
    oldest = connection.execute(select(func.min(column))).scalar()
    newest = connection.execute(select(func.max(column))).scalar()
    return (0, -1) if oldest is None or newest is None else (oldest, newest)


def _single(connection: Connection, target: str, section: Section, width: int, many: bool) -> Iterator[Alike]:
    """Count the seconds of a section that have a verdict of their own, in groups that were judged alike."""
    first, last = section.first_second, section.last_second
    if not many:
        yield from _alike(connection, _judged_between(target, first, last, width))
        return
    oldest, newest = _ends(connection)
    for at in range(max(first, oldest), min(last, newest) + 1, SOUGHT_S):
        yield from _alike(connection, _judged_at(target, at, min(at + SOUGHT_S - 1, last, newest), width))


def _judged_between(target: str, first: int, last: int, width: int) -> Subquery:
    """Find the verdicts of a range among those of all targets."""
    table = tables.verdict
    return _by_second(table, target, width, table.c.second.between(first, last))


def _judged_at(target: str, first: int, last: int, width: int) -> Subquery:
    """Look for the verdicts of a range second by second, which is an index search for each."""
    table = tables.verdict
    sought: CTE = select(literal(first).label("second")).cte("sought", recursive=True)
    sought = sought.union_all(select(sought.c.second + 1).where(sought.c.second < last))
    return _by_second(sought.join(table, table.c.second == sought.c.second), target, width)


def _by_second(among: FromClause, target: str, width: int, *within: ColumnElement[bool]) -> Subquery:
    table = tables.verdict
    judged = table.c.verdict.concat(_BETWEEN).concat(table.c.basis)
    of_surfaces = [
        # Each second has at most one verdict of a surface, so the greatest of them is that one.
        func.max(case((table.c.surface == str(surface), judged))).label(str(surface))
        for surface in Surface
    ]
    block = (table.c.second - table.c.second % width if width else literal_column("0")).label("block")
    return (
        select(block, *of_surfaces)
        .select_from(among)
        .where(*within, table.c.target == target, table.c.seconds == literal_column("1"))
        .group_by(table.c.second)
        .subquery()
    )


def _alike(connection: Connection, by_second: Subquery) -> Iterator[Alike]:
    columns = [by_second.c[name] for name in ("block", *Surface)]
    for block, *found, seconds in connection.execute(select(*columns, func.count()).group_by(*columns)):
        yield Alike(
            seconds=seconds,
            judged=tuple((surface, _judged(text)) for surface, text in zip(Surface, found, strict=True) if text),
            block=block,
        )


def _runs(connection: Connection, target: str, first: int, last: int) -> Sequence[Any]:
    """Read the runs of unobserved seconds that reach into a range."""
    table = tables.verdict
    query = (
        select(table.c.second, table.c.seconds, table.c.surface, table.c.verdict, table.c.basis)
        .where(
            table.c.target == target,
            # Spelled out, not bound: only so can the databases see that the index on runs serves.
            table.c.seconds > literal_column("1"),
            table.c.second <= last,
            table.c.second + table.c.seconds > first,
        )
        .order_by(table.c.second, table.c.surface)
    )
    return connection.execute(query).all()


def _clipped_runs(runs: Iterable[Any], section: Section, width: int) -> Iterator[Alike]:
    by_place: dict[tuple[int, int], list[tuple[Surface, Judged]]] = {}
    for row in runs:
        if row.second <= section.last_second and row.second + row.seconds > section.first_second:
            judged = (Verdict(row.verdict), Basis(row.basis))
            by_place.setdefault((row.second, row.seconds), []).append((Surface(row.surface), judged))
    for place, found in by_place.items():
        for block, seconds in spread(*place, section, width):
            yield Alike(seconds=seconds, judged=tuple(found), block=block)


def _terms(connection: Connection, target: str, last: int) -> Terms | None:
    """Read the terms of the newest verdict up to a second; None if there is none, or if they can't be read."""
    verdict, rules = tables.verdict, tables.rules
    newest = select(verdict.c.rules).where(verdict.c.target == target, verdict.c.second <= last)
    rules_id = connection.execute(newest.order_by(verdict.c.second.desc()).limit(1)).scalar()
    query = select(rules.c.body).where(rules.c.target == target, rules.c.id == rules_id)
    body = connection.execute(query).scalar()
    try:
        return None if body is None else parse_rules(body)[1]
    except ValueError:
        return None


def _judged(text: str) -> Judged:
    verdict, _, basis = text.partition(_BETWEEN)
    return Verdict(verdict), Basis(basis)
