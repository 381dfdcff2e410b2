"""The evidence of an issue, as the ledger has it."""

from probe.core.evidence import Evidence, gather
from probe.core.model import Statement
from probe.ledger.read import span, steps
from probe.ledger.remarks import read_remarks
from probe.ledger.snapshot import snapshot
from probe.ledger.tables import RemarkKind

READ_S_MAX = 3_600  # from an issue's beginning on; an hour says all that a caller can say
STATEMENTS_BACK_S = 90_000  # the body of a page is kept again within a day


def evidence_of(address: str, target: str, first_second: int, last_second: int | None = None) -> Evidence | None:
    """Gather what the record shows of a target since a second, of an hour at most; None if it shows nothing.

    Raises:
        LedgerError: If the ledger can't be read.
    """

    with snapshot(address) as connection:
        known = span(connection)
        if known is None:
            return None
        end = min(known[1] if last_second is None else last_second, first_second + READ_S_MAX - 1)
        found = gather(target, ((one.step, one.controls) for one in steps(connection, first_second, end, target)))
        return found if found.first_second else None


def statements_of(address: str, until_second: int) -> tuple[Statement, ...]:
    """Read what the status pages said in the day before a second.

    Raises:
        LedgerError: If the ledger can't be read.
    """
    since = until_second - STATEMENTS_BACK_S
    with snapshot(address) as connection:
        return tuple(read_remarks(connection, RemarkKind.STATEMENT, since, until_second))
