"""Totals that the database counts are those of the exported seconds, counted one by one."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probe.core.amendments import in_force, is_excluded, named, withdrawal
from probe.core.model import Amendment, Cause, Exclusion, Fault, Surface
from probe.ledger import RemarkKind, account_of, export_rows, known_targets, propose, remarks_of, tallies
from probe.ledger.records import Batch
from probe.ledger.retention import cut
from probe.ledger.store import Store

MakeStore = Callable[[Path | str], Store]


def window(first: int, last: int, target: str = "", surface: str = "", added_us: int = 1) -> Amendment:
    """Make an amendment."""
    return named(
        Amendment(
            amendment="",
            target=target,
            surface=surface,
            first_second=first,
            last_second=last,
            exclusion=Exclusion.AGREED_EXCLUSION,
            reason="agreed by mail",
            author="nina",
            added_us=added_us,
        )
    )


def counted(address: str, first: int, last: int, target: str, surface: Surface) -> Counter[str]:
    """Count a surface's exported seconds one by one, those of windows in force apart."""
    holding = in_force(remarks_of(address, RemarkKind.AMENDMENT))
    found = Counter[str]()
    for row in export_rows(address, first, last, target):
        if row["type"] != "second" or row["surface"] != surface:
            continue
        is_out = is_excluded(holding, target, surface, int(row["second"]))
        name = str(row["verdict"]) + ("" if row["basis"] == "none" else f"_{row['basis']}")
        found["excluded" if is_out else name] += 1
    return found


@pytest.mark.parametrize("together_max", [8, 0])
@pytest.mark.parametrize("shift", [0, 9])
def test_totals_are_those_of_the_exported_seconds(
    kept: Path, script: Any, monkeypatch: pytest.MonkeyPatch, together_max: int, shift: int
) -> None:
    """With windows that overlap, cut into a run of unobserved seconds, and were withdrawn; however it is searched."""
    monkeypatch.setattr(tallies, "TARGETS_READ_TOGETHER_MAX", together_max)
    monkeypatch.setattr(tallies, "SOUGHT_S", 7)
    address = str(kept)
    begin = script.steps[0].second
    first, last = begin + shift, script.steps[-1].second - shift
    withdrawn = window(begin, begin + 40, added_us=7)
    for amendment in (
        window(begin + 3, begin + 4, "main", "smtp"),
        window(begin + 4, begin + 4),
        window(begin + 20, begin + 24, "other"),
        withdrawn,
        withdrawal(withdrawn, reason="another day", author="nina", added_us=8),
    ):
        assert propose(address, amendment) is not None

    account = account_of(address, first, last)

    assert [tally.target for tally in account.tallies] == ["main", "other"] == list(known_targets(address))
    for tally in account.tallies:
        for total in tally.totals[:-1]:
            assert total.surface is not None
            expected = counted(address, first, last, tally.target, total.surface)
            amended = total.as_amended
            assert {name: getattr(amended, name) for name in expected} == expected
            assert amended.recorded + amended.excluded == last - first + 1 == total.as_judged.recorded
        assert tally.terms == script.terms["main"]
    assert [standing.withdrawn_by is not None for standing in account.windows].count(True) == 1
    assert account_of(address, first, last, "other").tallies == account.tallies[1:]
    assert account.controls_seen is True


@pytest.mark.parametrize("together_max", [8, 0])
def test_blocks_are_those_of_the_exported_seconds(
    path: Path, make_script: Any, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, together_max: int
) -> None:
    """An outage over two days, a run that nobody saw and a window, in blocks that the range and the window cut."""
    monkeypatch.setattr(tallies, "TARGETS_READ_TOGETHER_MAX", together_max)
    store = make_store(path)
    script = make_script(["main", "other"])
    store.append(script.second())
    store.append(script.away(1_764_028_790 - script.next_second))  # ten seconds before midnight
    for _ in range(200):
        store.append(script.second(down=["main"]))
    store.append(script.away(100))
    store.append(script.second(down=["main"]))
    store.close()
    address = str(path)
    first, last = script.steps[0].second + 7, script.steps[-1].second
    holding = window(1_764_028_800 + 90, 1_764_028_800 + 130, "main", "api")
    assert propose(address, holding) is not None

    main, other = account_of(address, first, last, block_widths_s=(300, 60)).tallies

    assert [(total.block_s, total.surface) for total in main.blocks] == [
        (width, surface) for width in (60, 300) for surface in (*Surface, None)
    ]
    for total in main.blocks:
        if total.surface is not None:
            for count, window_of in ((total.as_judged, None), (total.as_amended, holding)):
                expected = by_block(address, first, last, total.surface, total.block_s, window_of)
                assert {name: getattr(count, name) for name in expected} == expected
    api, smtp, whole = main.blocks[:3]
    # From midnight on three minutes were down throughout; of the second and the third the API's are excluded in part.
    assert [total.as_judged.throughout_literal for total in (api, smtp, whole)] == [3, 3, 3]
    assert [total.as_amended.throughout_literal for total in (api, smtp, whole)] == [3, 3, 3]
    assert {total.as_judged.any_both for total in other.blocks} == {0}
    assert replace(main, blocks=()) == account_of(address, first, last, "main").tallies[0]


