"""Read the turns of Critical Issues: what was opened, what was restored."""

from sqlalchemy import select

from probe.core.model import IssueEvent
from probe.ledger import records, tables
from probe.ledger.connect import parse_address, reading_engine
from probe.ledger.errors import LedgerError, sentence
from probe.ledger.migrate import check_schema


def turns_of(
    address: str, *, target: str | None = None, issue: str | None = None, turns_max: int | None = None
) -> tuple[IssueEvent, ...]:
    """Read turns in the order in which they were kept; of too many the newest.

    Raises:
        LedgerError: If the ledger can't be read.
    """
    place = parse_address(address)
    columns = tables.event.c
    query = select(tables.event).order_by(columns.batch.desc(), columns.position.desc())
    if target is not None:
        query = query.where(columns.target == target)
    if issue is not None:
        query = query.where(columns.issue == issue)
    if turns_max is not None:
        query = query.limit(turns_max)
    engine = reading_engine(place)
    try:
        with engine.connect() as connection, connection.begin():
            check_schema(connection, place.name)
            rows = connection.execute(query).all()
            return tuple(records.event_of_row(tuple(row[2:])) for row in reversed(rows))
    except LedgerError:
        raise
    except Exception as error:
        raise LedgerError(f"{place.name}: {sentence(error)}") from error
    finally:
        engine.dispose()
