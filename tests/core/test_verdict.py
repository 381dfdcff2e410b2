"""The judgement of one second."""

from itertools import combinations, permutations, product

import pytest

from probe.core.endings import fault_of
from probe.core.model import Basis, Cause, ControlOutcome, Fault, Judgement, Outcome, Phase, Surface, Verdict
from probe.core.verdict import judge, judge_target

CAUSE_OF_FAULT = {
    Fault.NONE: Cause.ACCEPTED,
    Fault.SERVER_TIMEOUT: Cause.SILENT,
    Fault.SERVER_ERROR: Cause.HTTP_ERROR,
    Fault.CLIENT: Cause.CREDENTIALS,
    Fault.NETWORK: Cause.REFUSED,
    Fault.SELF: Cause.DESCRIPTORS,
}
ACCEPTED, TIMEOUT, ERROR, CLIENT, NETWORK, OURS = CAUSE_OF_FAULT
UNOBSERVED = (Verdict.UNOBSERVED, Basis.NONE)
AVAILABLE = (Verdict.AVAILABLE, Basis.NONE)
LITERAL = (Verdict.UNAVAILABLE, Basis.LITERAL)
CORROBORATED = (Verdict.UNAVAILABLE, Basis.CORROBORATED)
INCONCLUSIVE = (Verdict.INCONCLUSIVE, Basis.NONE)
WITNESSES = (
    ControlOutcome(control="gw", second=1_000, started_us=1, duration_us=1, worked=True, cause=Cause.ACCEPTED),
)


def outcome(fault: Fault, cause: Cause | None = None, ordinal: int = 0, surface: Surface = Surface.API) -> Outcome:
    """Make an outcome of one fault."""
    return Outcome(
        target="main",
        surface=surface,
        second=1_000,
        ordinal=ordinal,
        started_us=1_000_000_000,
        duration_us=1,
        fault=fault,
        cause=cause or CAUSE_OF_FAULT[fault],
        phase=Phase.START,
    )


def capped() -> Outcome:
    """Make the outcome of an attempt that was not made."""
    return outcome(Fault.SELF, Cause.CAPPED)


def judgement(verdict: Verdict, basis: Basis) -> Judgement:
    """Make a judgement of one surface."""
    return Judgement(surface=Surface.API, verdict=verdict, basis=basis, attempts=1, accepted=0)


@pytest.mark.parametrize("control_worked", [False, True])
@pytest.mark.parametrize(
    ("faults", "without_control", "with_control"),
    [
        ([], UNOBSERVED, UNOBSERVED),
        ([ACCEPTED], AVAILABLE, AVAILABLE),
        ([ACCEPTED, ERROR, ERROR], AVAILABLE, AVAILABLE),
        ([ACCEPTED, OURS, CLIENT, NETWORK], AVAILABLE, AVAILABLE),
        ([TIMEOUT], LITERAL, LITERAL),
        ([ERROR], LITERAL, LITERAL),
        ([ERROR, TIMEOUT, ERROR], LITERAL, LITERAL),
        ([NETWORK], INCONCLUSIVE, CORROBORATED),
        ([ERROR, NETWORK], INCONCLUSIVE, CORROBORATED),
        ([CLIENT], INCONCLUSIVE, INCONCLUSIVE),
        ([OURS], INCONCLUSIVE, INCONCLUSIVE),
        ([ERROR, CLIENT], INCONCLUSIVE, INCONCLUSIVE),
        ([ERROR, OURS], INCONCLUSIVE, INCONCLUSIVE),
        ([NETWORK, OURS], INCONCLUSIVE, INCONCLUSIVE),
        ([NETWORK, TIMEOUT, CLIENT], INCONCLUSIVE, INCONCLUSIVE),
    ],
)
def test_a_surface_is_judged_by_the_faults_of_all_its_attempts(
    faults: list[Fault],
    without_control: tuple[Verdict, Basis],
    with_control: tuple[Verdict, Basis],
    control_worked: bool,
) -> None:
    """The verdict is the table's, and the counts are those of the attempts."""
    judged = judge(Surface.API, [outcome(fault) for fault in faults], WITNESSES if control_worked else ())
    assert (judged.verdict, judged.basis) == (with_control if control_worked else without_control)
    assert judged.evidence == (WITNESSES if judged.basis == Basis.CORROBORATED else ())
    assert (judged.attempts, judged.accepted) == (len(faults), faults.count(ACCEPTED))


@pytest.mark.parametrize(
    ("outcomes", "expected", "attempts"),
    [
        ([capped()], INCONCLUSIVE, 0),
        ([capped(), capped()], INCONCLUSIVE, 0),
        ([capped(), outcome(ERROR)], LITERAL, 1),
        ([capped(), outcome(NETWORK)], CORROBORATED, 1),
        ([capped(), outcome(ACCEPTED)], AVAILABLE, 1),
        ([capped(), outcome(CLIENT)], INCONCLUSIVE, 1),
    ],
)
def test_an_attempt_that_was_not_made_neither_hides_nor_makes_an_unavailable_second(
    outcomes: list[Outcome], expected: tuple[Verdict, Basis], attempts: int
) -> None:
    """An attempt over our own cap is not counted; alone it leaves the second inconclusive."""
    judged = judge(Surface.API, outcomes, WITNESSES)
    assert (judged.verdict, judged.basis, judged.attempts) == (*expected, attempts)


