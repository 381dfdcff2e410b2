"""How somebody beside the daemon adds to the ledger, though it has one writer.

A proposal is put into the ledger's inbox. The daemon that writes the ledger looks there every second or two and seals
what it finds; where no daemon runs, the proposer takes the right to write for a moment and does it himself. Either way
it is the writer who decides, and a refusal comes back to the proposer in words.
"""

from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from probe import clock
from probe.core.model import Amendment
from probe.core.procedure import Refused
from probe.ledger import tables
from probe.ledger.connect import Address, parse_address, writing_engine
from probe.ledger.errors import LedgerError, LedgerUnwritable, sentence
from probe.ledger.remarks import Proposal, body_of, kind_of
from probe.ledger.snapshot import snapshot
from probe.ledger.store import Store

LOOK_INTERVAL_S = 0.1


def propose(address: str, remark: Proposal, wait_s: float = 10.0) -> int | None:
    """Add an amendment, or a happening in the life of an issue or a case; return the number of the batch that seals it.

    None means that nobody decided on it within `wait_s`: it lies in the inbox, and the next daemon that writes this
    ledger will.

    Raises:
        Refused: If the procedure does not allow the happening; nothing has changed.
        LedgerError: If it can't be added, or the ledger holds no seconds yet.
    """
    place, vantage = parse_address(address), _vantage(address)
    _put(place, remark)
    until_us = clock.monotonic_us() + round(wait_s * clock.SECOND_US)
    while True:
        _seal_by_oneself(address, vantage)
        found, refusal = _decided(address, remark)
        if refusal:
            _forget(place, name_of(remark))
            raise Refused(refusal)
        if found is not None or clock.monotonic_us() >= until_us:
            return found
        clock.pause(LOOK_INTERVAL_S)


def name_of(remark: Proposal) -> str:
    """Give the id of a proposal."""
    return remark.amendment if isinstance(remark, Amendment) else remark.happening


def _vantage(address: str) -> str:
    """Tell the vantage of a ledger, without touching what may be none."""
    with snapshot(address) as connection:
        newest = select(tables.batch.c.vantage).order_by(tables.batch.c.seq.desc()).limit(1)
        vantage = connection.execute(newest).scalar()
    if vantage is None:
        name = parse_address(address).name
        raise LedgerError(f"{name}: the ledger holds no seconds yet, so there is nothing to amend")
    return str(vantage)


def _put(place: Address, remark: Proposal) -> None:
    """Put it into the inbox."""
    engine = writing_engine(place)
    kind, name = kind_of(remark), name_of(remark)
    row = {"id": name, "kind": str(kind), "body": body_of(remark), "proposed_us": clock.wall_us()}
    try:
        with engine.connect() as connection, connection.begin():
            connection.execute(insert(tables.inbox).values(row))
    except IntegrityError as error:
        raise LedgerError(f"{place.name}: {kind} {name} is proposed already") from error
    except (DBAPIError, OSError) as error:
        raise LedgerUnwritable(f"{place.name}: {sentence(error)}") from error
    finally:
        engine.dispose()


def _forget(place: Address, name: str) -> None:
    """Take a refused proposal out of the inbox; where that fails the writer does it later."""
    engine = writing_engine(place)
    try:
        with engine.connect() as connection, connection.begin():
            connection.execute(delete(tables.inbox).where(tables.inbox.c.id == name))
    except (DBAPIError, OSError):
        return
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


def _decided(address: str, remark: Proposal) -> tuple[int | None, str]:
    """Read the batch that seals a proposal, and why it was refused; None and "" while nobody has decided."""
    inbox, columns = tables.inbox.c, tables.remark.c
    with snapshot(address) as connection:
        refusal = connection.execute(select(inbox.refusal).where(inbox.id == name_of(remark))).scalar()
        same = (columns.kind == str(kind_of(remark))) & (columns.body == body_of(remark))
        batch = connection.execute(select(func.max(columns.batch)).where(same)).scalar()
    return batch, refusal or ""
