"""Every case of the API's tables over real sockets: what the documentation says is what an attempt says."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import aiodns
import pytest

from probe.core.conducts import Expected
from probe.core.conducts_api import (
    CONDUCTS,
    STATUSES,
    Body,
    Conduct,
    StatusCase,
    WireCase,
    count,
    is_unclear,
)
from probe.core.endings import fault_of
from probe.core.model import REPLY_CHARACTERS_MAX, Connection, Phase
from probe.core.replies_api import TABLE, WITHOUT_REPLY, ApiReply, Ended, Ending, Row, row_for

if TYPE_CHECKING:
    from tests.edges.surfaces.conducts.api_stage import ANSWERS, BETWEEN_CALLS, BODIES, DRIPS, ApiStage
    from tests.edges.surfaces.conducts.play import Seen
else:
    from api_stage import ANSWERS, BETWEEN_CALLS, BODIES, DRIPS, ApiStage
    from play import Seen

QUICK_S, SLOW_S, DRIP_S = 8.0, 1.0, 2.3
ALONE_S = 0.9  # for the one whose preparation holds the loop
LATE_US_MAX = 250_000  # beyond it the program itself says that its own loop stood still
SLOW = {
    Conduct.FULL,
    Conduct.TLS_SILENCE,
    Conduct.DEAF,
    Conduct.SILENCE,
    Conduct.STALL_IN_HEAD,
    Conduct.INTERIM_SILENCE,
    Conduct.KEPT_SILENCE,
    Conduct.TOO_LONG,
    Conduct.CHUNK_STALL,
}
RENEWED = {
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
        if self.conduct is Conduct.DEAF_TO_MUCH:
            return ALONE_S
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
async def disagreements(stage: ApiStage, together: Any) -> Disagreements:
    """Give a function that plays all, and names those in which something else was seen than expected."""

    def once(play: Play, stretch: int) -> Awaitable[Seen]:
        return stage.play(play.conduct, play.deadline_s * stretch, play.status, play.body)

    async def play_all(plays: list[Play]) -> list[str]:
        found = await together(plays, once)
        wrong = [
            seen if isinstance(seen, str) else _disagreement(play, seen)
            for play, seen in zip(plays, found, strict=True)
        ]
        return [f"{play}; {words}" for play, words in zip(plays, wrong, strict=True) if words]

    return play_all


def _disagreement(play: Play, seen: Seen | str) -> str:
    if isinstance(seen, str):
        return seen
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
    if outcome.duration_us > seen.within_s * 1e6 + LATE_US_MAX:
        wrong.append(f"took {outcome.duration_us} us of {seen.within_s} s")
    if len(outcome.reply) > REPLY_CHARACTERS_MAX or not outcome.reply.isprintable():
        wrong.append(f"a reply of {len(outcome.reply)} characters is kept")
    renewed = play.conduct in RENEWED
    replaced = renewed or play.conduct in BETWEEN_CALLS  # known to be closed, so never offered to the attempt
    if (outcome.connection is Connection.RENEWED, seen.connections > 1) != (renewed, replaced):
        wrong.append(f"travelled {outcome.connection} on {seen.connections} connections")
    return ", ".join([*wrong, *seen.left_behind])


@pytest.mark.parametrize("of_class", [1, 2, 3, 4, 5])
async def test_each_whole_reply_means_what_its_case_says(of_class: int, disagreements: Disagreements) -> None:
    """Every status with every body of the documented cases has the documented fault and cause, code and status."""
    plays = [play for case in STATUSES for play in plays_of_statuses(case) if min(play.status // 100, 5) == of_class]

    assert plays
    found = await disagreements(plays)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("deadline_s", [QUICK_S, SLOW_S, DRIP_S, ALONE_S])
async def test_each_conduct_means_what_its_case_says(deadline_s: float, disagreements: Disagreements) -> None:
    """Every conduct of the documented cases has the documented fault, cause and phase, and ends by the deadline."""
    plays = [play for case in CONDUCTS for play in plays_of_wire(case) if play.deadline_s == deadline_s]

    assert plays
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


CONDUCT_OF = {
    Ending.WHOLE: Conduct.WHOLE,
    Ending.CUT: Conduct.TRUNCATED,
    Ending.STALLED: Conduct.TOO_LONG,
    Ending.TOO_LONG: Conduct.ENDLESS_BODY,
}
CONDUCT_OF_ENDED = {
    Ended.CONNECT_SILENT: Conduct.FULL,
    Ended.TLS_SILENT: Conduct.TLS_SILENCE,
    Ended.TLS_CLOSED: Conduct.TLS_CLOSE,
    Ended.TLS_RESET: Conduct.TLS_RESET,
    Ended.SEND_STUCK: Conduct.DEAF_TO_MUCH,
    Ended.SEND_UNACKNOWLEDGED: Conduct.DEAF,
    Ended.REPLY_SILENT: Conduct.SILENCE,
    Ended.HEAD_STALLED: Conduct.STALL_IN_HEAD,
    Ended.CLOSED_BEFORE_REPLY: Conduct.CLOSE,
    Ended.RESET_BEFORE_REPLY: Conduct.RESET,
    Ended.CLOSED_IN_HEAD: Conduct.CLOSE_IN_HEAD,
    Ended.RESET_IN_HEAD: Conduct.RESET_IN_HEAD,
    Ended.NOT_HTTP: Conduct.GARBAGE,
}
# Not of a server's doing: our late start, our resolver, and a moment between two turns of our own loop. Each has a
# test of its own beside the surface or the table.
NOT_ON_THE_WIRE = {Ended.LATE_START, Ended.LOOKUP_SILENT, Ended.CLOSED_BEFORE_REQUEST}


def plays_of_rule(rule: Row) -> list[Play]:
    """List for one rule the replies that no earlier rule takes: each status, body, way to end and code of it."""
    bodies: list[tuple[str | None, bytes]] = [(None, BODIES[body]) for body in Body]
    bodies += [(code, error(code, "no")) for code in sorted(rule.codes)]
    bodies += [(None, error("", word)) for word in rule.words] + [(None, f"<p>{word}".encode()) for word in rule.words]
    found = []
    statuses = sorted({status for span in rule.statuses for status in (*span, sum(span) // 2)})
    for ending, status, (code, body) in product(rule.endings or Ending, statuses, bodies):
        came = {Ending.CUT: body[: len(body) // 2], Ending.TOO_LONG: body + b" " * 70_000}.get(ending, body)
        has_body = status >= 200 and status not in (204, 205, 304)
        is_sent = (bool(body) or ending is Ending.WHOLE) if has_body else (not body and ending is Ending.WHOLE)
        if status < 200 or not is_sent or row_for(ApiReply(status=status, body=came, ending=ending)) is not rule:
            continue  # 1xx are no replies, and 101 is among the cases.
        expected = Expected(fault_of(rule.cause), rule.cause)
        conduct, unclear = CONDUCT_OF[ending], rule.maybe_accepted
        found.append(Play(conduct=conduct, status=status, body=body, code=code, expected=expected, unclear=unclear))
    return found


async def test_each_rule_is_met_over_a_socket(disagreements: Disagreements) -> None:
    """For every row of the rules, replies that fall to it are judged so by a call that meets them."""
    plays = {number: plays_of_rule(rule) for number, rule in enumerate(TABLE, 1)}

    assert [number for number, found in plays.items() if not found] == []
    quick = [play for found in plays.values() for play in found if play.deadline_s == QUICK_S]
    # What stalls takes its whole deadline, so that one of each rule's must do.
    slow = [play for found in plays.values() for play in [play for play in found if play.deadline_s == SLOW_S][:1]]
    assert len(quick) > 600
    found = await disagreements([*quick, *slow])
    assert not found, "\n".join(found)


def test_each_way_to_end_without_a_reply_is_a_conduct() -> None:
    """Every row of the ends without a reply is met by a conduct of the cases, which agrees with the row."""
    expected = {case.conduct: (case.expected.cause, case.unclear) for case in CONDUCTS if not case.answers}

    assert set(CONDUCT_OF_ENDED) | NOT_ON_THE_WIRE == set(WITHOUT_REPLY)
    for ended, conduct in CONDUCT_OF_ENDED.items():
        assert expected[conduct] == (WITHOUT_REPLY[ended].cause, WITHOUT_REPLY[ended].maybe_accepted), ended


def test_the_cases_of_calls_say_whose_fault_it_is_as_the_causes_do() -> None:
    """A case's fault is the one that its cause has everywhere, every kind of conduct has a case, and all are played."""
    plays = [play for case in STATUSES for play in plays_of_statuses(case)]
    plays += [play for case in CONDUCTS for play in plays_of_wire(case)]

    assert [str(play) for play in plays if fault_of(play.expected.cause) is not play.expected.fault] == []
    assert {case.conduct for case in CONDUCTS} == set(Conduct)
    assert len(plays) == count() > 1000