def test_an_attempt_that_was_cut_off_by_our_own_stop_leaves_the_second_inconclusive() -> None:
    """A failure that we caused by stopping is not laid at the server's door, even beside real ones."""
    outcomes = [outcome(ERROR), outcome(OURS, Cause.STOPPED)]
    assert judge(Surface.API, outcomes, WITNESSES).verdict == Verdict.INCONCLUSIVE


def test_every_set_of_faults_is_judged_by_the_contract() -> None:
    """All 64 sets of faults, with and without a control, agree with the contract read word by word."""
    for size, control_worked in product(range(len(Fault) + 1), (False, True)):
        for faults in combinations(Fault, size):
            judged = judge(
                Surface.SMTP,
                [outcome(fault, surface=Surface.SMTP) for fault in faults],
                WITNESSES if control_worked else (),
            )
            all_literal = bool(faults) and all(fault in (TIMEOUT, ERROR) for fault in faults)
            all_theirs = bool(faults) and all(fault in (TIMEOUT, ERROR, NETWORK) for fault in faults)
            assert (judged.verdict == Verdict.UNOBSERVED) == (faults == ())
            assert (judged.verdict == Verdict.AVAILABLE) == (ACCEPTED in faults)
            assert (judged.verdict == Verdict.UNAVAILABLE) == (all_literal or (all_theirs and control_worked))
            assert (judged.basis == Basis.LITERAL) == all_literal
            assert (judged.basis == Basis.NONE) == (judged.verdict != Verdict.UNAVAILABLE)


def test_the_order_of_outcomes_is_irrelevant() -> None:
    """Every order of the same outcomes is judged alike."""
    outcomes = [capped(), *(outcome(fault) for fault in (ERROR, TIMEOUT, NETWORK, CLIENT))]
    assert len({judge(Surface.API, order, WITNESSES) for order in permutations(outcomes)}) == 1


def test_an_outcome_of_another_surface_is_refused() -> None:
    """To judge a surface by another one's outcome is an error of the program."""
    with pytest.raises(AssertionError):
        judge(Surface.API, [outcome(ERROR, surface=Surface.SMTP)], ())


@pytest.mark.parametrize(
    ("surfaces", "expected"),
    [
        ([AVAILABLE], AVAILABLE),
        ([LITERAL], LITERAL),
        ([CORROBORATED], CORROBORATED),
        ([INCONCLUSIVE], INCONCLUSIVE),
        ([UNOBSERVED], UNOBSERVED),
        ([AVAILABLE, AVAILABLE], AVAILABLE),
        ([AVAILABLE, LITERAL], LITERAL),
        ([AVAILABLE, CORROBORATED], CORROBORATED),
        ([INCONCLUSIVE, LITERAL], LITERAL),
        ([UNOBSERVED, CORROBORATED], CORROBORATED),
        ([CORROBORATED, LITERAL], LITERAL),
        ([CORROBORATED, CORROBORATED], CORROBORATED),
        ([AVAILABLE, INCONCLUSIVE], INCONCLUSIVE),
        ([AVAILABLE, UNOBSERVED], INCONCLUSIVE),
        ([UNOBSERVED, INCONCLUSIVE], INCONCLUSIVE),
        ([UNOBSERVED, UNOBSERVED], UNOBSERVED),
    ],
)
def test_a_target_is_judged_by_all_its_surfaces(
    surfaces: list[tuple[Verdict, Basis]], expected: tuple[Verdict, Basis]
) -> None:
    """Either surface makes the target unavailable, whichever stands first, and only both make it available."""
    judgements = [judgement(*surface) for surface in surfaces]
    assert judge_target(judgements) == expected
    assert judge_target(judgements[::-1]) == expected


def test_a_target_without_surfaces_is_refused() -> None:
    """There is nothing to judge in a target that has no surface."""
    with pytest.raises(AssertionError):
        judge_target([])


@pytest.mark.parametrize(
    "cause",
    [
        Cause.SILENT,
        Cause.BODY_STALLED,
        Cause.CLOSED,
        Cause.RESET_IN_SESSION,
        Cause.MALFORMED_REPLY,
        Cause.INCOMPLETE_BODY,
    ],
)
def test_what_the_server_did_not_say_itself_does_not_count_while_every_control_failed(cause: Cause) -> None:
    """Our own network can bring about a silence or a reset, and then it is the likelier culprit."""
    failed = [outcome(fault_of(cause), cause)]

    judged = judge(Surface.API, failed, (), controls_failed=True)

    assert (judged.verdict, judged.basis) == INCONCLUSIVE
    without = judge(Surface.API, failed, ())
    assert (without.verdict, without.basis) == LITERAL


def test_the_servers_own_word_counts_whatever_the_controls_saw() -> None:
    """A reply that says it has come through our network; beside a silence it says nothing about that one."""
    said = [outcome(ERROR, Cause.HTTP_ERROR), outcome(ERROR, Cause.SERVICE_CLOSING, ordinal=1)]

    judged = judge(Surface.API, said, (), controls_failed=True)

    assert (judged.verdict, judged.basis) == LITERAL
    beside = judge(Surface.API, [*said, outcome(TIMEOUT, Cause.SILENT, ordinal=2)], (), controls_failed=True)
    assert (beside.verdict, beside.basis) == INCONCLUSIVE