def by_block(
    address: str, first: int, last: int, surface: Surface, block_s: int, excluded: Amendment | None
) -> dict[str, int]:
    """Count a surface's blocks from its exported seconds."""
    blocks: dict[int, list[str]] = {}
    for row in export_rows(address, first, last, "main"):
        if row["type"] == "second" and row["surface"] == surface:
            second = int(row["second"])
            is_out = excluded is not None and is_excluded([excluded], "main", surface, second)
            blocks.setdefault(second // block_s, []).append("excluded" if is_out else str(row["verdict"]))
    left = [verdicts for verdicts in blocks.values() if set(verdicts) != {"excluded"}]
    whole = [set(verdicts) for verdicts in left if len(verdicts) == block_s]
    return {
        "blocks": len(left),
        "partial": len(left) - len(whole),
        "any_both": sum("unavailable" in verdicts for verdicts in left),
        "throughout_both": sum(verdicts <= {"unavailable", "excluded"} for verdicts in whole),
    }


def test_a_range_outside_the_record_has_no_seconds(kept: Path) -> None:
    """What is not recorded is said to be unrecorded, and nothing is invented."""
    (tally,) = account_of(str(kept), 1_000, 1_099, "main").tallies
    assert [(total.as_judged.recorded, total.as_judged.unrecorded) for total in tally.totals] == [(0, 100)] * 3


def test_a_target_that_lost_a_surface_is_counted_for_both(path: Path, make_script: Any, make_store: MakeStore) -> None:
    """A reload may take a surface away; the seconds that it was watched in still count."""
    store = make_store(path)
    script = make_script(["main"])
    store.append(script.second(down=["main"]))
    script.terms["main"] = replace(script.terms["main"], surfaces=(Surface.API,))
    store.append(script.second(down=["main"]))

    (tally,) = account_of(str(path), script.steps[0].second, script.steps[-1].second).tallies
    counts = [(total.surface, total.as_judged.unavailable_literal) for total in tally.totals]
    assert counts == [(Surface.API, 2), (Surface.SMTP, 1), (None, 2)]
    assert tally.terms == script.terms["main"]


def test_without_controls_the_account_says_so(path: Path, script: Any, make_store: MakeStore) -> None:
    """None were attempted; where their records are cut nobody can say so."""
    store = make_store(path)
    for _ in range(25):
        batch = script.second(checkpoint=True)
        store.append(Batch(steps=batch.steps, states=batch.states, terms=batch.terms))
        store.append(script.away(59))
    first, last = script.steps[0].second, script.steps[-1].second
    assert account_of(str(path), first, last).controls_seen is False

    while not cut(store, ["main", "other"], script.next_second, 300, 2**31, 20).finished:
        pass
    assert account_of(str(path), first, last).controls_seen is None


def test_suspicions_of_the_range_are_named_and_not_counted(path: Path, script: Any, make_store: MakeStore) -> None:
    """Credentials that were refused for a second are inconclusive, and listed for humans beside the totals."""
    store = make_store(path)
    store.append(script.second())
    script.fault = (Fault.CLIENT, Cause.CREDENTIALS)
    store.append(script.second(down=["main"]))
    store.append(script.second())

    main, other = account_of(str(path), script.steps[0].second, script.steps[-1].second).tallies
    assert [found.surface for found in main.suspicions] == [Surface.API, Surface.SMTP]
    assert other.suspicions == ()
    assert [(total.as_judged.inconclusive, total.as_judged.unavailable) for total in main.totals] == [(1, 0)] * 3
    assert account_of(str(path), script.steps[-1].second, 2**40).tallies[0].suspicions == ()
