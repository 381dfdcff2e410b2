"""From the ledger's order of things to the lives of issues: what the program saw and what people told, folded together.

An issue that opens while the one before it is not over is no new one: it is a relapse of that one, since the two sides
have not agreed that it was resolved. The engine, which knows nothing of agreements, has given it a name of its own;
that name leads to the same life from then on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from probe.core.happenings import PROGRAM, Act, Happening, Procedure
from probe.core.model import IssueEvent, IssueTurn
from probe.core.procedure import Refused, after, begin, told

SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One issue. `names` are all ids that lead to it, its own first.

    `unfitting` is what the record holds for it and today's procedure does not allow, each with the refusal: nothing
    that was sealed is passed over in silence.
    """

    procedure: Procedure
    names: tuple[str, ...]
    happenings: tuple[Happening, ...]
    unfitting: tuple[tuple[Happening, str], ...] = ()

    @property
    def issue(self) -> str:
        """Give its own id."""
        return self.procedure.issue

    @property
    def target(self) -> str:
        """Name the target."""
        return self.procedure.target


Lives = Mapping[str, Life]
NO_LIVES: Final[Lives] = {}


def lives_of(entries: Iterable[IssueEvent | Happening]) -> Lives:
    """Fold the turns and happenings of one target, in the ledger's order, to its lives, by every id that leads to one.

    A turn or a happening whose opening is not among them (retention has cut it) is passed over.
    """
    lives: dict[str, Life] = {}
    newest = ""
    for entry in entries:
        if isinstance(entry, Happening):
            life = lives.get(entry.issue)
            if life is not None:
                _put(lives, _on(life, entry))
        elif entry.turn is IssueTurn.RESTORED:
            life = lives.get(entry.issue)
            # Restored again within a life that is over, or was: then the record has it, and the procedure needs it not.
            if life is not None and not life.procedure.is_over and not life.procedure.restored_us:
                _put(lives, _on(life, _seen(life, entry, Act.RESTORED)))
        else:
            _put(lives, _opened(lives.get(newest), entry))
            newest = entry.issue
    return lives


def distinct(lives: Lives) -> tuple[Life, ...]:
    """List the lives, each once, in the order in which they began."""
    return tuple(life for name, life in lives.items() if name == life.issue)


def add(life: Life, happening: Happening) -> Life:
    """Go on by what somebody tells of an issue, by whichever of its ids.

    Raises:
        Refused: If it is not allowed; the life is as it was.
    """
    of_this = replace(happening, issue=life.issue)
    if happening.target != life.target:
        raise Refused(f"{life.issue} is an issue of {life.target}, not of {happening.target}")
    if any(known.happening == happening.happening for known in life.happenings if known.happening):
        raise Refused(f"{happening.happening} is recorded already")
    return _grown(life, told(life.procedure, of_this), of_this)


def _opened(before: Life | None, event: IssueEvent) -> Life:
    """Begin a life, or go on with the one before."""
    if before is None or before.procedure.is_over:
        opening = _happening(event, event.issue, Act.OPENED)
        return Life(procedure=begin(opening), names=(event.issue,), happenings=(opening,))
    known = replace(before, names=(*before.names, event.issue))
    # Without a restoration in between nothing has changed for people: it is the same outage under another name.
    return _on(known, _seen(known, event, Act.RELAPSED)) if known.procedure.restored_us else known


def _on(life: Life, happening: Happening) -> Life:
    of_this = replace(happening, issue=life.issue)
    try:
        return _grown(life, after(life.procedure, of_this), of_this)
    except Refused as refusal:
        return replace(life, unfitting=(*life.unfitting, (of_this, str(refusal))))


def _grown(life: Life, procedure: Procedure, happening: Happening) -> Life:
    return replace(life, procedure=procedure, happenings=(*life.happenings, happening))


def _seen(life: Life, event: IssueEvent, act: Act) -> Happening:
    return _happening(event, life.issue, act)


def _happening(event: IssueEvent, issue: str, act: Act) -> Happening:
    """Say of a turn what it is in an issue's life."""
    return Happening(
        target=event.target,
        issue=issue,
        act=act,
        at_us=event.since_second * SECOND_US,
        recorded_us=event.noticed_second * SECOND_US,
        actor=PROGRAM,
    )


def _put(lives: dict[str, Life], life: Life) -> None:
    lives.update(dict.fromkeys(life.names, life))
