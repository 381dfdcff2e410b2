"""Windows that are left out of the totals: planned maintenance, force majeure, agreed exclusions.

An amendment is added at any time, with who, when and why. It changes no verdict, and none is ever taken out of the
record: one that was wrong is withdrawn by another amendment, and both stay.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from probe.core.model import Amendment, Surface

WINDOW_S_MAX: Final = 366 * 86_400
REASON_CHARACTERS_MAX: Final = 2_000
AUTHOR_CHARACTERS_MAX: Final = 200
ID_CHARACTERS: Final = 12  # 48 bits: two of a hundred thousand amendments share one with a chance of 1 in 50,000


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An amendment that is in the record, and the one that withdrew it, if any did."""

    amendment: Amendment
    withdrawn_by: Amendment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a range, both ends included, in which the same surfaces of a target are excluded throughout."""

    first_second: int
    last_second: int
    excluded: frozenset[Surface]

    @property
    def seconds(self) -> int:
        """Count its seconds."""
        return self.last_second - self.first_second + 1


def named(amendment: Amendment) -> Amendment:
    """Give the amendment the id that follows from its content and its time: the same one is never two."""
    content = [
        amendment.target,
        amendment.surface,
        amendment.first_second,
        amendment.last_second,
        str(amendment.exclusion),
        amendment.reason,
        amendment.author,
        amendment.added_us,
        amendment.withdraws,
    ]
    digest = hashlib.sha256(json.dumps(content, separators=(",", ":")).encode("ascii")).hexdigest()
    return replace(amendment, amendment=digest[:ID_CHARACTERS])


def withdrawal(of: Amendment, *, reason: str, author: str, added_us: int) -> Amendment:
    """Make the amendment that takes another one back; it repeats that one's window."""
    taken_back = replace(of, reason=reason, author=author, added_us=added_us, withdraws=of.amendment)
    return named(taken_back)


def problem_of(amendment: Amendment, known: Sequence[Amendment], targets: Collection[str]) -> str:
    """Say in one sentence why an amendment can't be added to those that are `known`; "" if it can.

    `targets` are those that the record knows.
    """
    return next(_problems(amendment, known, targets), "")


def standings(amendments: Iterable[Amendment]) -> tuple[Standing, ...]:
    """List the windows that were ever excluded, in the order in which they were added, with their withdrawals.

    Of several withdrawals of one window the first counts.
    """
    every = tuple(amendments)
    withdrawals: dict[str, Amendment] = {}
    for amendment in every:
        if amendment.withdraws:
            withdrawals.setdefault(amendment.withdraws, amendment)
    return tuple(
        Standing(amendment=amendment, withdrawn_by=withdrawals.get(amendment.amendment))
        for amendment in every
        if not amendment.withdraws
    )


def in_force(amendments: Iterable[Amendment]) -> tuple[Amendment, ...]:
    """List the amendments that hold: those that exclude a window and that none has taken back."""
    return tuple(standing.amendment for standing in standings(amendments) if standing.withdrawn_by is None)


def concerns(amendment: Amendment, target: str, surface: Surface) -> bool:
    """Say whether an amendment is about a surface of a target."""
    return amendment.target in ("", target) and amendment.surface in ("", surface)


def is_excluded(holding: Iterable[Amendment], target: str, surface: Surface, second: int) -> bool:
    """Say whether a second of a surface lies in a window of the amendments that hold."""
    return any(
        concerns(amendment, target, surface) and amendment.first_second <= second <= amendment.last_second
        for amendment in holding
    )


def sections(
    holding: Iterable[Amendment], target: str, surfaces: Collection[Surface], first_second: int, last_second: int
) -> tuple[Section, ...]:
    """Part a range, both ends included, where a window begins or ends; a second stands in exactly one section.

    Windows may overlap: a second that lies in several is excluded once.
    """
    relevant = [
        amendment
        for amendment in holding
        if amendment.first_second <= last_second
        and amendment.last_second >= first_second
        and any(concerns(amendment, target, surface) for surface in surfaces)
    ]
    starts = {first_second}
    starts.update(amendment.first_second for amendment in relevant if amendment.first_second > first_second)
    starts.update(amendment.last_second + 1 for amendment in relevant if amendment.last_second < last_second)
    ordered = sorted(starts)
    ends = [start - 1 for start in ordered[1:]] + [last_second]
    found: list[Section] = []
    for start, end in zip(ordered, ends, strict=True):
        excluded = frozenset(surface for surface in surfaces if is_excluded(relevant, target, surface, start))
        if found and found[-1].excluded == excluded:
            found[-1] = replace(found[-1], last_second=end)
        else:
            found.append(Section(first_second=start, last_second=end, excluded=excluded))
    return tuple(found)


def _problems(amendment: Amendment, known: Sequence[Amendment], targets: Collection[str]) -> Iterator[str]:
    if not amendment.author.strip():
        yield "the author is empty; say who adds this"
    if not amendment.reason.strip():
        yield "the reason is empty; say why, in words that both sides will read"
    if len(amendment.author) > AUTHOR_CHARACTERS_MAX:
        yield f"the author has more than {AUTHOR_CHARACTERS_MAX} characters; a name and an address will do"
    if len(amendment.reason) > REASON_CHARACTERS_MAX:
        yield f"the reason has more than {REASON_CHARACTERS_MAX} characters; name the document that says more"
    if not (amendment.author + amendment.reason).isprintable():
        yield "the reason or the author has a line break or a control character; write one line"
    if amendment.withdraws:
        yield from _problems_of_withdrawal(amendment, known)
        return
    if amendment.last_second < amendment.first_second:
        yield "the window ends before it begins; exchange the two times"
    if amendment.last_second - amendment.first_second + 1 > WINDOW_S_MAX:
        yield "the window is longer than a year; add one for each year"
    if amendment.target and amendment.target not in targets:
        listed = ", ".join(sorted(targets)) or "none yet"
        yield f'the record knows no target "{amendment.target}"; it knows: {listed}'
    if amendment.surface and amendment.surface not in tuple(Surface):
        yield f'there is no surface "{amendment.surface}"; write api or smtp, or leave it out for both'


def _problems_of_withdrawal(amendment: Amendment, known: Sequence[Amendment]) -> Iterator[str]:
    name = amendment.withdraws
    withdrawn = next((one for one in known if one.amendment == name), None)
    if withdrawn is None:
        yield f'there is no amendment "{name}"; `ledger amendments` lists them'
        return
    if withdrawn.withdraws:
        yield f'"{name}" is itself a withdrawal; to exclude its window again, add it again'
    if earlier := next((one for one in known if one.withdraws == name), None):
        yield f'"{name}" is withdrawn already, by {earlier.author}; nothing is left to take back'
