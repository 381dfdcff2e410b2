"""The life of a Critical Issue: what may happen in it, what may not, and what is left as it was."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from probe.core.happenings import Act, Happening, Party, Procedure, Stage, named
from probe.core.procedure import HAPPENINGS_MAX, Refused, after, begin, fold, told

S = 1_000_000
OPENED = 1_000 * S
NOTICED = 1_060 * S


def happening(act: Act, at_s: int, **more: Any) -> Happening:
    """Make something that happened, recorded at once."""
    fields = {"recorded_us": at_s * S, "actor": "nina", **more}
    return named(Happening(target="main", issue="main-1", act=act, at_us=at_s * S, **fields))


def seen(act: Act, at_s: int) -> Happening:
    """Make something that the program saw."""
    return happening(act, at_s, actor="sev1probe")


OPENING = replace(seen(Act.OPENED, 1_000), recorded_us=NOTICED)
CALLED = happening(Act.LINE_CALLED, 1_100, spoken_to="Ana", reference="CASE-1")
CALLED_BACK = happening(Act.CALLED_BACK, 1_200, spoken_to="Ben")
RESTORED = seen(Act.RESTORED, 1_300)


def agreed(party: Party, at_s: int) -> Happening:
    """Make an agreement."""
    return happening(Act.AGREED, at_s, party=party)


BOTH = (agreed(Party.CUSTOMER, 1_400), agreed(Party.PROVIDER, 1_500))
RECLASSIFIED = happening(Act.RECLASSIFIED, 1_400, words="our own firewall")


def test_a_whole_life_ends_when_both_sides_agree() -> None:
    """Restored is not resolved; resolved is since the later of the two agreements."""
    update = happening(Act.UPDATED, 1_250, words="found it", next_update_us=2_000 * S)
    life = (OPENING, CALLED, CALLED_BACK, update, RESTORED)
    stages = [fold(life[:length]).stage for length in range(1, 6)]
    assert stages == [Stage.OPEN] * 4 + [Stage.RESTORED]
    assert fold((*life, BOTH[0])).stage is Stage.RESTORED

    state = fold((*life, *BOTH))

    assert (state.stage, state.resolved_us, state.revision) == (Stage.RESOLVED, 1_500 * S, 7)
    assert (state.noticed_us, state.line_called_us, state.called_back_us) == (NOTICED, 1_100 * S, 1_200 * S)
    assert (state.last_update_us, state.next_update_us, state.references) == (1_250 * S, 2_000 * S, ("CASE-1",))


def test_a_relapse_takes_back_what_one_side_agreed_to() -> None:
    """Both have to agree anew once the service is restored again."""
    state = fold((OPENING, RESTORED, BOTH[0], seen(Act.RELAPSED, 1_450)))
    assert (state.stage, state.agreed, state.relapses) == (Stage.OPEN, (), 1)


def test_a_disagreement_is_seen_until_that_side_agrees() -> None:
    """It stands beside the other side's agreement."""
    no = happening(Act.DISAGREED, 1_450, party=Party.PROVIDER, words="mail still queues")
    state = fold((OPENING, RESTORED, BOTH[0], no))
    assert (state.stage, state.disagreed) == (Stage.DISAGREED, (Party.PROVIDER,))
    assert told(state, BOTH[1]).stage is Stage.RESOLVED


def test_what_is_told_late_has_its_true_time() -> None:
    """The first call back is the earliest, and a late update moves nothing that a later one promised."""
    later = happening(Act.UPDATED, 1_900, words="b", next_update_us=3_000 * S)
    late = replace(CALLED_BACK, at_us=1_150 * S, recorded_us=2_000 * S, next_update_us=1_300 * S)
    state = fold((OPENING, CALLED, CALLED_BACK, later, late))
    assert (state.called_back_us, state.last_update_us, state.next_update_us) == (1_150 * S, 1_900 * S, 3_000 * S)


