"""Support Cases, as the ledger has them."""

from sqlalchemy import Connection, select

from probe.core.case_happenings import Cases
from probe.core.cases import cases_of
from probe.ledger import tables
from probe.ledger.remarks import remark_of_body
from probe.ledger.snapshot import snapshot
from probe.ledger.tables import RemarkKind


def cases_in(address: str) -> Cases:
    """Read the cases of all targets, by id, in the order in which they began.

    Raises:
        LedgerError: If the ledger can't be read.
    """
    with snapshot(address) as connection:
        return read_cases(connection)


def read_cases(connection: Connection, target: str | None = None) -> Cases:
    """Read the same in the caller's transaction, of one target or of all."""
    columns = tables.remark.c
    query = select(columns.kind, columns.body).where(columns.kind == str(RemarkKind.CASE))
    if target is not None:
        query = query.where(columns.target == target)
    rows = connection.execute(query.order_by(columns.batch, columns.position))
    return cases_of(remark_of_body(row.kind, row.body) for row in rows)
