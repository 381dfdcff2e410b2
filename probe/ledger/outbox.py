"""What the ledger holds to be told, and how far each courier has told it.

The outbox is no table of its own: what is to be told are the records themselves, in the order of the chain, and a
courier's place in it is all that is kept beside them. So a turn is promised in the very transaction that keeps it, and
nothing that was kept can be forgotten by whoever tells it.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Row, and_, delete, func, insert, not_, or_, select, update
from sqlalchemy.sql import ColumnElement

from probe.core.case_happenings import Case, CaseAct, CaseHappening, Cases
from probe.core.happenings import Happening
from probe.core.lapses import Lapse
from probe.core.lives import Lives
from probe.core.model import Condition, IssueEvent, IssueTurn
from probe.core.notices import CaseTurn, LifeTurn, Place, Turn
from probe.ledger import tables
from probe.ledger.cases import read_cases
from probe.ledger.lives import read_lives
from probe.ledger.remarks import remark_of_body
from probe.ledger.snapshot import snapshot
from probe.ledger.store import Store
from probe.ledger.tables import RemarkKind
from probe.ledger.thread import Worker

EVENT_PART, REMARK_PART = 0, 1
# The kinds of remark that are told.
TOLD: Final = tuple(
    str(kind) for kind in (RemarkKind.CONDITION, RemarkKind.HAPPENING, RemarkKind.CASE, RemarkKind.LAPSE)
)

T = TypeVar("T")
Told = tuple[Place, Turn]
Found = IssueEvent | Condition | Lapse | Happening | CaseHappening


class Outbox:
    """Reads what is to be told, in a thread of its own; the writer's thread keeps how far it was told."""

    def __init__(self, address: str, writing: Worker, store: Store) -> None:
        self._address = address
        self._writing = writing
        self._store = store
        self._reading = Worker("ledger-outbox")

    async def enrol(self, names: Collection[str]) -> Mapping[str, Place]:
        """Give each of these couriers its place, a new one the end of the chain; forget all others.

        Raises:
            LedgerError: If the ledger can't be written.
        """
        return await self._writing.run(lambda: _enrol(self._store, names))

    async def settle(self, name: str, place: Place) -> None:
        """Keep how far a courier has told.

        Raises:
            LedgerError: If the ledger can't be written.
        """
        await self._writing.run(lambda: _settle(self._store, name, place))

    async def after(self, place: Place, limit: int) -> tuple[Told, ...]:
        """Read the first of what is to be told after a place, in the order of the chain.

        Raises:
            LedgerError: If the ledger can't be read.
        """
        return await self._reading.run(lambda: self._read(lambda c: _after(c, place, limit)))

    async def count_after(self, place: Place) -> int:
        """Count all that is to be told after a place.

        Raises:
            LedgerError: If the ledger can't be read.
        """
        return await self._reading.run(lambda: self._read(lambda c: _count(c, place)))

    def close(self) -> None:
        """End the thread that reads."""
        self._reading.stop()

    def _read(self, what: Callable[[Connection], T]) -> T:
        with snapshot(self._address) as connection:
            return what(connection)


def _enrol(store: Store, names: Collection[str]) -> Mapping[str, Place]:
    columns = tables.courier.c
    with store.transaction() as connection:
        connection.execute(delete(tables.courier).where(columns.name.not_in(list(names))))
        kept = {row.name: _place(row) for row in connection.execute(select(tables.courier))}
        head = connection.execute(select(func.max(tables.batch.c.seq))).scalar() or 0
        end = Place(batch=head, part=REMARK_PART, position=2**31 - 1)
        for name in names:
            if name not in kept:
                kept[name] = end
                connection.execute(insert(tables.courier).values(name=name, **_plain(end)))
    return kept


def _settle(store: Store, name: str, place: Place) -> None:
    with store.transaction() as connection:
        connection.execute(update(tables.courier).where(tables.courier.c.name == name).values(**_plain(place)))


def _plain(place: Place) -> dict[str, int]:
    return {"batch": place.batch, "part": place.part, "position": place.position}


def _place(row: "Row[Any]") -> Place:
    return Place(batch=row.batch, part=row.part, position=row.position)


