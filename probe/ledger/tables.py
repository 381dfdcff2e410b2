"""The ledger's tables.

What was seen (`attempt`, `control`) is apart from what was judged (`verdict`, `event`), and both are written in
batches, one batch a transaction. Every row names its batch and its position in it: that is the order in which the
chain seals it. A change here needs a migration; a test compares the two.

Rows are appended nearly in order of time, so the indexes begin with the second: with the target first, each of three
hundred targets would dirty pages of its own at every commit. A query for one target names its seconds one by one, which
is an index search for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

from probe.ledger.canonical import Row

metadata = MetaData()

batch = Table(
    "batch",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("written_us", BigInteger, nullable=False),
    Column("vantage", String, nullable=False),
    Column("first_second", BigInteger, nullable=False),
    Column("last_second", BigInteger, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("attempt_seal", LargeBinary, nullable=False),
    Column("control_seal", LargeBinary, nullable=False),
    Column("verdict_seal", LargeBinary, nullable=False),
    Column("event_seal", LargeBinary, nullable=False),
    Column("rules_seal", LargeBinary, nullable=False),
    Column("state_seal", LargeBinary, nullable=False),
    Column("cut_seal", LargeBinary, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("remark_seal", LargeBinary, nullable=True),  # NULL: written before there were remarks
)


def _place() -> Sequence[Column[int]]:
    """Name the batch that holds a row, and the row's position in it."""
    return (
        Column("batch", BigInteger, ForeignKey("batch.seq"), primary_key=True, autoincrement=False),
        Column("position", Integer, primary_key=True, autoincrement=False),
    )


