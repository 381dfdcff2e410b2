"""What the one writer does with what others propose: read it, decide on it, and say why not.

A happening in the life of an issue or a case is decided here, in the same transaction that seals it, by the life as the
ledger has it then. So of two people who act at once the second one is judged by what the first one did.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from probe.core.case_happenings import Case, CaseHappening
from probe.core.cases import add_case
from probe.core.happenings import PROGRAM, Happening
from probe.core.lives import Life, add
from probe.core.model import Amendment
from probe.core.procedure import Refused
from probe.ledger import tables
from probe.ledger.cases import read_cases
from probe.ledger.lives import read_lives
from probe.ledger.remarks import Proposal, proposal_of_body

TAKEN_MAX = 100  # at once
REFUSALS_KEPT_US = 3_600_000_000  # for proposers that never came back to read them
SECOND_MAX = 253_402_300_799  # the end of the year 9999
AHEAD_US_MAX = 60_000_000  # of the writer's clock, on the host of whoever proposes


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What becomes of the proposals: their rows' ids, and what is to be sealed."""

    accepted: Sequence[tuple[str, Proposal]]
    refused: Sequence[tuple[str, str]]

    @property
    def remarks(self) -> tuple[Proposal, ...]:
        """List what is to be sealed, in order."""
        return tuple(proposal for _, proposal in self.accepted)


def decide(connection: Connection, now_us: int) -> Decided:
    """Read what is proposed, oldest first, and decide on it; what this program can't read is left lying."""
    columns = tables.inbox.c
    query = select(tables.inbox).where(columns.refusal.is_(None)).order_by(columns.proposed_us, columns.id)
    accepted: list[tuple[str, Proposal]] = []
    refused: list[tuple[str, str]] = []
    lives: dict[str, dict[str, Life]] = {}
    cases: dict[str, dict[str, Case]] = {}
    for row in connection.execute(query.limit(TAKEN_MAX)).all():
        try:
            proposal = proposal_of_body(row.kind, row.body)
        except ValueError:
            continue
        try:
            if isinstance(proposal, Happening):
                _live_on(connection, lives, proposal, now_us)
            elif isinstance(proposal, CaseHappening):
                _case_on(connection, cases, proposal, now_us)
            else:
                _refuse_no_window(proposal)
        except Refused as refusal:
            refused.append((row.id, _storable(str(refusal))))
        else:
            accepted.append((row.id, proposal))
    return Decided(accepted=accepted, refused=refused)


def settle(connection: Connection, decided: Decided, now_us: int) -> None:
    """Clear what was accepted away, write down why what was refused was, and forget what nobody came to read."""
    columns = tables.inbox.c
    gone = [name for name, _ in decided.accepted]
    if gone:
        connection.execute(delete(tables.inbox).where(columns.id.in_(gone)))
    for name, why in decided.refused:
        connection.execute(update(tables.inbox).where(columns.id == name).values(refusal=why))
    old = columns.refusal.is_not(None) & (columns.proposed_us < now_us - REFUSALS_KEPT_US)
    if connection.execute(select(columns.id).where(old).limit(1)).first() is not None:
        connection.execute(delete(tables.inbox).where(old))


def _live_on(connection: Connection, lives: dict[str, dict[str, Life]], told: Happening, now_us: int) -> None:
    """Let a life go on by what is told, so that the next one in the same inbox sees it.

    Raises:
        Refused: If it may not.
    """
    _refuse_the_future(told, now_us)
    if told.target not in lives:
        lives[told.target] = dict(read_lives(connection, _storable(told.target)).get(told.target, {}))
    of_target = lives[told.target]
    life = of_target.get(told.issue)
    if life is None:
        raise Refused(f"the record knows no issue {told.issue} of {told.target}; `sev1probe issue list` lists them")
    grown = add(life, told)
    of_target.update(dict.fromkeys(grown.names, grown))


def _case_on(connection: Connection, cases: dict[str, dict[str, Case]], told: CaseHappening, now_us: int) -> None:
    """Let a case begin or go on, likewise.

    Raises:
        Refused: If it may not.
    """
    _refuse_the_future(told, now_us)
    if told.target not in cases:
        cases[told.target] = dict(read_cases(connection, _storable(told.target)))
    of_target = cases[told.target]
    if told.actor == PROGRAM:  # It drafts in the daemon, by itself; what lies in the inbox came from somebody else.
        raise Refused("the actor is the program itself; say who records this")
    of_target[told.case] = add_case(of_target, told)


def _refuse_no_window(amendment: Amendment) -> None:
    """Refuse what no database could keep; whether the window makes sense was for the proposer to say."""
    is_target = amendment.target == _storable(amendment.target)
    if not is_target or not 0 <= amendment.first_second <= amendment.last_second <= SECOND_MAX:
        raise Refused("there is no such target or no such window")


def _refuse_the_future(told: Happening | CaseHappening, now_us: int) -> None:
    if not 0 <= told.recorded_us <= now_us + AHEAD_US_MAX:
        raise Refused("it is recorded at a time that has not come yet; is the clock of this host right?")


def _storable(text: str) -> str:
    """Replace what a database cannot hold: a proposal with such text must be refused, and not hold up all others."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
