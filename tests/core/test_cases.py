"""Support Cases: what may happen in which order, and what is refused in words."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from probe.core.case_happenings import WITH_PARTY, Case, CaseAct, CaseHappening, CaseKind, CaseStage, Way, named_case
from probe.core.cases import EVIDENCE_S_MAX, cases_of, tell_case
from probe.core.happenings import Party
from probe.core.procedure import Refused

S = 1_000_000


def beginning(act: CaseAct = CaseAct.OPENED, **more: Any) -> CaseHappening:
    """Make the happening that begins a case, at the second 1,000."""
    fields = {"kind": CaseKind.SOFTWARE_BUG, "title": "421 now and then", "at_us": 1_000 * S, **more}
    return named_case(
        CaseHappening(**{"target": "main", "act": act, "recorded_us": 1_000 * S, "actor": "nina", **fields})
    )


OPENED = beginning()
DRAFTED = beginning(CaseAct.DRAFTED)


def told(act: CaseAct, at_s: int, **more: Any) -> CaseHappening:
    """Make what happens in the case that OPENED begins."""
    fields = {"case": OPENED.case, "words": "so it was", "recorded_us": at_s * S, **more}
    return named_case(CaseHappening(**{"target": "main", "act": act, "at_us": at_s * S, "actor": "nina", **fields}))


def replied(at_s: int, party: Party = Party.PROVIDER, **more: Any) -> CaseHappening:
    """Make a reply."""
    return told(CaseAct.REPLIED, at_s, party=party, **more)


SUBMITTED = told(CaseAct.SUBMITTED, 1_100, way=Way.DASHBOARD, reference="4711")
AGREED = told(CaseAct.AGREED, 1_300, party=Party.PROVIDER)


def folded(*happenings: CaseHappening) -> Case:
    """Fold them, of which all must be allowed."""
    case: Case | None = None
    for happening in happenings:
        case = tell_case(case, happening)
    assert case is not None
    return case


def test_a_case_goes_from_its_opening_to_the_resolution_that_both_agree_on() -> None:
    """Each stage is reached by one happening, and one side alone resolves nothing."""
    steps = [
        (OPENED, CaseStage.OPEN),
        (SUBMITTED, CaseStage.SUBMITTED),
        (replied(1_150, Party.CUSTOMER), CaseStage.SUBMITTED),
        (replied(1_200, reference="R-1"), CaseStage.ANSWERED),
        (told(CaseAct.UPDATED, 1_250), CaseStage.ANSWERED),
        (told(CaseAct.ESCALATED, 1_260, spoken_to="Terry"), CaseStage.ANSWERED),
        (AGREED, CaseStage.ANSWERED),
        (told(CaseAct.TAKEN_BACK, 1_310, party=Party.PROVIDER), CaseStage.ANSWERED),
        (told(CaseAct.AGREED, 1_320, party=Party.CUSTOMER), CaseStage.ANSWERED),
        (told(CaseAct.AGREED, 1_330, party=Party.PROVIDER), CaseStage.RESOLVED),
    ]
    case: Case | None = None
    for happening, stage in steps:
        case = tell_case(case, happening)
        assert case.stage is stage
    assert case is not None
    assert (case.resolved_us, case.references, case.revision) == (1_330 * S, ("4711", "R-1"), len(steps))


def test_a_draft_is_opened_before_it_is_submitted_or_is_withdrawn() -> None:
    """A draft is nobody's word yet."""
    draft = folded(DRAFTED)
    assert draft.stage is CaseStage.DRAFT
    submission = replace(SUBMITTED, case=draft.case)
    with pytest.raises(Refused, match="is a draft"):
        tell_case(draft, submission)
    opened = tell_case(draft, replace(told(CaseAct.OPENED, 1_050), case=draft.case))
    assert tell_case(opened, submission).stage is CaseStage.SUBMITTED
    assert tell_case(draft, replace(told(CaseAct.WITHDRAWN, 1_050), case=draft.case)).stage is CaseStage.WITHDRAWN


