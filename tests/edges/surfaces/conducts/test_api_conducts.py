"""Every case of the API's tables over real sockets: what the documentation says is what an attempt says."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiodns
import pytest
from api_stage import ANSWERS, BODIES, DRIPS, ApiStage, Seen

from probe.core.conducts import Expected
from probe.core.conducts_api import (
    CONDUCTS,
    STATUSES,
    Conduct,
    StatusCase,
    WireCase,
    count,
    is_unclear,
)
from probe.core.endings import fault_of
from probe.core.model import REPLY_CHARACTERS_MAX, Cause, Connection, Phase

QUICK_S, SLOW_S, DRIP_S = 8.0, 1.0, 2.3
LATE_US_MAX = 250_000  # beyond it the program itself says that its own loop stood still
TOGETHER_MAX = 24
TRIES_MAX = 4
SLOW = {
    Conduct.FULL,
    Conduct.TLS_SILENCE,
    Conduct.DEAF,
    Conduct.DEAF_TO_MUCH,
    Conduct.SILENCE,
    Conduct.STALL_IN_HEAD,
    Conduct.INTERIM_SILENCE,
    Conduct.KEPT_SILENCE,
    Conduct.TOO_LONG,
    Conduct.CHUNK_STALL,
}
RENEWED = {
    Conduct.KEPT_CLOSE,
    Conduct.KEPT_RESET,
    Conduct.KEPT_CLOSE_LATER,
    Conduct.KEPT_RESET_LATER,
    Conduct.KEPT_408,
    Conduct.KEPT_421,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """One case, and what must be said of it."""

    conduct: Conduct
    status: int = 0
    body: bytes = b""
    code: str | None = None
    expected: Expected
    phase: Phase = Phase.BODY
    unclear: bool = False

    def __str__(self) -> str:
        """Name it so that it can be found in the table."""
        return f"server {self.conduct!s}, {self.status} {self.body[:80]!r}: expected {self.expected} in {self.phase}"

    @property
    def deadline_s(self) -> float:
        """Give the attempt just as long as the case needs."""
        return SLOW_S if self.conduct in SLOW else DRIP_S if self.conduct in DRIPS else QUICK_S


def error(code: str, message: str) -> bytes:
    """Write an error body, with or without a code."""
    return json.dumps({"errors": [{"message": message, **({"code": code} if code else {})}]}).encode()


def plays_of_statuses(case: StatusCase) -> list[Play]:
    """List the plays of a case of whole replies."""
    bodies = [(None, BODIES[body]) for body in case.bodies] + [(code, error(code, case.message)) for code in case.codes]
    return [
        Play(conduct=Conduct.WHOLE, status=status, body=body, code=code, expected=case.expected, unclear=case.unclear)
        for status in case.statuses
        for code, body in bodies
    ]


def plays_of_wire(case: WireCase) -> list[Play]:
    """List the plays of a case on the wire."""
    if not case.answers:
        return [Play(conduct=case.conduct, expected=case.expected, phase=case.phase, unclear=case.unclear)]
    return [
        Play(
            conduct=case.conduct,
            status=ANSWERS[answer][0],
            body=ANSWERS[answer][1],
            expected=expected,
            unclear=is_unclear(answer, expected),
        )
        for answer, expected in case.answers
    ]


@pytest.fixture
async def stage(
    client_tls: ssl.SSLContext, bad_certificates: dict[str, ssl.SSLContext], relay_of: Callable[[int], Any]
) -> AsyncIterator[ApiStage]:
    """Give a stage on which API cases are played."""
    contexts: dict[Conduct | None, ssl.SSLContext] = {
        None: bad_certificates["good"],
        Conduct.EXPIRED: bad_certificates["expired"],
        Conduct.NOT_YET_VALID: bad_certificates["not yet valid"],
        Conduct.WRONG_NAME: bad_certificates["wrong name"],
        Conduct.UNKNOWN_AUTHORITY: bad_certificates["unknown authority"],
    }
    resolver = aiodns.DNSResolver()
    yield ApiStage(contexts, client_tls, resolver, relay_of)
    await resolver.close()


Disagreements = Callable[[list[Play]], Awaitable[list[str]]]


@pytest.fixture
async def disagreements(stage: ApiStage) -> Disagreements:
    """Give a function that plays all, many at a time, and names those in which something else was seen."""
    gate = asyncio.Semaphore(TOGETHER_MAX)

    async def one(play: Play) -> str:
        async with gate:
            for number in range(TRIES_MAX):
                deadline_s = play.deadline_s * (1 if play.deadline_s == DRIP_S else 2**number)
                try:
                    seen = await stage.play(play.conduct, deadline_s, play.status, play.body)
                except Exception as error:  # noqa: BLE001  Whatever is raised is a disagreement too.
                    return f"raised {error!r}"
                # A machine that is too busy to bring the attempt to its place has shown nothing.
                if seen.outcome.cause is not Cause.STALLED and seen.acted:
                    break
            return _disagreement(play, seen, deadline_s)

    async def play_all(plays: list[Play]) -> list[str]:
        found = await asyncio.gather(*map(one, plays))
        return [f"{play}; {seen}" for play, seen in zip(plays, found, strict=True) if seen]

    return play_all


def _disagreement(play: Play, seen: Seen, deadline_s: float) -> str:
    outcome, expected = seen.outcome, play.expected
    wrong = [] if seen.acted else ["the server was never asked"]
    if (outcome.fault, outcome.cause, outcome.phase) != (expected.fault, expected.cause, play.phase):
        wrong.append(f"seen {outcome.fault}: {outcome.cause} in {outcome.phase} ({outcome.reply[:80]})")
    if outcome.maybe_accepted != play.unclear:
        wrong.append(f"maybe_accepted is {outcome.maybe_accepted}")
    if play.status and outcome.code != play.status:
        wrong.append(f"the status is kept as {outcome.code}")
    if play.code is not None and outcome.enhanced_code != play.code:
        wrong.append(f"the code is kept as {outcome.enhanced_code!r}")
    if outcome.duration_us > deadline_s * 1e6 + LATE_US_MAX:
        wrong.append(f"took {outcome.duration_us} us of {deadline_s} s")
    if len(outcome.reply) > REPLY_CHARACTERS_MAX or not outcome.reply.isprintable():
        wrong.append(f"a reply of {len(outcome.reply)} characters is kept")
    renewed = play.conduct in RENEWED
    if (outcome.connection is Connection.RENEWED, seen.connections > 1) != (renewed, renewed):
        wrong.append(f"travelled {outcome.connection} on {seen.connections} connections")
    return ", ".join([*wrong, *seen.left_behind])


@pytest.mark.parametrize("of_class", [1, 2, 3, 4, 5])
async def test_each_whole_reply_means_what_its_case_says(of_class: int, disagreements: Disagreements) -> None:
    """Every status with every body of the documented cases has the documented fault and cause, code and status."""
    plays = [play for case in STATUSES for play in plays_of_statuses(case) if min(play.status // 100, 5) == of_class]

    found = await disagreements(plays)
    if of_class > 1:
        assert plays
        assert not found, "\n".join(found)
    else:
        assert not found, "\n".join(found)


@pytest.mark.parametrize("deadline_s", [QUICK_S, SLOW_S, DRIP_S])
async def test_each_conduct_means_what_its_case_says(deadline_s: float, disagreements: Disagreements) -> None:
    """Every conduct of the documented cases has the documented fault, cause and phase, and ends by the deadline."""
    plays = [play for case in CONDUCTS for play in plays_of_wire(case) if play.deadline_s == deadline_s]

    assert len(plays) >= 5
    found = await disagreements(plays)
    assert not found, "\n".join(found)


async def test_calls_leave_nothing_behind(disagreements: Disagreements) -> None:
    """After every conduct that ends at once no task and no descriptor is left."""
    plays = [play for case in CONDUCTS for play in plays_of_wire(case) if play.deadline_s == QUICK_S]
    await disagreements(plays[:5])  # The loop opens some descriptors of its own when first used.
    tasks, descriptors = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))

    await disagreements(plays)
    await asyncio.sleep(0.05)

    assert (len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))) == (tasks, descriptors)


def test_the_cases_of_calls_say_whose_fault_it_is_as_the_causes_do() -> None:
    """A case's fault is the one that its cause has everywhere, every kind of conduct has a case, and all are played."""
    plays = [play for case in STATUSES for play in plays_of_statuses(case)]
    plays += [play for case in CONDUCTS for play in plays_of_wire(case)]

    assert [str(play) for play in plays if fault_of(play.expected.cause) is not play.expected.fault] == []
    assert {case.conduct for case in CONDUCTS} == set(Conduct)
    assert len({(play.conduct, play.status, play.body) for play in plays}) == len(plays) == count() > 1000
