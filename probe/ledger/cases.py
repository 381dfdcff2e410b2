"""Support Cases, as the ledger has them."""

from sqlalchemy import Connection, select

from probe.core.case_happenings import Cases
from probe.core.cases import cases_of
from probe.ledger import tables
from probe.ledger.connect import parse_address, reading_engine
from probe.ledger.errors import LedgerError, sentence
from probe.ledger.migrate import check_schema
from probe.ledger.remarks import remark_of_body
from probe.ledger.tables import RemarkKind


def cases_in(address: str) -> Cases:
    """Read the cases of all targets, by id, in the order in which they began.

    Raises:
        LedgerError: If the ledger can't be read.
    """
    place = parse_address(address)
    engine = reading_engine(place)
    try:
        with engine.connect() as connection, connection.begin():
            check_schema(connection, place.name)
            return read_cases(connection)
    except LedgerError:
        raise
    except Exception as error:
        raise LedgerError(f"{place.name}: {sentence(error)}") from error
    finally:
        engine.dispose()


def read_cases(connection: Connection, target: str | None = None) -> Cases:
    """Read the same in the caller's transaction, of one target or of all."""
    columns = tables.remark.c
    query = select(columns.kind, columns.body).where(columns.kind == str(RemarkKind.CASE))
    if target is not None:
        query = query.where(columns.target == target)
    rows = connection.execute(query.order_by(columns.batch, columns.position))
    return cases_of(remark_of_body(row.kind, row.body) for row in rows)
