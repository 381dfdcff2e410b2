"""Walk the chain and name the first record that differs.

What the chain proves
---------------------

Each batch carries a seal of every part of it and the digest of the batch before, and its own digest is made of all that
(see `canonical`). Whoever alters, removes, adds or moves a record therefore breaks a seal; whoever makes the seal anew
breaks the batch's digest; whoever makes the digest anew breaks the next batch's `previous`, and so on up to the head.
Retention is a record in the chain as well: what it cut is known, and only a prefix can be cut, so a hole anywhere
else, or records that are gone without such a note, are found.

What it cannot prove
--------------------

Whoever owns the file can make *all* digests anew from any batch on, or drop the newest batches, or cut with a note as
retention does, and a chain alone cannot tell. It can if a head (number and digest of a batch) was kept where the owner
cannot reach it: in the metrics of another team, in a mail, in a ticket. `verify` takes such an anchor and says whether
this chain still contains it. Nor does the chain prove that what was written was true, or that the clock was right.

The walk reads one snapshot, in order of the primary keys, holding one batch in memory at a time, while a daemon may
go on writing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from probe.ledger import tables
from probe.ledger.canonical import (
    GENESIS,
    MARK_BYTES,
    Row,
    batch_digest,
    marks_of_seal,
    record_digests,
    rules_id,
    seal_of_digests,
)
from probe.ledger.connect import streaming
from probe.ledger.snapshot import snapshot
from probe.ledger.tables import PARTS, Kind, Part

PROBLEMS_MAX = 20

_TIME_COLUMNS = frozenset({"second", "next_second"})
_HEADER = [column for column in tables.batch.columns if column.name != "digest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A head that was kept elsewhere."""

    seq: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a walk found. `problems` are in order of the chain, at most PROBLEMS_MAX.

    `cut_through` has the last second whose records of a kind retention may have cut.
    """

    batches: int
    records: int
    first_second: int | None
    last_second: int | None
    head_seq: int
    head_digest: str
    cut_through: Mapping[Kind, int]
    problems: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Say whether nothing differs."""
        return not self.problems


def verify(address: str, anchor: Anchor | None = None) -> Report:
    """Walk a whole ledger, read-only."""
    with snapshot(address) as connection:
        return walk(connection, anchor=anchor)


def walk(connection: Connection, *, from_batch: int = 1, anchor: Anchor | None = None) -> Report:
    """Walk the chain from a batch on, in the caller's transaction."""
    walker = _Walk(connection, from_batch, anchor)
    walker.run()
    return walker.report()


class Cut(NamedTuple):
    """How far the records of one kind were cut: the last batch, its digest, and the last second that it may hold."""

    through: int
    digest: str
    through_second: int


def cuts(connection: Connection) -> dict[Kind, Cut]:
    """Tell for each kind how far its records were cut."""
    found: dict[Kind, Cut] = {}
    for row in connection.execute(select(tables.cut).order_by(tables.cut.c.through)):
        if row.kind in set(Kind):
            found[Kind(row.kind)] = Cut(row.through, row.digest, row.through_second)
    return found


