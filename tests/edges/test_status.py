"""What the daemon shows of itself, as a body for programs and as a picture for people."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from probe.commands.status import is_bad, picture
from probe.core import engine
from probe.core.model import (
    Cause,
    ClockState,
    Condition,
    ControlOutcome,
    Persistence,
    Surface,
    Suspicion,
    Synchronisation,
    Terms,
)
from probe.view import CourierView, View

TERMS = Terms(profile="x", persistence=Persistence(), objective_ppm=999_900, surfaces=(Surface.SMTP,))
BLIND = Condition(
    condition="blind",
    target="main",
    since_second=1_700_000_000,
    noticed_second=1_700_000_031,
    raised=True,
    words="no second was judged for 31 s: the disk is full",
)
CLOCK = ClockState(
    second=1_700_000_000,
    read_us=1,
    synchronisation=Synchronisation.UNSYNCHRONISED,
    estimated_error_us=250,
    maximum_error_us=16_000_000,
    ahead_us=-500_000,
)


def view_with(controls: Sequence[str] = ("dns", "web")) -> View:
    """Watch one target."""
    view = View(version="1", vantage="here", started_second=1_700_000_000)
    view.configure("here", {"main": TERMS}, controls)
    return view


def drawn(body: dict[str, Any]) -> str:
    """Draw a status as a terminal shows it."""
    console = Console(width=200, no_color=True)
    with console.capture() as capture:
        console.print(picture(body))
    return capture.get()


def test_a_blind_prober_is_seen_at_once() -> None:
    """The condition stands in the body and, in capitals, on the terminal, until it is over."""
    view = view_with()
    view.observe_condition(BLIND)
    body = view.status()
    assert body["conditions"] == [
        {
            "condition": "blind",
            "surface": "self",
            "target": "main",
            "since": "2023-11-14T22:13:20Z",
            "since_second": 1_700_000_000,
            "noticed": "2023-11-14T22:13:51Z",
            "noticed_second": 1_700_000_031,
            "words": BLIND.words,
        }
    ]
    assert f"THE PROBER IS BLIND for main since 2023-11-14T22:13:20Z: {BLIND.words}" in drawn(body)
    view.observe_condition(replace(BLIND, raised=False))
    assert view.status()["conditions"] == []
    assert "BLIND" not in drawn(view.status())


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ((), "No control is configured, so network faults stay inconclusive"),
        (("dns",), "One control is configured, so network faults rest on it alone"),
        (("dns", "web"), "Network faults count as the provider's only where controls of the same second worked."),
    ],
)
def test_what_becomes_of_network_faults_is_said_in_words(controls: Sequence[str], words: str) -> None:
    """Nobody has to know the settings to know what a network fault will come to."""
    body = view_with(controls).status()
    assert body["network_faults"].startswith(words)
    assert words in drawn(body)


def test_a_control_shows_its_record_and_whether_it_is_trusted() -> None:
    """Its last outcome is one thing, its own long-term success another."""
    view = view_with()
    assert view.status()["controls"] == {"dns": None, "web": None}
    outcome = ControlOutcome(
        control="dns", second=7, started_us=1, duration_us=1, worked=False, cause=Cause.CONNECT_TIMEOUT
    )
    view.observe_control(outcome)
    view.show_control("dns", 912_000, False)
    view.show_control("web", 1_000_000, True)
    view.show_control("gone", 1, True)
    body = view.status()
    last = {"second": 7, "worked": False, "cause": "connect_timeout"}
    assert body["controls"]["dns"] == {**last, "success_ratio": 0.912, "trusted": False}
    assert body["controls"]["web"]["trusted"] is True
    text = drawn(body)
    assert "control dns: fails (connect_timeout)  91.20% of its attempts worked  NOT TRUSTED" in text
    assert "control web:   100.00% of its attempts worked" in text
    assert list(body["controls"]) == ["dns", "web"]


def test_the_clocks_state_is_shown_once_it_is_known() -> None:
    """Before it was read the body says nothing of it."""
    view = view_with()
    assert view.status()["clock"] is None
    view.observe_remark(CLOCK)
    body = view.status()
    assert body["clock"] == {
        "second": 1_700_000_000,
        "synchronisation": "unsynchronised",
        "estimated_error_s": 0.00025,
        "maximum_error_s": 16.0,
        "ahead_s": -0.5,
    }
    assert "clock: unsynchronised, estimated error 0.000250 s, at most 16.000000 s" in drawn(body)
    view.observe_remark(replace(CLOCK, synchronisation=Synchronisation.UNKNOWN))
    assert "clock: the kernel does not say" in drawn(view.status())


def test_suspected_seconds_ask_for_a_decision() -> None:
    """They are shown beside the totals and in none of them."""
    view = view_with()
    state, step = engine.skip(engine.begin("main", TERMS, 100), TERMS, 100, "the daemon was down")
    run = Suspicion(
        target="main",
        surface=Surface.SMTP,
        first_second=90,
        last_second=100,
        seconds=11,
        codes="535 5.7.8",
        accepted_before_second=89,
        accepted_after_second=101,
    )
    view.observe(replace(step, suspicions=(run, replace(run, surface=Surface.API))), state)
    shown = view.status()["targets"][0]["surfaces"]
    assert (shown["smtp"]["suspected_seconds"], shown["smtp"]["totals"]["unavailable_seconds"]) == (11, 0)
    assert "smtp: 11 s with credentials refused that worked before and after" in drawn(view.status())


def test_a_courier_that_has_failed_for_long_is_drawn() -> None:
    """One that works is not: people look here for what is wrong, and the exit code says that there is something."""
    view = view_with()
    view.couriers["hook"] = CourierView(kind="webhook")
    assert "hook" not in drawn(view.status())
    assert not is_bad(view.status())
    view.couriers["hook"] = CourierView(kind="webhook", waiting=2, failing_since_second=90, trouble="HTTP 503")
    assert "hook has told nothing since 1970-01-01T00:01:30Z, 2 notices wait: HTTP 503" in drawn(view.status())
    assert is_bad(view.status())


def test_the_status_of_an_older_daemon_is_drawn_too() -> None:
    """Fields that came later may be missing."""
    body = view_with().status()
    for name in ("clock", "conditions", "couriers", "network_faults"):
        del body[name]
    del body["targets"][0]["surfaces"]["smtp"]["suspected_seconds"]
    assert "main: unobserved" in drawn(body)
    assert not is_bad(body)