def test_without_a_line_the_case_is_what_is_answered() -> None:
    """Where a Support Case was submitted or the TAM called, the provider may call back as well."""
    case = happening(Act.CASE_SUBMITTED, 1_100, reference="4711")
    tam = happening(Act.ESCALATED, 1_150, spoken_to="the TAM")
    state = fold((OPENING, case, tam, CALLED_BACK))
    assert (state.cases, state.asked_us, state.escalated_us) == (("4711",), 1_100 * S, 1_150 * S)


REFUSALS: list[tuple[tuple[Happening, ...], Happening, str]] = [
    ((), OPENING, "nobody can tell it"),
    ((), RESTORED, "nobody can tell it"),
    ((RESTORED,), seen(Act.RELAPSED, 1_400), "nobody can tell it"),
    ((), replace(CALLED, actor="sev1probe"), "say who records this"),
    ((), replace(CALLED, actor=" "), "say who records this"),
    ((), replace(CALLED, at_us=999 * S), "the call can't have happened before main-1 began"),
    ((), replace(CALLED, at_us=1_101 * S), "the call can't be recorded before it happened"),
    ((), replace(CALLED, words="x" * 2_001), "more than 2,000 characters"),
    ((), replace(CALLED, spoken_to="x" * 201), "more than 200 characters"),
    ((), replace(CALLED, words="a\nb"), "a line break or a control character"),
    ((), replace(CALLED, reference="\ud800"), "a line break or a control character"),
    ((), replace(CALLED, party=Party.PROVIDER), "line_called has no party"),
    ((), replace(CALLED, next_update_us=2_000 * S), "only a call back or an update promises"),
    ((), replace(CALLED, seen_revision=2), "somebody was faster: main-1 is at revision 1"),
    ((), CALLED_BACK, "nobody has called the provider about main-1 yet"),
    ((CALLED,), replace(CALLED_BACK, at_us=1_099 * S), "can't have come before the call about main-1"),
    ((CALLED,), replace(CALLED_BACK, next_update_us=1_200 * S), "can't be due before this one"),
    ((), happening(Act.UPDATED, 1_100), "an update says something"),
    ((), BOTH[0], "not restored in main-1 yet"),
    ((), happening(Act.DISAGREED, 1_400, party=Party.PROVIDER, words="no"), "not restored in main-1 yet"),
    ((RESTORED,), agreed(Party.CUSTOMER, 1_299), "before the service was restored"),
    ((RESTORED,), happening(Act.AGREED, 1_400), "agreed needs a party"),
    ((RESTORED,), happening(Act.DISAGREED, 1_400, party=Party.PROVIDER), "says what is still wrong"),
    ((RESTORED, BOTH[0]), agreed(Party.CUSTOMER, 1_450), "the customer has agreed already"),
    ((RESTORED,), happening(Act.WITHDRAWN, 1_400, party=Party.CUSTOMER), "nothing to withdraw"),
    ((RESTORED, *BOTH), happening(Act.WITHDRAWN, 1_600, party=Party.CUSTOMER), "is resolved, as both sides agreed"),
    ((RESTORED, *BOTH), replace(CALLED, at_us=1_100 * S), "is resolved, as both sides agreed"),
    ((), replace(RECLASSIFIED, words=" "), "with a reason or not at all"),
    ((RECLASSIFIED,), CALLED, "was reclassified and is no Critical Issue any more"),
]


@pytest.mark.parametrize(("before", "refused", "sentence"), REFUSALS)
def test_what_the_procedure_does_not_allow_is_refused_in_words(
    before: tuple[Happening, ...], refused: Happening, sentence: str
) -> None:
    """The refusal says why, and the state is what it was."""
    state = fold((OPENING, *before))
    kept = replace(state)
    with pytest.raises(Refused, match=sentence):
        told(state, refused)
    assert state == kept


@pytest.mark.parametrize(
    ("before", "refused", "sentence"),
    [
        ((), OPENING, "main-1 is open already"),
        ((RESTORED,), seen(Act.RESTORED, 1_310), "restored already"),
        ((), seen(Act.RELAPSED, 1_400), "was not restored in main-1"),
    ],
)
def test_the_program_too_can_say_only_what_fits(
    before: tuple[Happening, ...], refused: Happening, sentence: str
) -> None:
    """A turn that does not follow is refused like everything else."""
    with pytest.raises(Refused, match=sentence):
        after(fold((OPENING, *before)), refused)


