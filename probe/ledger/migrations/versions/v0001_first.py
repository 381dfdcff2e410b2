"""The first schema: batches and the seven kinds of record in them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables. This text is frozen: it must not follow later changes of `tables`."""
    _batch()
    _seen()
    _judged()
    _kept_for_the_program()


def downgrade() -> None:
    """Refuse: a ledger is never taken back to an older schema."""
    raise NotImplementedError


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String, nullable=False) for name in names]


def _long(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _integer(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer, nullable=False) for name in names]


def _place() -> Sequence[sa.Column[int]]:
    return (
        sa.Column("batch", sa.BigInteger, sa.ForeignKey("batch.seq"), primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    )


def _batch() -> None:
    seals = ("attempt", "control", "verdict", "event", "rules", "state", "cut")
    op.create_table(
        "batch",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        *_long("written_us"),
        *_text("vantage"),
        *_long("first_second", "last_second"),
        sa.Column("previous", sa.String(64), nullable=False),
        *[sa.Column(f"{name}_seal", sa.LargeBinary, nullable=False) for name in seals],
        sa.Column("digest", sa.String(64), nullable=False),
    )


def _seen() -> None:
    op.create_table(
        "attempt",
        *_place(),
        *_text("target", "surface"),
        *_long("second"),
        *_integer("ordinal"),
        *_long("started_us", "duration_us"),
        *_text("fault", "cause", "phase"),
        *_integer("code"),
        *_text("enhanced_code"),
        sa.Column("reply", sa.Text, nullable=False),
        sa.Column("message_id", sa.String, nullable=True),
        *_text("connection", "address"),
        sa.Column("maybe_accepted", sa.SmallInteger, nullable=False),
        sa.Column("phases", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("attempt_by_second", "attempt", ["second", "target", "surface", "ordinal"], unique=True)
    op.create_table(
        "control",
        *_place(),
        *_text("control"),
        *_long("second", "started_us", "duration_us"),
        sa.Column("worked", sa.SmallInteger, nullable=False),
        *_text("cause"),
        sqlite_with_rowid=False,
    )
    op.create_index("control_by_second", "control", ["second"])


def _judged() -> None:
    op.create_table(
        "verdict",
        *_place(),
        *_text("target", "surface"),
        *_long("second", "seconds"),
        *_text("verdict", "basis"),
        *_integer("attempts", "accepted"),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("rules", sa.String(16), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("verdict_by_second", "verdict", ["second", "target", "surface"], unique=True)
    runs = sa.text("seconds > 1")
    op.create_index("verdict_runs", "verdict", ["target", "second"], sqlite_where=runs, postgresql_where=runs)
    op.create_table(
        "event",
        *_place(),
        *_text("target"),
        *_long("second"),
        *_text("issue", "turn"),
        *_long("since_second", "noticed_second"),
    )
    op.create_index("event_by_second", "event", ["second", "target"])


def _kept_for_the_program() -> None:
    op.create_table(
        "rules",
        sa.Column("batch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        *_text("target"),
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("rules_by_target", "rules", ["target", "id"], unique=True)
    op.create_table(
        "state",
        *_place(),
        *_text("target"),
        *_long("next_second"),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("state_by_target", "state", ["target", "batch", "position"])
    op.create_table(
        "cut",
        *_place(),
        *_text("kind"),
        *_long("through", "through_second"),
        sa.Column("digest", sa.String(64), nullable=False),
    )