attempt = Table(
    "attempt",
    metadata,
    *_place(),
    Column("target", String, nullable=False),
    Column("surface", String, nullable=False),
    Column("second", BigInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("fault", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("phase", String, nullable=False),
    Column("code", Integer, nullable=False),
    Column("enhanced_code", String, nullable=False),
    Column("reply", Text, nullable=False),
    Column("message_id", String, nullable=True),  # NULL: the ticket's own, made of the other columns
    Column("connection", String, nullable=False),
    Column("address", String, nullable=False),
    Column("maybe_accepted", SmallInteger, nullable=False),
    Column("phases", Text, nullable=False),  # "connect:1200 tls:9300", microseconds
    Index("attempt_by_second", "second", "target", "surface", "ordinal", unique=True),
    sqlite_with_rowid=False,
)

control = Table(
    "control",
    metadata,
    *_place(),
    Column("control", String, nullable=False),
    Column("second", BigInteger, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("worked", SmallInteger, nullable=False),
    Column("cause", String, nullable=False),
    Column("trusted", SmallInteger, nullable=True),  # NULL: trusted; 0: it failed too often before
    # Not unique: the same outcome may come with the batches of several targets.
    Index("control_by_second", "second"),
    sqlite_with_rowid=False,
)

verdict = Table(
    "verdict",
    metadata,
    *_place(),
    Column("target", String, nullable=False),
    Column("surface", String, nullable=False),
    Column("second", BigInteger, nullable=False),
    Column("seconds", BigInteger, nullable=False),  # more than 1 for a run of unobserved seconds only
    Column("verdict", String, nullable=False),
    Column("basis", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("rules", String(16), nullable=False),
    Column("evidence", Text, nullable=True),  # JSON: what a corroborated verdict rests on; NULL for every other
    Index("verdict_by_second", "second", "target", "surface", unique=True),
    Index(
        "verdict_runs",
        "target",
        "second",
        sqlite_where=text("seconds > 1"),
        postgresql_where=text("seconds > 1"),
    ),
    sqlite_with_rowid=False,
)

event = Table(
    "event",
    metadata,
    *_place(),
    Column("target", String, nullable=False),
    Column("second", BigInteger, nullable=False),  # the step that it belongs to
    Column("issue", String, nullable=False),
    Column("turn", String, nullable=False),
    Column("since_second", BigInteger, nullable=False),
    Column("noticed_second", BigInteger, nullable=False),
    Index("event_by_second", "second", "target"),
)

rules = Table(
    "rules",
    metadata,
    # No foreign key: rules outlive the batch that brought them, and their id proves them by itself.
    Column("batch", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("target", String, nullable=False),
    Column("id", String(16), nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON: rules version and terms
    Index("rules_by_target", "target", "id", unique=True),
)

state = Table(
    "state",
    metadata,
    *_place(),
    Column("target", String, nullable=False),
    Column("next_second", BigInteger, nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON of the engine's state
    Index("state_by_target", "target", "batch", "position"),
)

remark = Table(
    "remark",
    metadata,
    *_place(),
    Column("kind", String, nullable=False),  # of RemarkKind
    Column("target", String, nullable=False),  # "" where it is about none, or all
    Column("second", BigInteger, nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON of the value
    Index("remark_by_second", "kind", "second"),
)

# What somebody else asks the one writer to keep. It is sealed as a remark, and then gone from here; or it is refused,
# and stays until the proposer has read why, or for an hour.
inbox = Table(
    "inbox",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("proposed_us", BigInteger, nullable=False),  # they are taken in this order
    Column("refusal", Text, nullable=True),  # NULL: not decided yet
)

# How far each courier has told what is kept: the place of the last record that it told, or gave up. Not sealed: it says
# nothing about the provider, and is wrong at worst by what is told twice.
courier = Table(
    "courier",
    metadata,
    Column("name", String, primary_key=True),
    Column("batch", BigInteger, nullable=False),
    Column("part", SmallInteger, nullable=False),  # 0: event, 1: remark
    Column("position", Integer, nullable=False),
)

cut = Table(
    "cut",
    metadata,
    *_place(),
    Column("kind", String, nullable=False),
    Column("through", BigInteger, nullable=False),  # the last batch whose records of this kind may be gone
    Column("through_second", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),  # of that batch
)


class RemarkKind(StrEnum):
    """What is kept beside the seconds."""

    CLOCK = "clock"
    CONDITION = "condition"
    SUSPICION = "suspicion"
    AMENDMENT = "amendment"
    STATEMENT = "statement"
    HAPPENING = "happening"
    CASE = "case"
    LAPSE = "lapse"


class Kind(StrEnum):
    """What retention cuts apart from each other."""

    ATTEMPTS = "attempts"
    STATES = "states"
    VERDICTS = "verdicts"  # and with them the batches themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the kinds of record that a batch holds and seals. `named_by` are the columns that name a record.

    A part that `has_tail` got its last column later: where that is NULL it has no place in a record's encoding, so that
    records from before keep theirs.
    """

    table: Table
    kinds: tuple[Kind, ...]
    named_by: tuple[str, ...]
    has_tail: bool = False

    @property
    def name(self) -> str:
        """Name the part as its table."""
        return self.table.name

    @property
    def columns(self) -> tuple[str, ...]:
        """List the columns that are sealed: all but the place, which the chain knows."""
        return tuple(column.name for column in self.table.columns)[2:]

    def sealed(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Give rows as they are encoded: without an empty tail."""
        if not self.has_tail:
            return rows
        return [row[:-1] if row[-1] is None else row for row in rows]


# In the order of the seals.
PARTS = (
    Part(
        table=attempt,
        kinds=(Kind.ATTEMPTS, Kind.VERDICTS),
        named_by=("target", "surface", "second", "ordinal"),
    ),
    Part(table=control, kinds=(Kind.ATTEMPTS, Kind.VERDICTS), named_by=("control", "second"), has_tail=True),
    Part(table=verdict, kinds=(Kind.VERDICTS,), named_by=("target", "surface", "second"), has_tail=True),
    Part(table=event, kinds=(Kind.VERDICTS,), named_by=("target", "turn", "second")),
    Part(table=rules, kinds=(), named_by=("target", "id")),
    Part(table=state, kinds=(Kind.STATES, Kind.VERDICTS), named_by=("target", "next_second")),
    Part(table=cut, kinds=(Kind.VERDICTS,), named_by=("kind", "through")),
    Part(table=remark, kinds=(Kind.VERDICTS,), named_by=("kind", "target", "second")),
)
