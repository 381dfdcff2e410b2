"""Where the ledger stands, at a start and when a reload adds targets, and whether it agrees with the rules.

Each target's state is its newest checkpoint, plus the fold of all steps stored after it, judged again by the rules
that are stored with them (the configured terms may have changed since; they count from the next second on). What
differs is reported by name and not mended: the state goes on from the stored attempts, and the chain still holds what
was written.

At a start the chain's tail is walked as well, from the newest checkpoint on; `verify` walks all of it. How long a
recovery takes depends on what was written since the checkpoints, and not on how large the ledger is: a target that was
away for a month is not looked for in the month.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from probe.core.controls import Records, hear
from probe.core.engine import TargetState
from probe.core.model import Terms
from probe.ledger import tables
from probe.ledger.read import WINDOW_OF_ONE_S, StoredStep, controls_since, judged_steps, span, steps_in
from probe.ledger.records import state_of_body
from probe.ledger.replay import Difference, fold, stored_rules
from probe.ledger.snapshot import snapshot
from probe.ledger.store import Head, stored_head
from probe.ledger.verify import walk

DIFFERENCES_MAX = 1_000
# At a start the targets whose checkpoints are no further behind the record's end are read together; each other one was
# away, and is read on its own.
TOGETHER_S = 7_200
# Of the controls' record as much is read as makes up their whole memory where most seconds count.
TRUST_READ_S = 1_200


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Where the ledger stands.

    `states` has the targets that the ledger knows: the next second of each is `next_second`; a target that is not in it
    begins anew. `control_records` are made of the last TRUST_READ_S of the record, at a start. `differences` are where
    stored verdicts are not what the rules say; `problems` are where the chain's tail does not hold, and checkpoints
    that cannot be read.
    """

    states: Mapping[str, TargetState]
    control_records: Records
    differences: tuple[Difference, ...]
    problems: tuple[str, ...]
    steps: int
    head: Head


def recover_from(address: str, terms: Mapping[str, Terms], *, check_chain: bool) -> Recovery:
    """Find the state of each target through a connection of its own, which only reads."""
    with snapshot(address) as connection:
        return recover(connection, terms, check_chain=check_chain)


def recover(connection: Connection, terms: Mapping[str, Terms], *, check_chain: bool = True) -> Recovery:
    """Find the state of each target, in the caller's transaction.

    `check_chain` is for a start, with all configured targets: walk the chain's tail too. Without it the targets are
    few among many, and each is read on its own.
    """
    problems: list[str] = []
    head = stored_head(connection)
    states, newest_batch = _checkpoints(connection, terms.keys(), problems)
    if check_chain:
        problems += walk(connection, from_batch=newest_batch or max(1, head.seq)).problems
    differences: list[Difference] = []

    def report(difference: Difference) -> None:
        if len(differences) < DIFFERENCES_MAX:
            differences.append(difference)

    replayed = 0
    rules = stored_rules(connection)
    begun = {target: state.next_second for target, state in states.items()}
    begun.update(_first_seconds(connection, terms.keys() - states.keys()))
    for stored in _unfolded(connection, begun, all_together=check_chain):
        fold(states, stored, rules, report)
        replayed += 1
    return Recovery(
        states=states,
        control_records=_control_records(connection, head.last_second) if check_chain else {},
        differences=tuple(differences),
        problems=tuple(problems),
        steps=replayed,
        head=head,
    )


def _control_records(connection: Connection, last_second: int) -> Records:
    """Hear the controls of the newest part of the record again."""
    found: Records = {}
    for _, outcomes in controls_since(connection, last_second - TRUST_READ_S):
        found, _ = hear(found, outcomes)
    return found


def _checkpoints(
    connection: Connection, targets: Collection[str], problems: list[str]
) -> tuple[dict[str, TargetState], int]:
    """Read each target's newest checkpoint, and tell the newest batch that one stands in; 0 if there is none."""
    states = {}
    newest = 0
    for target in sorted(targets):
        columns = tables.state.c
        query = select(tables.state).where(columns.target == target)
        row = connection.execute(query.order_by(columns.batch.desc(), columns.position.desc()).limit(1)).first()
        if row is None:
            continue
        try:
            states[target] = state_of_body(row.body)
        except ValueError as error:
            problems.append(f"checkpoint {target} (batch {row.batch} #{row.position}): {error}")
            continue
        newest = max(newest, row.batch)
    return states, newest


def _first_seconds(connection: Connection, targets: Collection[str]) -> dict[str, int]:
    """Tell from which second on to look for targets that the ledger knows but has no checkpoint of."""
    known = span(connection)
    if known is None or not targets:
        return {}
    column = tables.rules.c.target
    query = select(column, func.min(tables.batch.c.seq))
    query = query.join_from(tables.rules, tables.batch, tables.batch.c.seq == tables.rules.c.batch, isouter=True)
    batches = connection.execute(query.where(column.in_(sorted(targets))).group_by(column)).all()
    return {target: _first_second(connection, target, batch) or known[0] for target, batch in batches}


def _first_second(connection: Connection, target: str, batch: int | None) -> int | None:
    """Give the first second of a target in the batch that brought its rules; the batch itself may begin long before."""
    if batch is None:
        return None
    columns = tables.verdict.c
    query = select(func.min(columns.second)).where(columns.batch == batch, columns.target == target)
    return connection.execute(query).scalar()


def _unfolded(connection: Connection, begun: Mapping[str, int], *, all_together: bool) -> Iterator[StoredStep]:
    """Read each target's steps from its second on."""
    known = span(connection)
    if known is None:
        return
    together = {target for target, second in begun.items() if all_together and second >= known[1] - TOGETHER_S}
    if together:
        for stored in judged_steps(connection, min(begun[target] for target in together), known[1]):
            if stored.step.target in together and stored.step.second >= begun[stored.step.target]:
                yield stored
    for target in sorted(begun.keys() - together):
        yield from _steps_of_one(connection, target, begun[target])


def _steps_of_one(connection: Connection, target: str, first_second: int) -> Iterator[StoredStep]:
    """Read one target's steps up to the end of its record: where it left, and not where the ledger ends.

    A target's seconds follow each other without a hole; one that was made behind our back is bridged up to a window.
    """
    following: int | None = first_second
    while following is not None:
        window = (following, following + WINDOW_OF_ONE_S - 1)
        following = None
        for stored in steps_in(connection, window, target, whole=False):
            yield stored
            following = max(window[1] + 1, stored.step.second + stored.step.seconds)
