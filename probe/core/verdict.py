"""The judgement of one second, from what its attempts saw.

The contract's words: a surface is Unavailable in a second in which attempts were made and *all such* attempts failed
because of a server-side timeout or an internal service error. Only sets and counts are read here, so the order in
which outcomes come in cannot matter.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from probe.core.model import Basis, Cause, ControlOutcome, Fault, Judgement, Outcome, Surface, Verdict

# What the contract names.
LITERAL_FAULTS = frozenset({Fault.SERVER_TIMEOUT, Fault.SERVER_ERROR})
# What may be laid at the server's door as well, provided that our own network is known to have worked.
CORROBORATED_FAULTS = LITERAL_FAULTS | {Fault.NETWORK}
# Outcomes that record an attempt which was never made.
NOT_MADE_CAUSES = frozenset({Cause.CAPPED})
# What is laid at the server's door without a word of the server's: whoever stands between can bring it about too.
WORDLESS_CAUSES = frozenset(
    {
        Cause.SILENT,
        Cause.BODY_STALLED,
        Cause.CLOSED,
        Cause.RESET_IN_SESSION,
        Cause.MALFORMED_REPLY,
        Cause.INCOMPLETE_BODY,
    }
)
# Stands in the evidence of every verdict that rests on it, so that a third party need not look for it elsewhere.
CORROBORATION = (
    "every attempt failed by a fault of the server or of the network, "
    "and at least one trusted control of the same second worked"
)


def judge(
    surface: Surface,
    outcomes: Iterable[Outcome],
    witnesses: tuple[ControlOutcome, ...],
    *,
    controls_failed: bool = False,
) -> Judgement:
    """Judge one surface for one second.

    `witnesses` are the trusted controls of the same second that worked (`controls.witnesses_of`). `controls_failed`
    says that none of this second's controls worked (`controls.all_failed`): our own network is then the likelier
    culprit of every failure that came without a word of the server's, and such a second is not unavailable.

    The contract speaks of attempts that were made, so an outcome that records an attempt *not* made (over our own cap)
    is none: it is not counted, and beside real failures it neither hides nor makes an unavailable second. Where there
    is nothing else the second is inconclusive rather than unobserved, for we know why nobody asked. Every other fault
    of our own belongs to an attempt that was begun: it failed for a cause that is not the server's, so the second can
    no longer be unavailable.
    """
    attempts = 0
    accepted = 0
    recorded = False
    wordless = False
    faults = set()
    for outcome in outcomes:
        assert outcome.surface == surface
        recorded = True
        if outcome.cause in NOT_MADE_CAUSES:
            assert outcome.fault == Fault.SELF
            continue
        attempts += 1
        accepted += outcome.fault == Fault.NONE
        faults.add(outcome.fault)
        wordless = wordless or outcome.cause in WORDLESS_CAUSES
    verdict, basis = _verdict_of_faults(faults, bool(witnesses)) if recorded else (Verdict.UNOBSERVED, Basis.NONE)
    if verdict is Verdict.UNAVAILABLE and wordless and controls_failed:
        verdict, basis = Verdict.INCONCLUSIVE, Basis.NONE
    evidence = witnesses if basis is Basis.CORROBORATED else ()
    return _judgement(surface, verdict, basis, attempts, accepted, evidence)


def judge_target(judgements: Sequence[Judgement]) -> tuple[Verdict, Basis]:
    """Judge the target for one second, from the judgements of all its surfaces.

    Unavailable if any surface is ("and/or"), and then on the strongest basis that any of them has.
    """
    assert judgements
    verdicts = {judgement.verdict for judgement in judgements}
    if Verdict.UNAVAILABLE in verdicts:
        literal = any(judgement.basis == Basis.LITERAL for judgement in judgements)
        return Verdict.UNAVAILABLE, Basis.LITERAL if literal else Basis.CORROBORATED
    if len(verdicts) == 1:
        return judgements[0].verdict, Basis.NONE
    return Verdict.INCONCLUSIVE, Basis.NONE


# Most seconds are judged alike, and a judgement never changes: those of a usual day are made once and shared.
@lru_cache(maxsize=1024)
def _judgement(
    surface: Surface,
    verdict: Verdict,
    basis: Basis,
    attempts: int,
    accepted: int,
    evidence: tuple[ControlOutcome, ...],
) -> Judgement:
    return Judgement(
        surface=surface, verdict=verdict, basis=basis, attempts=attempts, accepted=accepted, evidence=evidence
    )


def _verdict_of_faults(faults: set[Fault], control_worked: bool) -> tuple[Verdict, Basis]:
    """Judge a recorded second by the faults of the attempts made, `Fault.NONE` standing for an accepted one."""
    if Fault.NONE in faults:
        return Verdict.AVAILABLE, Basis.NONE
    if not faults:
        return Verdict.INCONCLUSIVE, Basis.NONE
    if faults <= LITERAL_FAULTS:
        return Verdict.UNAVAILABLE, Basis.LITERAL
    if faults <= CORROBORATED_FAULTS and control_worked:
        return Verdict.UNAVAILABLE, Basis.CORROBORATED
    return Verdict.INCONCLUSIVE, Basis.NONE
