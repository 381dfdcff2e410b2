"""Windows left out of the totals: which hold, what they exclude, and why one is refused."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.core.amendments import (
    WINDOW_S_MAX,
    in_force,
    is_excluded,
    named,
    problem_of,
    sections,
    standings,
    withdrawal,
)
from probe.core.model import Amendment, Exclusion, Surface

BOTH = (Surface.API, Surface.SMTP)


def amendment(first: int = 100, last: int = 199, target: str = "", surface: str = "", added_us: int = 1) -> Amendment:
    """Make an amendment with a good reason."""
    return named(
        Amendment(
            amendment="",
            target=target,
            surface=surface,
            first_second=first,
            last_second=last,
            exclusion=Exclusion.PLANNED_MAINTENANCE,
            reason="announced on the status page",
            author="Ada Lovelace",
            added_us=added_us,
        )
    )


windows = st.builds(
    lambda first, length, target, surface, added: amendment(first, first + length, target, surface, added),
    st.integers(0, 60),
    st.integers(0, 30),
    st.sampled_from(["", "main", "other"]),
    st.sampled_from(["", "api", "smtp"]),
    st.integers(0, 10**6),
)


def test_an_id_follows_from_content_and_time() -> None:
    """The same amendment has the same id, and a change of any part gives another."""
    one = amendment()
    assert one == amendment()
    assert len(one.amendment) == 12
    others = [
        replace(one, target="main"),
        replace(one, surface="api"),
        replace(one, first_second=99),
        replace(one, last_second=200),
        replace(one, exclusion=Exclusion.FORCE_MAJEURE),
        replace(one, reason="naïve"),
        replace(one, author="Charles Babbage"),
        replace(one, added_us=2),
    ]
    assert len({named(other).amendment for other in others} | {one.amendment}) == len(others) + 1


def test_a_withdrawn_amendment_holds_no_more_and_stays_listed() -> None:
    """A withdrawal names who and why; both amendments remain in the record, the other one holds on."""
    one, other = amendment(added_us=1), amendment(added_us=2)
    back = withdrawal(one, reason="agreed in error", author="Grace Hopper", added_us=3)
    assert (back.withdraws, back.first_second, back.last_second) == (one.amendment, 100, 199)
    assert in_force([one, other, back]) == (other,)
    assert [(standing.amendment, standing.withdrawn_by) for standing in standings([one, other, back])] == [
        (one, back),
        (other, None),
    ]


@given(st.lists(windows, max_size=6), st.integers(0, 100), st.integers(0, 40), st.sampled_from([BOTH, BOTH[:1]]))
def test_sections_cover_a_range_once_and_agree_with_every_single_second(
    holding: list[Amendment], first: int, length: int, surfaces: tuple[Surface, ...]
) -> None:
    """However windows overlap, each second stands in one section, with exactly the surfaces excluded in it."""
    found = sections(holding, "main", surfaces, first, first + length)
    covered = [second for part in found for second in range(part.first_second, part.last_second + 1)]
    assert covered == list(range(first, first + length + 1))
    for part in found:
        for second in range(part.first_second, part.last_second + 1):
            expected = {surface for surface in surfaces if is_excluded(holding, "main", surface, second)}
            assert part.excluded == expected
    assert all(one.excluded != next_one.excluded for one, next_one in pairwise(found))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"first_second": 200}, "the window ends before it begins; exchange the two times"),
        ({"last_second": 100 + WINDOW_S_MAX}, "the window is longer than a year; add one for each year"),
        ({"reason": " "}, "the reason is empty; say why, in words that both sides will read"),
        ({"author": ""}, "the author is empty; say who adds this"),
        ({"author": "a" * 201}, "the author has more than 200 characters; a name and an address will do"),
        ({"reason": "a" * 2001}, "the reason has more than 2000 characters; name the document that says more"),
        ({"reason": "a\nb"}, "the reason or the author has a line break or a control character; write one line"),
        ({"target": "mian"}, 'the record knows no target "mian"; it knows: main, other'),
        ({"surface": "imap"}, 'there is no surface "imap"; write api or smtp, or leave it out for both'),
        ({"withdraws": "0" * 12}, 'there is no amendment "000000000000"; `ledger amendments` lists them'),
    ],
)
def test_an_amendment_that_makes_no_sense_is_refused_in_one_sentence(changed: dict[str, object], sentence: str) -> None:
    """The sentence names what is wrong and its mend."""
    wrong = replace(amendment(), **changed)  # type: ignore[arg-type]
    assert problem_of(wrong, [amendment()], ["other", "main"]) == sentence


def test_what_is_right_is_not_refused() -> None:
    """A window for one target or all, of a second or a year, and a first withdrawal."""
    assert problem_of(amendment(target="main", surface="smtp"), [], ["main"]) == ""
    assert problem_of(amendment(100, 100), [], []) == ""
    assert problem_of(amendment(100, 99 + WINDOW_S_MAX), [], []) == ""
    one = amendment()
    assert problem_of(withdrawal(one, reason="wrong day", author="Ada", added_us=2), [one], []) == ""


def test_neither_a_withdrawal_nor_what_is_withdrawn_already_can_be_withdrawn() -> None:
    """The way back is a new amendment, and the sentence says so."""
    one = amendment()
    back = withdrawal(one, reason="wrong day", author="Ada Lovelace", added_us=2)
    again = withdrawal(one, reason="wrong day", author="Ada Lovelace", added_us=3)
    assert problem_of(again, [one, back], []) == (
        f'"{one.amendment}" is withdrawn already, by Ada Lovelace; nothing is left to take back'
    )
    of_the_withdrawal = withdrawal(back, reason="no, the right day", author="Ada Lovelace", added_us=4)
    assert problem_of(of_the_withdrawal, [one, back], []) == (
        f'"{back.amendment}" is itself a withdrawal; to exclude its window again, add it again'
    )