def _after(connection: Connection, place: Place, limit: int) -> tuple[Told, ...]:
    events = tables.event
    query = select(events).where(_behind(events.c, EVENT_PART, place))
    rows = connection.execute(query.order_by(events.c.batch, events.c.position).limit(limit))
    found: list[tuple[Place, Found]] = [(_at(row, EVENT_PART), _event(row)) for row in rows]
    remarks = tables.remark
    query = select(remarks).where(_is_told(remarks.c), _behind(remarks.c, REMARK_PART, place))
    rows = connection.execute(query.order_by(remarks.c.batch, remarks.c.position).limit(limit))
    found += [(_at(row, REMARK_PART), remark_of_body(row.kind, row.body)) for row in rows]
    found = sorted(found, key=lambda told: told[0])[:limit]
    # One target is read by itself; of more, one reading serves them all.
    targets = {turn.target for _, turn in found if isinstance(turn, IssueEvent | Happening)}
    lives = read_lives(connection, next(iter(targets)) if len(targets) == 1 else None) if targets else {}
    targets = {turn.target for _, turn in found if isinstance(turn, CaseHappening)}
    cases = read_cases(connection, next(iter(targets)) if len(targets) == 1 else None) if targets else {}
    return tuple((at, _turn(turn, lives, cases)) for at, turn in found)


def _turn(found: Found, lives: Mapping[str, Lives], cases: Cases) -> Turn:
    match found:
        case Condition() | Lapse():
            return found
        case CaseHappening():
            return _in_its_case(found, cases.get(found.case))
        case IssueEvent() | Happening():
            return _in_its_life(found, lives)


def _in_its_case(happening: CaseHappening, case: Case | None) -> CaseTurn:
    """Say what case something happened in, and whether it ended that."""
    if case is None:  # Retention has cut its beginning.
        return CaseTurn(what=happening, title="")
    is_last = happening.happening == case.happenings[-1].happening
    return CaseTurn(what=happening, title=case.title, over=case.stage if is_last and case.over_us else None)


def _in_its_life(turn: IssueEvent | Happening, lives: Mapping[str, Lives]) -> Turn:
    """Say which life a turn belongs to, and whether it ended that."""
    life = lives.get(turn.target, {}).get(turn.issue)
    if life is None:  # Retention has cut its opening.
        return LifeTurn(issue=turn.issue, what=turn)
    # Nothing can be added to a life that is over, so what ended it is its last.
    is_last = isinstance(turn, Happening) and turn.happening == life.happenings[-1].happening
    over = life.procedure.stage if is_last and life.procedure.is_over else None
    return LifeTurn(issue=life.issue, what=turn, over=over)


def _count(connection: Connection, place: Place) -> int:
    events, remarks = tables.event, tables.remark
    counts = (
        select(func.count()).select_from(events).where(_behind(events.c, EVENT_PART, place)),
        select(func.count()).select_from(remarks).where(_is_told(remarks.c), _behind(remarks.c, REMARK_PART, place)),
    )
    return sum(connection.execute(query).scalar_one() for query in counts)


def _is_told(columns: Any) -> ColumnElement[bool]:
    """Choose the remarks that are told; that further seconds joined a draft each minute stands in its case alone."""
    joined = (columns.kind == str(RemarkKind.CASE)) & columns.body.contains(f'"act":"{CaseAct.JOINED}"')
    return and_(columns.kind.in_(TOLD), not_(joined))


def _behind(columns: Any, part: int, place: Place) -> ColumnElement[bool]:
    """Choose the records of a part whose place in the chain lies behind this one."""
    if part < place.part:
        rest: ColumnElement[bool] = columns.batch > place.batch
    elif part > place.part:
        rest = columns.batch >= place.batch
    else:
        rest = or_(columns.batch > place.batch, and_(columns.batch == place.batch, columns.position > place.position))
    return rest


def _at(row: "Row[Any]", part: int) -> Place:
    return Place(batch=row.batch, part=part, position=row.position)


def _event(row: "Row[Any]") -> IssueEvent:
    return IssueEvent(
        issue=row.issue,
        target=row.target,
        turn=IssueTurn(row.turn),
        since_second=row.since_second,
        noticed_second=row.noticed_second,
    )
