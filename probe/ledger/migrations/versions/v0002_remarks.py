"""What is kept beside the seconds: evidence of corroborated verdicts, trust in controls, remarks, and the inbox."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns that are NULL in all that was written before, so that every seal still holds, and two tables."""
    op.add_column("batch", sa.Column("remark_seal", sa.LargeBinary, nullable=True))
    op.add_column("control", sa.Column("trusted", sa.SmallInteger, nullable=True))
    op.add_column("verdict", sa.Column("evidence", sa.Text, nullable=True))
    op.create_table(
        "remark",
        sa.Column("batch", sa.BigInteger, sa.ForeignKey("batch.seq"), primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("second", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("remark_by_second", "remark", ["kind", "second"])
    op.create_table(
        "inbox",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("proposed_us", sa.BigInteger, nullable=False),
        sa.Column("refusal", sa.Text, nullable=True),
    )


def downgrade() -> None:
    """Refuse: a ledger is never taken back to an older schema."""
    raise NotImplementedError