class _Walk:
    """One walk along the chain."""

    def __init__(self, connection: Connection, from_batch: int, anchor: Anchor | None) -> None:
        self._connection = streaming(connection)
        self._cuts = cuts(connection)
        self._anchor = anchor
        through, digest, _ = self._cuts.get(Kind.VERDICTS, Cut(0, GENESIS, 0))
        self._first = max(from_batch, through + 1)
        self._expected_seq = self._first
        self._previous: str | None = digest if self._first == through + 1 else None
        self._problems: list[str] = []
        self._batches = 0
        self._records = 0
        self._first_second: int | None = None
        self._last_second: int | None = None
        self._head = (through, digest)
        self._anchored = anchor is None
        self._streams = {part.name: _Stream(self._connection, part, self._first) for part in PARTS}

    def run(self) -> None:
        query = select(tables.batch).where(tables.batch.c.seq >= self._first).order_by(tables.batch.c.seq)
        for row in self._connection.execute(query):
            self._check_batch(row)
        for part in PARTS:
            for batch, position, fields in self._streams[part.name].rest():
                self._problem(f"{_describe(part, fields, position, batch)}: was added, there is no batch {batch}")
        if self._anchor is not None and not self._anchored:
            why = "retention cut it" if self._anchor.seq < self._first else "the chain ends before it"
            self._problem(f"batch {self._anchor.seq}: the anchored head is not in this chain: {why}")
        for row in self._connection.execute(select(tables.rules)):
            if rules_id(row.body) != row.id:
                self._problem(f"rules {row.target} {row.id}: what the verdicts were judged by was altered")

    def report(self) -> Report:
        return Report(
            batches=self._batches,
            records=self._records,
            first_second=self._first_second,
            last_second=self._last_second,
            head_seq=self._head[0],
            head_digest=self._head[1],
            cut_through={kind: cut.through_second for kind, cut in self._cuts.items()},
            problems=tuple(self._problems),
        )

    def _check_batch(self, row: Any) -> None:
        self._check_link(row)
        header = [row._mapping[column] for column in _HEADER]
        if batch_digest(header) != row.digest:
            self._problem(f"batch {row.seq}: its header was altered")
        for part in PARTS:
            stored = row._mapping[tables.batch.c[f"{part.name}_seal"]]
            sealed = stored if isinstance(stored, bytes) else b""
            if row.seq > self._cut_through(part):
                self._check_part(part, row.seq, sealed)
            else:
                self._check_left(part, row.seq, sealed)
        self._previous = row.digest
        self._expected_seq = row.seq + 1
        self._head = (row.seq, row.digest)
        self._batches += 1
        if row.last_second:
            self._first_second = min(row.first_second, self._first_second or row.first_second)
            self._last_second = max(row.last_second, self._last_second or row.last_second)

    def _check_link(self, row: Any) -> None:
        if row.seq != self._expected_seq:
            gone = f"batch {self._expected_seq}" + (f" to {row.seq - 1}" if row.seq - 1 > self._expected_seq else "")
            self._problem(f"{gone}: missing, and no retention note says that it was cut")
        elif self._previous is not None and row.previous != self._previous:
            self._problem(f"batch {row.seq}: does not follow batch {row.seq - 1}: one of them was replaced or moved")
        if self._anchor is not None and row.seq == self._anchor.seq:
            self._anchored = True
            if row.digest != self._anchor.digest:
                self._problem(f"batch {row.seq}: differs from the anchored head: the chain was made anew")

    def _check_part(self, part: Part, seq: int, sealed: bytes) -> None:
        stream = self._streams[part.name]
        for batch, position, fields in stream.before(seq):
            self._problem(f"{_describe(part, fields, position, batch)}: was added, there is no batch {batch}")
        found = stream.of(seq)
        self._records += len(found)
        if not found and not sealed:
            return
        digests = record_digests(part.sealed([fields for _, fields in found]))
        if seal_of_digests(part.name, digests) == sealed and _in_place(found):
            return
        self._problem(_first_difference(part, seq, marks_of_seal(sealed), found, digests))

    def _check_left(self, part: Part, seq: int, sealed: bytes) -> None:
        """Check what retention has left of a batch that it may cut: each record must be the one of its place."""
        found = self._streams[part.name].of(seq)
        self._records += len(found)
        marks = marks_of_seal(sealed)
        digests = record_digests(part.sealed([fields for _, fields in found]))
        for (position, fields), digest in zip(found, digests, strict=True):
            name = _describe(part, fields, position, seq)
            if position >= len(marks):
                self._problem(f"{name}: was added")
            elif marks[position] != digest[:MARK_BYTES]:
                self._problem(f"{name}: was altered")

    def _cut_through(self, part: Part) -> int:
        return max([self._cuts[kind].through for kind in part.kinds if kind in self._cuts], default=0)

    def _problem(self, text: str) -> None:
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(text)