def test_an_issue_has_a_bounded_life() -> None:
    """Whoever fills the ledger by a loop is stopped."""
    state = replace(fold((OPENING,)), revision=HAPPENINGS_MAX)
    with pytest.raises(Refused, match="the most that is kept"):
        told(state, CALLED)


class NaiveIssue:
    """The contract's sentences, one flag each, with none of the fold's arithmetic."""

    def __init__(self) -> None:
        self.up = self.asked = self.reclassified = False
        self.yes: set[Party] = set()
        self.no: set[Party] = set()

    @property
    def stage(self) -> Stage:
        """Say where it stands."""
        if self.reclassified:
            return Stage.RECLASSIFIED
        if self.yes == set(Party):
            return Stage.RESOLVED
        return Stage.DISAGREED if self.no else Stage.RESTORED if self.up else Stage.OPEN

    def allows(self, act: Act, party: Party | None) -> bool:
        """Say whether an act may come now."""
        if self.stage in (Stage.RESOLVED, Stage.RECLASSIFIED):
            return False
        answers: dict[Act, Callable[[], bool]] = {
            Act.OPENED: lambda: False,
            Act.RESTORED: lambda: not self.up,
            Act.RELAPSED: lambda: self.up,
            Act.CALLED_BACK: lambda: self.asked,
            Act.AGREED: lambda: self.up and party not in self.yes,
            Act.WITHDRAWN: lambda: party in self.yes,
            Act.DISAGREED: lambda: self.up,
        }
        return answers.get(act, lambda: True)()

    def do(self, act: Act, party: Party | None) -> None:
        """Take an act in."""
        self.asked |= act in (Act.LINE_CALLED, Act.CASE_SUBMITTED, Act.ESCALATED)
        self.reclassified |= act is Act.RECLASSIFIED
        if act in (Act.RESTORED, Act.RELAPSED):
            self.up = act is Act.RESTORED
        if act is Act.RELAPSED:
            self.yes, self.no = set(), set()
        if party is not None:
            self.yes.discard(party)
            self.no.discard(party)
            {Act.AGREED: self.yes, Act.DISAGREED: self.no, Act.WITHDRAWN: set[Party]()}[act].add(party)


class IssueMachine(RuleBasedStateMachine):
    """Tries every act in every state, in the fold and in the naive model."""

    @initialize()
    def open(self) -> None:
        """Begin."""
        self.naive = NaiveIssue()
        self.state: Procedure = begin(OPENING)
        self.life = [OPENING]
        self.now_s = 1_100

    @rule(act=st.sampled_from(sorted(set(Act) - {Act.RECLASSIFIED})), party=st.sampled_from(sorted(Party)))
    def happen(self, act: Act, party: Party) -> None:
        """Try an act."""
        self._try(act, party)

    @precondition(lambda self: self.now_s % 5 == 0)  # Rarely, or few lives would come to anything else.
    @rule()
    def reclassify(self) -> None:
        """Try to end it so."""
        self._try(Act.RECLASSIFIED, Party.CUSTOMER)

    def _try(self, act: Act, party: Party) -> None:
        self.now_s += 1
        of = party if act in (Act.AGREED, Act.WITHDRAWN, Act.DISAGREED) else None
        new = happening(act, self.now_s, party=of, words="why")
        before = self.state
        if self.naive.allows(act, of):
            self.state = after(before, new)
            self.life.append(new)
            self.naive.do(act, of)
        else:
            with pytest.raises(Refused):
                after(before, new)
            assert self.state == before

    @invariant()
    def agree(self) -> None:
        """The two stand at the same place, and so does a fold from the beginning."""
        assert self.state.stage is self.naive.stage
        assert fold(self.life) == self.state
        assert self.state.revision == len(self.life)


IssueMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
test_every_life_is_what_the_naive_model_says = IssueMachine.TestCase
