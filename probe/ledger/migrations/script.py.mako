"""${message}."""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Say what changes for a reader of the ledger."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Refuse: a ledger is never taken back to an older schema."""
    raise NotImplementedError