REFUSALS: list[tuple[tuple[CaseHappening, ...], CaseHappening, str]] = [
    ((), SUBMITTED, "the record knows no case case-"),
    ((), replace(OPENED, kind=None), "its kind and a title"),
    ((), replace(OPENED, title=" "), "its kind and a title"),
    ((), replace(OPENED, case="4711"), "not named as cases are"),
    ((), replace(OPENED, seen_revision=1), "no revision yet"),
    ((), replace(OPENED, first_second=900, last_second=899), "ends before it begins"),
    ((), replace(OPENED, first_second=0, last_second=9), "ends before it begins"),
    ((), replace(OPENED, first_second=900, last_second=1_001), "has not happened yet"),
    ((), replace(OPENED, first_second=1, last_second=1 + EVIDENCE_S_MAX), "3,600 seconds at most"),
    ((), replace(OPENED, at_us=1_001 * S), "before it happened"),
    ((), replace(OPENED, at_us=0), "before it happened"),
    ((), replace(OPENED, actor="sev1probe"), "the actor is empty or the program itself"),
    ((), replace(OPENED, words="x" * 2_001), "more than 2,000 characters"),
    ((), replace(OPENED, title="x" * 201), "more than 200 characters"),
    ((), replace(OPENED, title="a\nBcc: b"), "a line break"),
    ((), replace(OPENED, party=Party.CUSTOMER), "has no party"),
    ((), replace(OPENED, way=Way.MAIL), "a submission, and nothing else"),
    ((OPENED,), beginning(CaseAct.DRAFTED), "is there already"),
    ((OPENED,), told(CaseAct.OPENED, 1_001), "is there already, and open"),
    ((OPENED,), replace(SUBMITTED, target="other"), "is a case of main, not of other"),
    ((OPENED,), replace(SUBMITTED, reference=""), "the dashboard's number"),
    ((OPENED,), replace(SUBMITTED, way=None), "a submission, and nothing else"),
    ((OPENED,), replace(SUBMITTED, title="new"), "were said when it began"),
    ((OPENED,), replace(SUBMITTED, seen_revision=7), "is at revision 1 by now, not at 7"),
    ((OPENED,), told(CaseAct.WITHDRAWN, 1_100, words=""), "a withdrawal says why"),
    ((OPENED,), told(CaseAct.WITHDRAWN, 999), "before case-.* began"),
    ((OPENED,), replied(1_200), "is not submitted yet"),
    ((OPENED,), AGREED, "is not submitted yet"),
    ((OPENED, SUBMITTED), SUBMITTED, "is recorded already"),
    ((OPENED, SUBMITTED), told(CaseAct.SUBMITTED, 1_120, way=Way.MAIL, reference="m"), "submitted already, as 4711"),
    ((OPENED, SUBMITTED), replied(1_099, recorded_us=1_200 * S), "before case-.* was submitted"),
    ((OPENED, SUBMITTED), replied(1_200, words=" "), "write down what was said"),
    ((OPENED, SUBMITTED), replied(1_200, Party.CUSTOMER, next_update_us=1_300 * S), "only a reply or an update"),
    ((OPENED, SUBMITTED), replied(1_200, next_update_us=1_200 * S), "can't be due before this one"),
    ((OPENED, SUBMITTED), replace(AGREED, party=None), "needs a party"),
    ((OPENED, SUBMITTED), told(CaseAct.TAKEN_BACK, 1_300, party=Party.PROVIDER), "nothing to take back"),
    ((OPENED, SUBMITTED, AGREED), told(CaseAct.AGREED, 1_301, party=Party.PROVIDER), "has agreed already"),
    (
        (OPENED, SUBMITTED, AGREED, told(CaseAct.AGREED, 1_301, party=Party.CUSTOMER)),
        told(CaseAct.TAKEN_BACK, 1_302, party=Party.CUSTOMER),
        "is resolved, as both sides agreed",
    ),
    ((OPENED, told(CaseAct.WITHDRAWN, 1_050)), SUBMITTED, "was withdrawn"),
]


@pytest.mark.parametrize(("before", "refused", "sentence"), REFUSALS)
def test_what_is_not_allowed_is_refused_in_words(
    before: tuple[CaseHappening, ...], refused: CaseHappening, sentence: str
) -> None:
    """The case stays as it is, and who tells it hears why."""
    case = folded(*before) if before else None
    with pytest.raises(Refused, match=sentence):
        tell_case(case, refused)


def test_what_the_record_holds_and_the_rules_refuse_is_shown() -> None:
    """Nothing that was sealed is passed over in silence, but for what lacks its beginning."""
    (case,) = cases_of([OPENED, AGREED, SUBMITTED]).values()
    assert case.stage is CaseStage.SUBMITTED
    ((unfitting, why),) = case.unfitting
    assert (unfitting, "is not submitted yet" in why) == (AGREED, True)
    assert cases_of([SUBMITTED, AGREED]) == {}


ACTS = [
    DRAFTED,
    OPENED,
    replace(told(CaseAct.OPENED, 1_010), case=DRAFTED.case),
    SUBMITTED,
    replied(1_200),
    *[told(act, 1_300, party=party) for act in (CaseAct.AGREED, CaseAct.TAKEN_BACK) for party in Party],
    told(CaseAct.WITHDRAWN, 1_400),
]


