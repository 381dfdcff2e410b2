"""At start: where the ledger stands, and whether it agrees with the rules.

Each target's state is its newest checkpoint, plus the fold of all steps stored after it, judged again by the rules
that are stored with them (the configured terms may have changed since; they count from the next second on). What
differs is reported by name and not mended: the state goes on from the stored attempts, and the chain still holds what
was written. The chain's tail, from the oldest checkpoint used, is walked as well.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from probe.core.engine import TargetState
from probe.core.model import Terms
from probe.ledger import tables
from probe.ledger.read import span, steps
from probe.ledger.records import state_of_body
from probe.ledger.replay import Difference, fold, stored_rules
from probe.ledger.store import Head, stored_head
from probe.ledger.verify import walk

DIFFERENCES_MAX = 1_000
# A target whose newest checkpoint is older than the others' by more was away; it is read on its own.
TOGETHER_S = 7_200


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Where the ledger stands.

    `states` has the targets that the ledger knows: the next second of each is `next_second`; a target that is not in it
    begins anew. `differences` are where stored verdicts are not what the rules say; `problems` are where the chain's
    tail does not hold, and checkpoints that cannot be read.
    """

    states: Mapping[str, TargetState]
    differences: tuple[Difference, ...]
    problems: tuple[str, ...]
    steps: int
    head: Head


def recover(connection: Connection, terms: Mapping[str, Terms]) -> Recovery:
    """Find the state of each configured target, in the caller's transaction."""
    problems: list[str] = []
    states, oldest_batch = _checkpoints(connection, terms.keys(), problems)
    problems += walk(connection, from_batch=max(1, oldest_batch)).problems
    differences: list[Difference] = []

    def report(difference: Difference) -> None:
        if len(differences) < DIFFERENCES_MAX:
            differences.append(difference)

    replayed = 0
    rules = stored_rules(connection)
    begun = {target: state.next_second for target, state in states.items()}
    begun.update(_first_seconds(connection, terms.keys() - states.keys()))
    for targets, first, alone in _passes(begun):
        for stored in steps(connection, first, _last_second(connection), alone):
            target = stored.step.target
            if target in targets and stored.step.second >= begun[target]:
                fold(states, stored, rules, report)
                replayed += 1
    return Recovery(
        states=states,
        differences=tuple(differences),
        problems=tuple(problems),
        steps=replayed,
        head=stored_head(connection),
    )


def _checkpoints(
    connection: Connection, targets: Collection[str], problems: list[str]
) -> tuple[dict[str, TargetState], int]:
    """Read each target's newest checkpoint, and tell the oldest batch that one of them stands in."""
    states = {}
    oldest = 0
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
        oldest = min(oldest or row.batch, row.batch)
    return states, oldest


def _first_seconds(connection: Connection, targets: Collection[str]) -> dict[str, int]:
    """Tell from which second on to look for targets that the ledger knows but has no checkpoint of."""
    known = span(connection)
    if known is None or not targets:
        return {}
    column = tables.rules.c.target
    query = select(column, func.min(tables.batch.c.first_second))
    query = query.join_from(tables.rules, tables.batch, tables.batch.c.seq == tables.rules.c.batch, isouter=True)
    found = connection.execute(query.where(column.in_(sorted(targets))).group_by(column))
    return {row[0]: known[0] if row[1] is None else row[1] for row in found}


def _passes(begun: Mapping[str, int]) -> list[tuple[Collection[str], int, str | None]]:
    """Read the targets that stand close to each other in one pass, and each other one alone."""
    if not begun:
        return []
    newest = max(begun.values())
    together = {target for target, second in begun.items() if second >= newest - TOGETHER_S}
    first = min(begun[target] for target in together)
    alone = sorted(begun.keys() - together)
    return [(together, first, None), *[((target,), begun[target], target) for target in alone]]


def _last_second(connection: Connection) -> int:
    known = span(connection)
    return 0 if known is None else known[1]
