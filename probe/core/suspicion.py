"""Credentials that a server refuses for a while, though it takes them before and after.

By the contract's words a refusal of credentials is no failure of the service, and such a second is inconclusive. When
the same settings were accepted before and are accepted again later, though, it was most likely the service that had
lost its mind. That is for humans to decide: such a run is a `Suspicion`, kept apart, and never counted by itself.

A run begins with a second in which an attempt was refused for its credentials and nothing else that is ours went wrong;
it ends with the next accepted attempt. It is told then, and only if nobody changed the settings meanwhile and the
daemon ran all the time (while it is down, nobody knows whether a secret was changed).
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from probe.core.model import Cause, Fault, Outcome, Surface, Suspicion, Verdict

# A server that refuses in ever new words must not fill memory.
CODES_MAX: Final = 8
# Faults beside which a refusal of credentials is still the only thing that keeps the second from being unavailable.
_THEIRS: Final = frozenset({Fault.SERVER_TIMEOUT, Fault.SERVER_ERROR, Fault.NETWORK})


class Doubt(NamedTuple):
    """What is remembered of one surface. Seconds are 0 where there was none; `seconds` 0 means that no run is open."""

    accepted_second: int = 0
    first_second: int = 0
    last_second: int = 0
    seconds: int = 0
    codes: tuple[str, ...] = ()


def after_second(
    doubt: Doubt, target: str, surface: Surface, second: int, verdict: Verdict, outcomes: Iterable[Outcome]
) -> tuple[Doubt, Suspicion | None]:
    """Go on by one judged second of a surface, given the outcomes of that surface; tell of a run that it ends."""
    if verdict is Verdict.AVAILABLE:
        told = _suspicion(doubt, target, surface, second) if doubt.seconds else None
        return Doubt(accepted_second=second), told
    if verdict is not Verdict.INCONCLUSIVE or not doubt.accepted_second:
        return doubt, None
    codes = _refusals(outcomes)
    if not codes:
        return doubt, None
    known = doubt.codes + tuple([code for code in codes if code not in doubt.codes])
    first_second = doubt.first_second or second
    return Doubt(doubt.accepted_second, first_second, second, doubt.seconds + 1, known[:CODES_MAX]), None


def refused_credentials(outcome: Outcome) -> bool:
    """Say whether the server refused who we are: 401, 403, SMTP 535 and their like, or 550 5.7.1."""
    return outcome.cause is Cause.CREDENTIALS or (outcome.code == 550 and outcome.enhanced_code == "5.7.1")


def _refusals(outcomes: Iterable[Outcome]) -> list[str]:
    """List the codes of refusals; none if anything else of ours went wrong beside them."""
    codes = list[str]()
    for outcome in outcomes:
        if refused_credentials(outcome):
            code = f"{outcome.code} {outcome.enhanced_code}".strip()
            codes += [] if code in codes else [code]
        elif outcome.fault not in _THEIRS:
            return []
    return codes


def _suspicion(doubt: Doubt, target: str, surface: Surface, second: int) -> Suspicion:
    return Suspicion(
        target=target,
        surface=surface,
        first_second=doubt.first_second,
        last_second=doubt.last_second,
        seconds=doubt.seconds,
        codes=", ".join(doubt.codes),
        accepted_before_second=doubt.accepted_second,
        accepted_after_second=second,
    )