@given(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(min_value=0, max_value=50)), max_size=30))
def test_whatever_is_told_the_fold_is_the_same_and_an_end_is_the_end(drawn: list[tuple[CaseHappening, int]]) -> None:
    """Folding what was accepted gives the same cases, each resolved by both or not at all, and none goes on after."""
    cases: dict[str, Case] = {}
    accepted = []
    for happening, later_s in drawn:
        moved = {"at_us": happening.at_us + later_s * S, "recorded_us": happening.recorded_us + later_s * S}
        again = named_case(replace(happening, **moved))  # type: ignore[arg-type]  # both are integers
        before = cases.get(again.case)
        try:
            cases[again.case] = tell_case(before, again)
        except Refused:
            continue
        accepted.append(again)
        assert before is None or not before.over_us
    assert cases_of(accepted) == cases
    for case in cases.values():
        assert bool(case.resolved_us) == (len(case.agreed) == len(Party))
        assert not case.unfitting


class NaiveCase:
    """What people expect of a case, without any of the program's reasons."""

    def __init__(self, act: CaseAct) -> None:
        self.stage = CaseStage.DRAFT if act is CaseAct.DRAFTED else CaseStage.OPEN
        self.yes: set[Party] = set()

    def allows(self, act: CaseAct, party: Party | None) -> bool:
        """Say whether an act may come now."""
        is_with_them = self.stage in (CaseStage.SUBMITTED, CaseStage.ANSWERED)
        match act:
            case CaseAct.DRAFTED | CaseAct.JOINED:  # Only the program joins seconds, and nobody drafts what is there.
                return False
            case CaseAct.OPENED:
                return self.stage is CaseStage.DRAFT
            case CaseAct.SUBMITTED:
                return self.stage is CaseStage.OPEN
            case CaseAct.AGREED:
                return is_with_them and party not in self.yes
            case CaseAct.TAKEN_BACK:
                return is_with_them and party in self.yes
            case CaseAct.WITHDRAWN:
                return self.stage not in (CaseStage.RESOLVED, CaseStage.WITHDRAWN)
            case _:
                return is_with_them

    def do(self, act: CaseAct, party: Party | None) -> None:
        """Go on."""
        if act is CaseAct.AGREED and party is not None:
            self.yes.add(party)
        if act is CaseAct.TAKEN_BACK and party is not None:
            self.yes.discard(party)
        leads_to = {
            CaseAct.OPENED: CaseStage.OPEN,
            CaseAct.SUBMITTED: CaseStage.SUBMITTED,
            CaseAct.WITHDRAWN: CaseStage.WITHDRAWN,
        }
        if act is CaseAct.REPLIED and party is Party.PROVIDER:
            self.stage = CaseStage.ANSWERED
        elif self.yes == set(Party):
            self.stage = CaseStage.RESOLVED
        else:
            self.stage = leads_to.get(act, self.stage)


class CaseMachine(RuleBasedStateMachine):
    """Tries every act in every state, in the fold and in the naive model."""

    @initialize(act=st.sampled_from([CaseAct.DRAFTED, CaseAct.OPENED]))
    def begin(self, act: CaseAct) -> None:
        """Begin."""
        self.naive, self.now_s = NaiveCase(act), 1_100
        self.life = [beginning(act)]
        self.case = folded(*self.life)

    @rule(act=st.sampled_from(sorted(set(CaseAct) - {CaseAct.WITHDRAWN})), party=st.sampled_from(sorted(Party)))
    def happen(self, act: CaseAct, party: Party) -> None:
        """Try an act."""
        self._try(act, party)

    @precondition(lambda self: self.now_s % 7 == 0)  # Rarely, or few lives would come to anything else.
    @rule()
    def withdraw(self) -> None:
        """Try to end it so."""
        self._try(CaseAct.WITHDRAWN, Party.CUSTOMER)

    def _try(self, act: CaseAct, party: Party) -> None:
        self.now_s += 1
        of = party if act in WITH_PARTY else None
        submission = {"way": Way.DASHBOARD, "reference": "4711"} if act is CaseAct.SUBMITTED else {}
        new = told(act, self.now_s, case=self.case.case, party=of, **submission)
        if self.naive.allows(act, of):
            self.case = tell_case(self.case, new)
            self.life.append(new)
            self.naive.do(act, of)
        else:
            with pytest.raises(Refused):
                tell_case(self.case, new)

    @invariant()
    def agree(self) -> None:
        """The two stand at the same place, and so does a fold from the beginning."""
        assert self.case.stage is self.naive.stage
        assert cases_of(self.life) == {self.case.case: self.case}


CaseMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
test_every_case_is_what_the_naive_model_says = CaseMachine.TestCase
