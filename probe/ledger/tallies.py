"""What a range of seconds was judged to be, counted by the database: a month is never read second by second."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, literal_column, select

from probe.core.amendments import Section, sections
from probe.core.model import Amendment, Basis, Surface, Terms, Verdict
from probe.core.totals import Adder, Alike, Judged, Totals, clipped
from probe.ledger import tables
from probe.ledger.canonical import parse_rules

# Of how many targets on a ledger one is better looked for second by second than found among all.
TARGETS_READ_TOGETHER_MAX = 8
# Seconds that are named one by one in one query.
NAMED_S = 2_000

_BETWEEN = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The totals of one target over a range, and the terms that it was last judged by in it."""

    target: str
    terms: Terms | None
    totals: tuple[Totals, ...]


def targets_known(connection: Connection) -> tuple[str, ...]:
    """Name the targets that the ledger knows, in order."""
    column = tables.rules.c.target
    return tuple(connection.execute(select(column).distinct().order_by(column)).scalars())


def tally(connection: Connection, target: str, first: int, last: int, holding: Iterable[Amendment]) -> Tally:
    """Count a range of seconds of one target, both ends included, with and without what amendments exclude."""
    many = len(targets_known(connection)) > TARGETS_READ_TOGETHER_MAX
    runs = _runs(connection, target, first, last)
    parts = [
        (section, [*_single(connection, target, section, many), *_clipped_runs(runs, section)])
        for section in sections(holding, target, tuple(Surface), first, last)
    ]
    terms = _terms(connection, target, last)
    seen = {surface for _, groups in parts for group in groups for surface, _ in group.judged}
    watched = seen or set(terms.surfaces if terms is not None else Surface)
    adder = Adder([surface for surface in Surface if surface in watched])
    for section, groups in parts:
        adder.add(section, groups)
    return Tally(target=target, terms=terms, totals=adder.totals())


def _single(connection: Connection, target: str, section: Section, many: bool) -> Iterator[Alike]:
    """Count the seconds of a section that have a verdict of their own, in groups that were judged alike."""
    column = tables.verdict.c.second
    if not many:
        yield from _alike(connection, target, column.between(section.first_second, section.last_second))
        return
    known = connection.execute(select(func.min(column), func.max(column))).one()
    if known[0] is None:
        return
    first, last = max(section.first_second, known[0]), min(section.last_second, known[1])
    for at in range(first, last + 1, NAMED_S):
        yield from _alike(connection, target, column.in_(range(at, min(at + NAMED_S, last + 1))))


def _alike(connection: Connection, target: str, within: ColumnElement[bool]) -> Iterator[Alike]:
    table = tables.verdict
    judged = table.c.verdict.concat(_BETWEEN).concat(table.c.basis)
    of_surfaces = [
        # Each second has at most one verdict of a surface, so the greatest of them is that one.
        func.max(case((table.c.surface == str(surface), judged))).label(str(surface))
        for surface in Surface
    ]
    by_second = (
        select(*of_surfaces)
        .where(within, table.c.target == target, table.c.seconds == literal_column("1"))
        .group_by(table.c.second)
        .subquery()
    )
    columns = [by_second.c[str(surface)] for surface in Surface]
    for row in connection.execute(select(*columns, func.count()).group_by(*columns)):
        *found, seconds = row
        yield Alike(
            seconds=seconds,
            judged=tuple((surface, _judged(text)) for surface, text in zip(Surface, found, strict=True) if text),
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


def _clipped_runs(runs: Iterable[Any], section: Section) -> Iterator[Alike]:
    by_place: dict[tuple[int, int], list[tuple[Surface, Judged]]] = {}
    for row in runs:
        if clipped(row.second, row.seconds, section):
            judged = (Verdict(row.verdict), Basis(row.basis))
            by_place.setdefault((row.second, row.seconds), []).append((Surface(row.surface), judged))
    for (second, seconds), found in by_place.items():
        yield Alike(seconds=clipped(second, seconds, section), judged=tuple(found))


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
