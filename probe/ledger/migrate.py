"""Bring a ledger's tables to the version that this program knows."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from probe.ledger.errors import LedgerError, LedgerTooNew

MIGRATIONS = Path(__file__).parent / "migrations"
SCHEMA = "0003"
KNOWN_SCHEMAS = frozenset({"0001", "0002", "0003"})


def stored_schema(connection: Connection) -> str | None:
    """Tell the version of a ledger's tables; None if there are none yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def check_schema(connection: Connection, name: str) -> None:
    """Refuse to read tables of another version.

    Raises:
        LedgerTooNew: If a newer program wrote them.
        LedgerError: If they are older, or there are none.
    """
    found = stored_schema(connection)
    if found == SCHEMA:
        return
    if found is None:
        raise LedgerError(f"{name}: this is not a ledger: it has no tables of sev1probe")
    _refuse_newer(found, name)
    raise LedgerError(f"{name}: the ledger has the older schema {found}; let the daemon open it once to bring it up")


def refuse_foreign(connection: Connection, name: str) -> None:
    """Refuse a database that holds tables, but none of ours: it is another program's, and stays as it is."""
    tables = inspect(connection).get_table_names()
    if tables and "alembic_version" not in tables:
        raise LedgerError(f"{name}: this belongs to another program (it has a table {tables[0]}); name another file")


def upgrade(connection: Connection, name: str) -> None:
    """Run the migrations that are missing, all in the caller's transaction."""
    found = stored_schema(connection)
    if found == SCHEMA:
        return
    if found is not None:
        _refuse_newer(found, name)
    # Imported here because it takes a tenth of a second, and is needed once in a ledger's life.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, SCHEMA)


def _refuse_newer(found: str, name: str) -> None:
    if found not in KNOWN_SCHEMAS:
        raise LedgerTooNew(
            f"{name}: the ledger has schema {found}, written by a newer sev1probe than this one, which knows {SCHEMA}: "
            "install that version or a newer one"
        )
