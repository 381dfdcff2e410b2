"""How the daemon itself adds an amendment: looked at, decided and kept in one transaction."""

from collections.abc import Callable

from probe.core.model import Amendment
from probe.ledger.remarks import read_remarks
from probe.ledger.store import Store
from probe.ledger.tables import RemarkKind

Decide = Callable[[tuple[Amendment, ...]], Amendment]


def amend(store: Store, decide: Decide) -> Amendment:
    """Keep the amendment that `decide` makes of those that are kept already, in a batch of its own; give it.

    Nobody else can add one between the look and the keeping. What `decide` raises is raised, and nothing is kept.

    Raises:
        LedgerUnwritable: If it is not known to be kept.
    """
    refusal: Exception | None = None
    amendment: Amendment | None = None
    with store.transaction() as connection:
        try:
            amendment = decide(tuple(read_remarks(connection, RemarkKind.AMENDMENT)))
        except Exception as error:  # noqa: BLE001 - whatever it is: passing through here it would cut the connection
            refusal = error
        else:
            store.append_remarks(connection, [amendment])
    if refusal is not None:
        raise refusal
    store.batch_is_kept()
    assert amendment is not None
    return amendment
