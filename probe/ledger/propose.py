"""How somebody beside the daemon adds to the ledger, though it has one writer.

A proposal is put into the ledger's inbox. The daemon that writes the ledger looks there every second or two and seals
what it finds; where no daemon runs, the proposer takes the right to write for a moment and does it himself.
"""

from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from probe import clock
from probe.core.model import Amendment
from probe.ledger import tables
from probe.ledger.connect import Address, parse_address, writing_engine
from probe.ledger.errors import LedgerError, LedgerUnwritable, sentence
from probe.ledger.remarks import body_of, kind_of
from probe.ledger.snapshot import snapshot
from probe.ledger.store import Store
from probe.ledger.tables import RemarkKind

LOOK_INTERVAL_S = 0.1


def propose(address: str, amendment: Amendment, wait_s: float = 10.0) -> int | None:
    """Add an amendment; return the number of the batch that seals it.

    None means that nobody sealed it within `wait_s`: it lies in the inbox, and the next daemon that writes this ledger
    will.

    Raises:
        LedgerError: If it can't be added, or the ledger holds no seconds yet.
    """
    vantage = _vantage(address)
    _put(parse_address(address), amendment)
    until_us = clock.monotonic_us() + round(wait_s * clock.SECOND_US)
    while True:
        _seal_by_oneself(address, vantage)
        found = _sealed_in(address, amendment.amendment)
        if found is not None or clock.monotonic_us() >= until_us:
            return found
        clock.pause(LOOK_INTERVAL_S)


def _vantage(address: str) -> str:
    """Tell the vantage of a ledger, without touching what may be none."""
    with snapshot(address) as connection:
        newest = select(tables.batch.c.vantage).order_by(tables.batch.c.seq.desc()).limit(1)
        vantage = connection.execute(newest).scalar()
    if vantage is None:
        name = parse_address(address).name
        raise LedgerError(f"{name}: the ledger holds no seconds yet, so there is nothing to amend")
    return str(vantage)


def _put(place: Address, amendment: Amendment) -> None:
    """Put it into the inbox."""
    engine = writing_engine(place)
    row = {"id": amendment.amendment, "kind": str(kind_of(amendment)), "body": body_of(amendment)}
    try:
        with engine.connect() as connection, connection.begin():
            connection.execute(insert(tables.inbox).values(row))
    except IntegrityError as error:
        raise LedgerError(f"{place.name}: amendment {amendment.amendment} is proposed already") from error
    except (DBAPIError, OSError) as error:
        raise LedgerUnwritable(f"{place.name}: {sentence(error)}") from error
    finally:
        engine.dispose()


def _seal_by_oneself(address: str, vantage: str) -> None:
    """Seal the inbox if no daemon holds the ledger; else leave it to that one."""
    store = Store(address, vantage)
    try:
        store.open()
        store.take_inbox()
    except LedgerUnwritable:
        return  # Somebody else is writing, and takes it; or nobody can, and then it waits.
    finally:
        store.close()


def _sealed_in(address: str, name: str) -> int | None:
    with snapshot(address) as connection:
        columns = tables.remark.c
        query = select(columns.batch, columns.body).where(columns.kind == str(RemarkKind.AMENDMENT))
        for row in connection.execute(query.order_by(columns.batch.desc())):
            if f'"amendment":"{name}"' in row.body:
                return int(row.batch)
    return None