class _Stream:
    """The records of one part in order of their place, read in portions."""

    def __init__(self, connection: Connection, part: Part, since: int) -> None:
        table = part.table
        query = select(table).where(table.c.batch >= since).order_by(table.c.batch, table.c.position)
        self._rows: Iterator[Any] = iter(connection.execute(query))
        self._next = next(self._rows, None)

    def before(self, seq: int) -> Iterator[tuple[int, int, Row]]:
        """Take the records of earlier batches: nobody has asked for them, so there are no such batches."""
        while self._next is not None and self._next.batch < seq:
            yield self._take()

    def of(self, seq: int) -> list[tuple[int, Row]]:
        """Take the records of a batch, each with its position."""
        found = []
        while self._next is not None and self._next.batch == seq:
            found.append(self._take()[1:])
        return found

    def rest(self) -> Iterator[tuple[int, int, Row]]:
        """Take all that is left."""
        while self._next is not None:
            yield self._take()

    def _take(self) -> tuple[int, int, Row]:
        assert self._next is not None
        batch, position, *fields = self._next
        self._next = next(self._rows, None)
        return batch, position, fields


def _in_place(found: Sequence[tuple[int, Row]]) -> bool:
    return all(position == at for at, (position, _) in enumerate(found))


def _first_difference(
    part: Part, seq: int, marks: Sequence[bytes], found: Sequence[tuple[int, Row]], digests: Sequence[bytes]
) -> str:
    """Name the first record of a part that is not as it was sealed."""
    actual = [digest[:MARK_BYTES] for digest in digests]
    at = next((i for i, (a, b) in enumerate(zip(marks, actual, strict=False)) if a != b), min(len(marks), len(actual)))
    if at == len(actual) == len(marks):
        return _unnamed_difference(part, seq, found)
    if at == len(actual) or (len(actual) < len(marks) and actual[at] in marks[at + 1 :]):
        return _missing(part, seq, at, found)
    position, fields = found[at]
    name = _describe(part, fields, position, seq)
    if at == len(marks) or (len(actual) > len(marks) and marks[at] in actual[at + 1 :]):
        return f"{name}: was added"
    if actual[at] in marks[at + 1 :]:
        return f"{name}: was moved from its place"
    return f"{name}: was altered"


def _unnamed_difference(part: Part, seq: int, found: Sequence[tuple[int, Row]]) -> str:
    """Name what the marks cannot: a position that was renumbered, or a change that hits the same four bytes."""
    for at, (position, fields) in enumerate(found):
        if position != at:
            return f"{_describe(part, fields, position, seq)}: was moved from its place"
    return f"batch {seq}: one of its {part.name} records was altered"


def _missing(part: Part, seq: int, at: int, found: Sequence[tuple[int, Row]]) -> str:
    """Name a record that is gone by its place and its neighbours."""
    neighbours = []
    if at > 0:
        neighbours.append(f"after {_words(part, found[at - 1][1])}")
    if at < len(found):
        neighbours.append(f"before {_words(part, found[at][1])}")
    where = f" ({', '.join(neighbours)})" if neighbours else ""
    return f"{part.name} #{at} of batch {seq}: is missing{where}"


def _describe(part: Part, fields: Row, position: int, batch: int) -> str:
    return f"{part.name} {_words(part, fields)} (batch {batch} #{position})"


def _words(part: Part, fields: Row) -> str:
    """Name a record by its own columns, with seconds as times."""
    named = dict(zip(part.columns, fields, strict=True))
    return " ".join([_word(column, named[column]) for column in part.named_by])


def _word(column: str, value: object) -> str:
    if column in _TIME_COLUMNS:
        return _time(value)
    return f"#{value}" if column == "ordinal" else str(value)


def _time(second: object) -> str:
    try:
        return datetime.fromtimestamp(int(str(second)), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(second)
