"""The evidence of an issue, as the ledger has it."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from probe.core.evidence import Evidence, gather
from probe.core.model import Statement
from probe.ledger.connect import parse_address, reading_engine
from probe.ledger.errors import LedgerError, sentence
from probe.ledger.migrate import check_schema
from probe.ledger.read import span, steps
from probe.ledger.remarks import read_remarks
from probe.ledger.tables import RemarkKind

READ_S_MAX = 3_600  # from an issue's beginning on; an hour says all that a caller can say
STATEMENTS_BACK_S = 90_000  # the body of a page is kept again within a day

T = TypeVar("T")


def evidence_of(address: str, target: str, first_second: int, last_second: int | None = None) -> Evidence | None:
    """Gather what the record shows of a target since a second, of an hour at most; None if it shows nothing.

    Raises:
        LedgerError: If the ledger can't be read.
    """

    def read(connection: Connection) -> Evidence | None:
        known = span(connection)
        if known is None:
            return None
        end = min(known[1] if last_second is None else last_second, first_second + READ_S_MAX - 1)
        found = gather(target, ((one.step, one.controls) for one in steps(connection, first_second, end, target)))
        return found if found.first_second else None

    return _read(address, read)


def statements_of(address: str, until_second: int) -> tuple[Statement, ...]:
    """Read what the status pages said in the day before a second.

    Raises:
        LedgerError: If the ledger can't be read.
    """
    since = until_second - STATEMENTS_BACK_S
    return _read(address, lambda connection: tuple(read_remarks(connection, RemarkKind.STATEMENT, since, until_second)))


def _read(address: str, read: Callable[[Connection], T]) -> T:
    place = parse_address(address)
    engine = reading_engine(place)
    try:
        with engine.connect() as connection, connection.begin():
            check_schema(connection, place.name)
            return read(connection)
    except LedgerError:
        raise
    except Exception as error:
        raise LedgerError(f"{place.name}: {sentence(error)}") from error
    finally:
        engine.dispose()
