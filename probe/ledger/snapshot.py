"""How everybody but the writer reads a ledger: one consistent state of it, and every error as a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from probe.ledger.connect import parse_address, reading_engine
from probe.ledger.errors import LedgerError, sentence
from probe.ledger.migrate import check_schema


@contextmanager
def snapshot(address: str) -> Iterator[Connection]:
    """Open a ledger for reading, in a transaction that sees one state of it also while a daemon writes.

    Raises:
        LedgerError: If it can't be read, or is not of this program's schema; what goes wrong within becomes one too.
    """
    place = parse_address(address)
    engine = reading_engine(place)
    try:
        with engine.connect() as connection, connection.begin():
            check_schema(connection, place.name)
            yield connection
    except LedgerError:
        raise
    except Exception as error:
        raise LedgerError(f"{place.name}: {sentence(error)}") from error
    finally:
        engine.dispose()
