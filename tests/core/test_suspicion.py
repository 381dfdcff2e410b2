"""Credentials that are refused for a while, though nobody changed them."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from probe.core.endings import fault_of
from probe.core.engine import DAEMON_DOWN, NOT_CONFIGURED, TargetState, advance, begin, from_plain, skip, to_plain
from probe.core.model import Cause, Outcome, Persistence, Phase, Surface, Suspicion, Terms, Verdict
from probe.core.suspicion import CODES_MAX

FIRST = 1_764_000_000
TERMS = Terms(
    profile="sparkpost-enterprise",
    persistence=Persistence(unavailable_seconds=3, window_seconds=5, recovery_seconds=3),
    objective_ppm=999_900,
    surfaces=(Surface.API,),
    settings="one",
)
OK = (Cause.ACCEPTED, 200, "")
REFUSED = (Cause.CREDENTIALS, 401, "")
Reply = tuple[Cause, int, str]


def outcome(second: int, reply: Reply, ordinal: int = 0) -> Outcome:
    """Make the outcome of an attempt that got this reply."""
    cause, code, enhanced_code = reply
    return Outcome(
        target="main",
        surface=Surface.API,
        second=second,
        ordinal=ordinal,
        started_us=second * 1_000_000,
        duration_us=1,
        fault=fault_of(cause),
        cause=cause,
        phase=Phase.FIRST_BYTE,
        code=code,
        enhanced_code=enhanced_code,
    )


class Life:
    """One target that lives through seconds."""

    def __init__(self, terms: Terms = TERMS) -> None:
        self.terms = terms
        self.state: TargetState = begin("main", terms, FIRST)
        self.suspicions: list[Suspicion] = []
        self.verdicts: list[Verdict] = []

    def second(self, *replies: Reply) -> "Life":
        """Live one second in which the attempts got these replies."""
        second = self.state.next_second
        outcomes = [outcome(second, reply, ordinal) for ordinal, reply in enumerate(replies)]
        self.state, step = advance(self.state, self.terms, second, outcomes, ())
        self.suspicions += step.suspicions
        self.verdicts.append(step.verdict)
        return self

    def seconds(self, replies: Iterable[Reply]) -> "Life":
        """Live a second for each reply."""
        for reply in replies:
            self.second(reply)
        return self

    def away(self, seconds: int, reason: str) -> "Life":
        """Live through seconds that nobody looked at."""
        self.state, _ = skip(self.state, self.terms, self.state.next_second + seconds - 1, reason)
        return self


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (REFUSED, "401"),
        ((Cause.CREDENTIALS, 403, "3003"), "403 3003"),
        ((Cause.CREDENTIALS, 535, "5.7.8"), "535 5.7.8"),
        ((Cause.REQUEST_REJECTED, 550, "5.7.1"), "550 5.7.1"),
    ],
)
def test_a_refusal_between_two_acceptances_is_suspected_and_not_counted(refusal: Reply, code: str) -> None:
    """The run is told with its ends, its codes and the acceptances around it; its seconds stay inconclusive."""
    life = Life().seconds([OK, OK, refusal, refusal, refusal, OK])

    assert life.suspicions == [
        Suspicion(
            target="main",
            surface=Surface.API,
            first_second=FIRST + 2,
            last_second=FIRST + 4,
            seconds=3,
            codes=code,
            accepted_before_second=FIRST + 1,
            accepted_after_second=FIRST + 5,
        )
    ]
    assert life.verdicts.count(Verdict.INCONCLUSIVE) == 3
    assert life.state.whole.unavailable_seconds == 0


def test_a_refusal_that_was_never_preceded_by_an_acceptance_is_not_suspected() -> None:
    """Credentials that never worked are most likely wrong."""
    assert Life().seconds([REFUSED, REFUSED, OK]).suspicions == []


def test_a_refusal_that_goes_on_is_not_told() -> None:
    """Only the acceptance afterwards shows that the credentials were right."""
    assert Life().seconds([OK, REFUSED, REFUSED]).suspicions == []


def test_settings_that_changed_meanwhile_end_the_suspicion() -> None:
    """Somebody who mends a key by a reload has explained the refusal."""
    life = Life().seconds([OK, REFUSED])
    life.terms = replace(TERMS, settings="two")

    assert life.seconds([REFUSED, OK]).suspicions == []


@pytest.mark.parametrize("reason", [DAEMON_DOWN, NOT_CONFIGURED])
def test_a_time_in_which_the_settings_may_have_changed_ends_the_suspicion(reason: str) -> None:
    """While the daemon is down nobody knows whether a secret was replaced."""
    assert Life().seconds([OK, REFUSED]).away(5, reason).seconds([REFUSED, OK]).suspicions == []


def test_seconds_that_nobody_looked_at_do_not_end_the_suspicion() -> None:
    """A stall of the prober changes no settings; only refused seconds are counted."""
    life = Life().seconds([OK, REFUSED]).away(5, "the prober did not run").seconds([REFUSED, OK])

    assert [(told.first_second, told.last_second, told.seconds) for told in life.suspicions] == [
        (FIRST + 1, FIRST + 7, 2)
    ]


def test_other_failures_of_ours_in_the_same_second_explain_it() -> None:
    """A second with a refusal and our own exhausted quota is not suspected, one with a server error is."""
    quota, error = (Cause.QUOTA, 420, ""), (Cause.HTTP_ERROR, 503, "")
    assert Life().second(OK).second(REFUSED, quota).second(OK).suspicions == []
    assert [told.seconds for told in Life().second(OK).second(REFUSED, error).second(OK).suspicions] == [1]


def test_the_codes_that_are_remembered_are_bounded() -> None:
    """A server that refuses in ever new words fills no memory."""
    refusals = [(Cause.CREDENTIALS, 403, str(code)) for code in range(100)]
    life = Life().seconds([OK, *refusals, OK])

    assert len(life.suspicions[0].codes.split(", ")) == CODES_MAX
    assert life.suspicions[0].seconds == 100


def test_a_suspicion_outlives_a_checkpoint() -> None:
    """What was suspected before a restart of the rules is told after it."""
    life = Life().seconds([OK, REFUSED])
    life.state = from_plain(to_plain(life.state))

    assert len(life.seconds([OK]).suspicions) == 1
