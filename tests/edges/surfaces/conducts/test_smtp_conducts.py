"""Every case of the SMTP tables over real sockets: what the documentation says of a conduct is what an attempt says."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from probe.core.conducts import Expected
from probe.core.conducts_smtp import (
    AFTER_THE_DOT,
    ANSWERING,
    CONDUCTS,
    PHASE,
    REPLIES,
    Conduct,
    ConductCase,
    Place,
    ReplyCase,
    cases,
)
from probe.core.endings import fault_of
from probe.core.model import REPLY_CHARACTERS_MAX, Cause, Connection, Fault, Outcome, Phase
from probe.core.replies_smtp import REPLY_PHASES, ROWS, Own, goes_on, row_for
from probe.core.replies_smtp import Row as Rule

QUICK_S, SLOW_S, DRIP_S = 8.0, 1.0, 2.3
LATE_US_MAX = 250_000  # beyond it the program itself says that its own loop stood still
SLOW = {Conduct.SILENCE, Conduct.FULL, Conduct.DEAF}
NEXT = {Place.IDLE, Place.NEXT_MAIL, Place.NEXT_FINAL}
# Ways to the same place that must not change what is said there.
VARIANTS: dict[Place, tuple[dict[str, Any], ...]] = {
    **dict.fromkeys((Place.MAIL, Place.RCPT, Place.DATA), ({"pipelining": False},)),
    Place.AUTH: tuple({"login_step": step} for step in (0, 1, 2)),
    Place.TLS: ({"implicit": True},),
}
VARIED = {
    Conduct.SILENCE,
    Conduct.CLOSE,
    Conduct.RESET,
    Conduct.GARBAGE,
    Conduct.CLOSING,
    Conduct.ENDLESS_LINES,
    Conduct.LONG_LINE,
    *(case.conduct for case in CONDUCTS if case.places == (Place.TLS,)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """One case at one place in one variant, and what must be said of it."""

    case: ReplyCase | ConductCase
    place: Place
    expected: Expected
    variant: dict[str, Any]

    def __str__(self) -> str:
        """Name it so that it can be found in the table."""
        what = self.case.reply if isinstance(self.case, ReplyCase) else self.case.conduct
        return f"{self.place} {self.variant or ''}: server {what!r}: expected {self.expected}"

    @property
    def deadline_s(self) -> float:
        """Give the attempt just as long as the case needs."""
        if isinstance(self.case, ReplyCase) or self.place is Place.QUIT:
            return QUICK_S
        return SLOW_S if self.case.conduct in SLOW else DRIP_S if self.case.conduct is Conduct.DRIP else QUICK_S


def plays_of(table: Iterable[ReplyCase | ConductCase], place: Place | None = None) -> list[Play]:
    """List the plays of some cases, at one place or all."""
    found = []
    for case in table:
        for at, expected in cases(case):
            if place not in (None, at):
                continue
            found.append(Play(case=case, place=at, expected=expected, variant={}))
            varied = isinstance(case, ConductCase) and case.conduct in VARIED
            if varied or (isinstance(case, ReplyCase) and case.reply[:1] in "45"):
                found += [
                    Play(case=case, place=at, expected=expected, variant=variant) for variant in VARIANTS.get(at, ())
                ]
    return found


Disagreements = Callable[[list[Play]], Awaitable[list[str]]]


@pytest.fixture
async def disagreements(smtp_stage: Any, together: Any) -> Disagreements:
    """Give a function that plays all, and names those in which something else was seen than expected."""

    async def play_all(plays: list[Play]) -> list[str]:
        found = await together(plays, lambda play, stretch: smtp_stage.play(play, play.deadline_s * stretch))
        wrong = [
            seen if isinstance(seen, str) else _disagreement(play, seen)
            for play, seen in zip(plays, found, strict=True)
        ]
        return [f"{play}; {words}" for play, words in zip(plays, wrong, strict=True) if words]

    return play_all


def _disagreement(play: Play, seen: Any) -> str:
    if isinstance(seen, str):
        return seen
    outcome: Outcome = seen.outcome
    expected = play.expected
    phase = expected.phase or PHASE[play.place]
    wrong = [] if seen.acted else ["the server was never asked"]
    if (outcome.fault, outcome.cause, outcome.phase) != (expected.fault, expected.cause, phase):
        wrong.append(f"seen {outcome.fault}: {outcome.cause} in {outcome.phase}, expected in {phase}")
    is_unclear = isinstance(play.case, ConductCase) and play.case.unclear and expected.fault is not Fault.NONE
    if isinstance(play.case, ReplyCase):
        is_unclear = expected.cause is Cause.MALFORMED_REPLY
        text = play.case.reply[4:].replace("\r\n550 ", " / ")
        if expected.fault is not Fault.NONE and (outcome.code, outcome.reply) != (int(play.case.reply[:3]), text):
            wrong.append(f"kept as {outcome.code} {outcome.reply!r}")
    if outcome.maybe_accepted != (is_unclear and play.place in AFTER_THE_DOT):
        wrong.append(f"maybe_accepted is {outcome.maybe_accepted}")
    if outcome.duration_us > seen.within_s * 1e6 + LATE_US_MAX:
        wrong.append(f"took {outcome.duration_us} us of {seen.within_s} s")
    if len(outcome.reply) > REPLY_CHARACTERS_MAX or not outcome.reply.isprintable():
        wrong.append(f"a reply of {len(outcome.reply)} characters is kept")
    renewed = play.place is Place.IDLE or (play.place is Place.NEXT_MAIL and expected == _renewed(play))
    if (outcome.connection is Connection.RENEWED, seen.connections > 1) != (renewed, renewed):
        wrong.append(f"travelled {outcome.connection} on {seen.connections} connections")
    return ", ".join([*wrong, *seen.left_behind])


def _renewed(play: Play) -> Expected | None:
    is_split = isinstance(play.case, ConductCase) and play.case.conduct is Conduct.SPLIT
    return None if is_split else Expected(Fault.NONE, Cause.ACCEPTED, Phase.FINAL)


@pytest.mark.parametrize("place", ANSWERING)
async def test_each_reply_means_at_each_place_what_its_case_says(place: Place, disagreements: Disagreements) -> None:
    """Every reply of the documented cases has the documented fault, cause and phase, and is kept word by word."""
    plays = plays_of(REPLIES, place)

    assert len(plays) >= len(REPLIES) - 2
    found = await disagreements(plays)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("deadline_s", [QUICK_S, SLOW_S, DRIP_S])
async def test_each_conduct_means_at_each_place_what_its_case_says(
    deadline_s: float, disagreements: Disagreements
) -> None:
    """Every conduct of the documented cases has the documented fault, cause and phase, and ends by the deadline."""
    plays = [play for play in plays_of(CONDUCTS) if play.deadline_s == deadline_s]

    assert len(plays) >= 10
    found = await disagreements(plays)
    assert not found, "\n".join(found)


async def test_cases_leave_nothing_behind(disagreements: Disagreements) -> None:
    """After every conduct at one place of each kind no task and no descriptor is left."""
    plays = [play for play in plays_of(CONDUCTS) if play.deadline_s == QUICK_S and not play.variant]
    await disagreements(plays[:5])  # The loop opens some descriptors of its own when first used.
    tasks, descriptors = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))

    await disagreements(plays)
    await asyncio.sleep(0.05)

    assert (len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))) == (tasks, descriptors)


SAMPLES = {
    "2yz": (250, 251),
    "4yz": (450, 451, 452, 454, 432, 455),
    "5yz": (550, 554, 500, 535, 552, 503, 521),
    "any": (250, 354, 220),
}
SUBJECTS = ("0.0", "1.1", "2.2", "3.0", "3.2", "3.3", "3.4", "4.4", "5.1", "5.3", "6.0", "7.0", "7.1")
WORDS = ("", "concurrency limit", "message body missing", "daily limit", "rate exceeded", "[internal] oops")
PLACE_OF = {PHASE[place]: place for place in reversed(ANSWERING) if place not in (*NEXT, Place.SECOND_EHLO)}


def plays_of_rule(rule: Rule) -> list[Play]:
    """List for one rule a reply per phase, code and kind of enhanced code that no earlier rule takes."""
    found: dict[tuple[Phase, str, str], Play] = {}
    crowd = 10 if rule.own is Own.BEYOND else 0
    for phase in rule.phases or REPLY_PHASES:
        for pattern in rule.codes or ("any",):
            for code in SAMPLES.get(pattern) or (int(pattern),):
                for subject in ("", *SUBJECTS):
                    enhanced = f"{code // 100}.{subject}" if subject else ""
                    for words in WORDS:
                        if row_for(phase, code, enhanced, words, own_open_connections=1 + crowd) is not rule:
                            continue
                        if goes_on(phase, code) and rule.cause is not Cause.ACCEPTED:
                            continue
                        expected = Expected(fault_of(rule.cause), rule.cause)
                        case = ReplyCase(
                            reply=f"{code} {enhanced} {words}".replace("  ", " ").strip(), everywhere=expected
                        )
                        play = Play(case=case, place=PLACE_OF[phase], expected=expected, variant={"crowd": crowd})
                        found.setdefault((phase, pattern, subject[:1]), play)
    return list(found.values())


async def test_each_rule_is_met_over_a_socket_in_each_of_its_phases(disagreements: Disagreements) -> None:
    """For every row of the rules, a reply that falls to it in a phase is judged so by an attempt that meets it."""
    plays = {number: plays_of_rule(rule) for number, rule in enumerate(ROWS, 1)}

    assert [number for number, found in plays.items() if not found] == []
    found = await disagreements([play for found in plays.values() for play in found])
    assert not found, "\n".join(found)


def test_the_cases_say_whose_fault_it_is_as_the_causes_do() -> None:
    """A case's fault is the one that its cause has everywhere, and every kind of conduct has a case."""
    every: list[ReplyCase | ConductCase] = [*REPLIES, *CONDUCTS]
    found = [expected for case in every for _, expected in cases(case)]
    assert [expected for expected in found if fault_of(expected.cause) is not expected.fault] == []
    assert {case.conduct for case in CONDUCTS} == set(Conduct)
    assert sum(len(plays_of(table)) for table in (REPLIES, CONDUCTS)) > 1800
    assert len({case.reply for case in REPLIES}) == len(REPLIES)
