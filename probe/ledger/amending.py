"""How the daemon itself adds what people tell: looked at, decided and kept in one transaction."""

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from sqlalchemy import Connection

from probe.core.case_happenings import CaseHappening, Cases
from probe.core.cases import add_case
from probe.core.happenings import Happening
from probe.core.lives import Lives
from probe.core.model import Amendment
from probe.ledger.cases import read_cases
from probe.ledger.lives import read_lives
from probe.ledger.remarks import Proposal, read_remarks
from probe.ledger.store import Store
from probe.ledger.tables import RemarkKind

Decide = Callable[[tuple[Amendment, ...]], Amendment]
Tell = Callable[[Mapping[str, Lives]], Happening]
TellCase = Callable[[Cases], CaseHappening]
Draft = Callable[[Cases], CaseHappening | None]
P = TypeVar("P", bound=Proposal | None)


def amend(store: Store, decide: Decide) -> Amendment:
    """Keep the amendment that `decide` makes of those that are kept already, in a batch of its own; give it.

    Nobody else can add one between the look and the keeping. What `decide` raises is raised, and nothing is kept.

    Raises:
        LedgerUnwritable: If it is not known to be kept.
    """
    return _keep(store, lambda connection: decide(tuple(read_remarks(connection, RemarkKind.AMENDMENT))))


def tell(store: Store, decide: Tell) -> Happening:
    """Keep the happening that `decide` makes of the lives as they are, likewise.

    Raises:
        LedgerUnwritable: If it is not known to be kept.
    """
    return _keep(store, lambda connection: decide(read_lives(connection)))


def tell_case(store: Store, decide: TellCase) -> CaseHappening:
    """Keep the happening that `decide` makes of the cases as they are, likewise.

    Raises:
        LedgerUnwritable: If it is not known to be kept.
    """
    return _keep(store, lambda connection: decide(read_cases(connection)))


def draft(store: Store, target: str, decide: Draft) -> CaseHappening | None:
    """Keep what `decide` makes of the cases of a target as they are, if anything, likewise.

    Raises:
        Refused: If the rules of cases do not allow it.
        LedgerUnwritable: If it is not known to be kept.
    """

    def allowed(connection: Connection) -> CaseHappening | None:
        cases = read_cases(connection, target)
        decided = decide(cases)
        if decided is not None:
            add_case(cases, decided)
        return decided

    return _keep(store, allowed)


def _keep(store: Store, decide: Callable[[Connection], P]) -> P:
    refusal: Exception | None = None
    decided: P | None = None
    with store.transaction() as connection:
        try:
            decided = decide(connection)
        except Exception as error:  # noqa: BLE001 - whatever it is: passing through here it would cut the connection
            refusal = error
        else:
            if decided is not None:
                store.append_remarks(connection, [decided])
    if refusal is not None:
        raise refusal
    store.batch_is_kept()
    return cast(P, decided)
