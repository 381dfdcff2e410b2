"""What the metrics say after steps of the real rules."""

import math
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest, parser
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser

from probe.core import model
from probe.core.case_happenings import CaseStage
from probe.core.case_obligations import CaseDuty
from probe.core.engine import skip
from probe.core.model import Cause, ClockState, ControlOutcome, Statement, Surface, Suspicion, Synchronisation
from probe.core.obligations import Duty, ObligationState
from probe.core.totals import Count
from probe.metrics.catalogue import CATALOGUE
from probe.metrics.metrics import PagePoll

# The library has no hints for these.
generate_openmetrics: Callable[[CollectorRegistry], bytes] = openmetrics.generate_latest
parse_openmetrics: Callable[[str], Iterable[Metric]] = openmetrics_parser.text_string_to_metric_families
parse_text: Callable[[str], Iterable[Metric]] = parser.text_string_to_metric_families

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[2] / "docs" / "metrics.md"
CLOSED_SETS: dict[str, set[str]] = {
    "target": {"main"},
    "control": {"dns"},
    "surface": set(model.Surface),
    "verdict": set(model.Verdict),
    "basis": {"literal", "corroborated"},
    "fault": set(model.Fault),
    "cause": set(model.Cause),
    "phase": set(model.Phase),
    "turn": set(model.IssueTurn),
    "worked": {"true", "false"},
    "obligation": {*Duty, *CaseDuty, "case_respond", "case_update"},
    "state": {"pending", "missed"},
    "stage": {"draft", "open", "submitted", "answered"},
    "source": {"page"},
    "issue": {"main-1"},
    "line": {"severity-1"},
    "call": {"+44 20 7946 0000"},
    "outcome": set(PagePoll),
}
ISSUE = "main-1"
CLOCK = ClockState(
    second=1,
    read_us=1,
    synchronisation=Synchronisation.SYNCHRONISED,
    estimated_error_us=12,
    maximum_error_us=41_500,
    ahead_us=3,
)
READ = Statement(
    source="page", second=1_700_000_000, fetched_us=1_700_000_000_500_000, code=200, trouble="", digest="", body="{}"
)


def tell_everything(scene: Any, story: Any) -> None:
    """Call every door of the metrics, with an outage from opening to restoration."""
    for api, smtp in [
        (Cause.ACCEPTED, Cause.ACCEPTED),
        (Cause.HTTP_ERROR, Cause.ACCEPTED),
        (Cause.HTTP_ERROR, Cause.REPLY_TRANSIENT),
        (Cause.SILENT, Cause.CAPPED),
        (Cause.CREDENTIALS, Cause.ACCEPTED),
        (Cause.ACCEPTED, Cause.ACCEPTED),
        (Cause.ACCEPTED, Cause.ACCEPTED),
        (Cause.MALFORMED_REPLY, Cause.ACCEPTED),
    ]:
        scene.metrics.observe_step(*story.second(api, smtp))
    control = ControlOutcome(
        control="dns", second=1, started_us=1, duration_us=1, worked=False, cause=Cause.CONNECT_TIMEOUT
    )
    scene.metrics.observe_controls([control])
    scene.metrics.attempt_started("main", Surface.API, 1_200)
    scene.metrics.attempt_started("main", Surface.SMTP, 0)
    scene.metrics.attempt_ended("main", Surface.SMTP)
    scene.metrics.set_open_seconds(2)
    scene.metrics.observe_commit(18_000, sequence=8, digest="fedcba9876543210" * 4)
    scene.metrics.set_ledger(writable=True, queue_records=3, queue_records_max=200_000, unrecorded_seconds=1)
    scene.metrics.observe_reload(successful=True, wall_us=1_700_000_000_250_000)
    scene.metrics.show_obligations(
        "main", {(Duty.CALL_LINE, ObligationState.MET): 1, (Duty.CALL_BACK, ObligationState.MISSED): 1}
    )
    scene.metrics.observe_missed("main", "call_back")
    scene.metrics.show_cases("main", {CaseStage.DRAFT: 1}, {(CaseDuty.RESPOND, ObligationState.MISSED): 1})
    for remark in (CLOCK, READ):
        scene.metrics.observe_remark(remark)
    scene.metrics.set_control("dns", 998_600, True)
    scene.metrics.set_blind("main", True)
    tell_contract(scene)
    scene.metrics.set_certificate("main", Surface.API, 1_702_000_000)
    scene.metrics.set_chain_problems(0)


def tell_contract(scene: Any) -> None:
    """Show an issue that is not over, a call back that is late, and a month of 31 days."""
    scene.metrics.contract.name_lines({"main": "+44 20 7946 0000"})
    scene.metrics.contract.show_issues("main", {ISSUE: 1_700_000_001})
    scene.metrics.contract.show_overdue("main", {Duty.CALL_BACK: 1})
    scene.metrics.contract.show_month(
        "main",
        Count(available=5, unavailable_literal=3, inconclusive=1, excluded=2, range_seconds=31 * 86_400),
        999_900,
    )


def exposition(scene: Any) -> str:
    """Give the text, with the one value that differs between hosts made equal."""
    text = generate_latest(scene.registry).decode()
    return re.sub(r'python_version="[^"]*"', 'python_version="3.x"', text)


def test_a_scripted_outage_has_exactly_this_exposition(scene: Any, new_story: Callable[[], Any]) -> None:
    """Every line after eight seconds with an outage is as written down and read by a person once."""
    tell_everything(scene, new_story())
    assert exposition(scene) == (HERE / "outage.prom").read_text()


def test_both_parsers_read_all_of_it(scene: Any, new_story: Callable[[], Any]) -> None:
    """Both of the library's parsers accept the exposition, and OpenMetrics has nothing that the text has not."""
    tell_everything(scene, new_story())
    texts = (
        parse_text(generate_latest(scene.registry).decode()),
        parse_openmetrics(generate_openmetrics(scene.registry).decode()),
    )
    read = [list(families) for families in texts]
    assert [family.name for family in read[0]] == [family.name for family in read[1]]
    samples = [
        sorted((s.name, sorted(s.labels.items()), s.value) for family in families for s in family.samples)
        for families in read
    ]
    assert samples[0] == samples[1]


def test_promtool_finds_nothing_to_say(scene: Any, new_story: Callable[[], Any], require_program: Any) -> None:
    """Prometheus's own linter accepts every name and help."""
    tell_everything(scene, new_story())
    ended = subprocess.run(
        [require_program("promtool"), "check", "metrics"],
        input=generate_latest(scene.registry),
        capture_output=True,
        timeout=10,
        check=False,
    )
    assert (ended.returncode, ended.stderr.decode()) == (0, "")


def test_known_series_are_there_at_zero_from_the_start(scene: Any) -> None:
    """Before the first second every verdict, basis and likely cause can be counted from."""
    for surface in Surface:
        for verdict in model.Verdict:
            assert scene.value("sev1probe_seconds_total", target="main", surface=surface, verdict=verdict) == 0
        for basis in ("literal", "corroborated"):
            assert scene.value("sev1probe_unavailable_seconds_total", target="main", surface=surface, basis=basis) == 0
        assert scene.value("sev1probe_unavailable_run_seconds", target="main", surface=surface) == 0
        likely = {"target": "main", "surface": surface, "fault": "server_timeout", "cause": "silent"}
        assert scene.value("sev1probe_attempts_total", **likely) == 0
        assert scene.value("sev1probe_attempt_duration_seconds_count", target="main", surface=surface) == 0
    assert scene.value("sev1probe_critical_issue_open", target="main") == 0
    assert scene.value("sev1probe_obligations_missed_total", target="main", obligation="case_respond") == 0
    assert scene.value("sev1probe_control_attempts_total", control="dns", worked="true", cause="accepted") == 0


def test_counters_count_seconds_one_by_one_and_never_go_down(scene: Any, new_story: Callable[[], Any]) -> None:
    """At any two moments the difference of a counter is the number of such seconds between them."""
    story, unavailable, total = new_story(), [], []
    causes = [Cause.ACCEPTED, Cause.HTTP_ERROR, Cause.SILENT, Cause.ACCEPTED, Cause.CREDENTIALS, Cause.SILENT]
    for cause in causes:
        scene.metrics.observe_step(*story.second(cause))
        labels = {"target": "main", "surface": "api"}
        unavailable.append(scene.value("sev1probe_seconds_total", **labels, verdict="unavailable"))
        total.append(sum(scene.value("sev1probe_seconds_total", **labels, verdict=v) for v in model.Verdict))
    assert unavailable == [0, 1, 2, 2, 2, 3]
    assert [later - earlier for earlier, later in pairwise([0, *total])] == [1] * len(causes)


def test_a_run_of_unobserved_seconds_counts_each_of_them(scene: Any, new_story: Callable[[], Any]) -> None:
    """Seconds that nobody looked at are added as many as they are, on both surfaces and the target."""
    story = new_story()
    terms = model.Terms(
        profile="x", persistence=model.Persistence(), objective_ppm=0, surfaces=(Surface.API, Surface.SMTP)
    )
    state, step = skip(story.state, terms, story.state.next_second + 99, "daemon was down")
    scene.metrics.observe_step(step, state)
    for surface in Surface:
        assert scene.value("sev1probe_seconds_total", target="main", surface=surface, verdict="unobserved") == 100
    assert scene.value("sev1probe_target_seconds_total", target="main", verdict="unobserved") == 100
    assert scene.value("sev1probe_last_judged_second_timestamp_seconds", target="main") == 1_700_000_099


def test_an_issue_shows_its_first_second_while_it_is_open(scene: Any, new_story: Callable[[], Any]) -> None:
    """The opening is dated back, and is gone once service is restored."""
    story, seen = new_story(), []
    for cause in [Cause.SILENT, Cause.SILENT, Cause.ACCEPTED, Cause.ACCEPTED]:
        scene.metrics.observe_step(*story.second(cause))
        opened = scene.value("sev1probe_critical_issue_opened_timestamp_seconds", target="main")
        seen.append((scene.value("sev1probe_critical_issue_open", target="main"), opened))
    assert seen == [(0, 0), (1, 1_700_000_000), (1, 1_700_000_000), (0, 0)]


def test_a_recovered_state_is_shown_before_the_first_step(scene: Any, new_story: Callable[[], Any]) -> None:
    """After a restart an open issue is not reported closed for a second."""
    story = new_story()
    for _ in range(2):
        _, state = story.second(Cause.SILENT)
    scene.metrics.show_state("main", state)
    assert scene.value("sev1probe_critical_issue_open", target="main") == 1
    assert scene.value("sev1probe_unavailable_run_seconds", target="main", surface="api") == 2
    assert scene.value("sev1probe_last_judged_second_timestamp_seconds", target="main") == 1_700_000_001


def test_label_values_come_from_closed_sets(scene: Any, new_story: Callable[[], Any]) -> None:
    """No reply, message or address can make a new series."""
    tell_everything(scene, new_story())
    for family in scene.registry.collect():
        for sample in family.samples:
            for label, value in sample.labels.items():
                if family.name != "sev1probe_build_info" and label != "le":
                    assert value in CLOSED_SETS[label]
    assert b"hunter2" not in generate_latest(scene.registry)


def test_a_reload_keeps_counts_and_forgets_what_is_gone(scene: Any, new_story: Callable[[], Any]) -> None:
    """A target that stays keeps its counts, a new one begins at zero, one that went leaves no series."""
    scene.metrics.observe_step(*new_story().second(Cause.SILENT))
    scene.configure(("main", "other"), ("dns", "gateway"))
    labels = {"surface": "api", "verdict": "unavailable"}
    assert scene.value("sev1probe_seconds_total", target="main", **labels) == 1
    assert scene.value("sev1probe_seconds_total", target="other", **labels) == 0
    scene.configure(("other",), ("gateway",))
    text = generate_latest(scene.registry).decode()
    assert 'target="main"' not in text
    assert 'control="dns"' not in text
    before = text
    scene.metrics.observe_step(*new_story().second(Cause.SILENT))
    scene.metrics.attempt_ended("main", Surface.API)
    assert generate_latest(scene.registry).decode() == before


def test_a_failed_reload_keeps_the_time_of_the_last_good_one(scene: Any) -> None:
    """A wrong file shows as a failure beside the old time."""
    scene.metrics.observe_reload(successful=True, wall_us=5_500_000)
    scene.metrics.observe_reload(successful=False, wall_us=9_000_000)
    assert scene.value("sev1probe_config_last_reload_successful") == 0
    assert scene.value("sev1probe_config_last_reload_success_timestamp_seconds") == 5.5


def test_the_chain_head_can_be_compared_digit_by_digit(scene: Any) -> None:
    """The number holds the first thirteen hex digits without loss, in text as well."""
    digest = "fffffffffffff123" * 4
    scene.metrics.observe_commit(1, sequence=7, digest=digest)
    text = generate_latest(scene.registry).decode()
    shown = float(text.partition("\nsev1probe_ledger_chain_head_digest ")[2].partition("\n")[0])
    assert f"{int(shown):013x}" == digest[:13]


@pytest.mark.parametrize(
    ("synchronisation", "shown"),
    [
        (Synchronisation.SYNCHRONISED, "1.0 0.000012 0.0415"),
        (Synchronisation.UNSYNCHRONISED, "0.0 0.000012 0.0415"),
        (Synchronisation.UNKNOWN, "nan nan nan"),
    ],
)
def test_a_clock_that_nobody_knows_is_neither_well_nor_wrong(
    scene: Any, synchronisation: Synchronisation, shown: str
) -> None:
    """Not synchronised is 0; where the kernel says nothing all three are NaN, which no alert takes for a number."""
    names = ("synchronised", "estimated_error_seconds", "maximum_error_seconds")
    assert all(math.isnan(scene.value(f"sev1probe_clock_{name}")) for name in names), "before it is read"
    scene.metrics.set_clock_state(replace(CLOCK, synchronisation=synchronisation))
    assert [scene.value(f"sev1probe_clock_{name}") for name in names] == pytest.approx(
        [float(number) for number in shown.split()], nan_ok=True
    )


def test_a_controls_record_is_shown_once_there_is_one(scene: Any) -> None:
    """Before its record a control has no success, which is not the success of nothing; a reload keeps what is known."""
    assert math.isnan(scene.value("sev1probe_control_success_ratio", control="dns"))
    assert scene.value("sev1probe_control_trusted", control="dns") == 1
    scene.metrics.set_control("dns", 998_600, False)
    scene.metrics.set_control("unknown", 1, True)
    scene.configure(("main",), ("dns", "gateway"))
    assert scene.value("sev1probe_control_success_ratio", control="dns") == 0.9986
    assert scene.value("sev1probe_control_trusted", control="dns") == 0
    assert scene.value("sev1probe_control_success_ratio", control="unknown") is None


def test_blindness_is_a_state_and_a_count(scene: Any) -> None:
    """Each time that a target's prober becomes blind counts once, however often it is said."""
    seen = []
    for blind in (False, True, True, False, True):
        scene.metrics.set_blind("main", blind)
        scene.metrics.set_blind("elsewhere", blind)
        state, count = "sev1probe_blind", "sev1probe_blind_conditions_total"
        seen.append((scene.value(state, target="main"), scene.value(count, target="main")))
    assert seen == [(0, 0), (1, 1), (1, 1), (0, 1), (1, 2)]
    assert scene.value("sev1probe_blind", target="elsewhere") is None


def test_suspected_seconds_are_counted_apart(scene: Any, new_story: Callable[[], Any]) -> None:
    """They show beside the verdicts and move no other count."""
    story = new_story()
    step, state = story.second(Cause.CREDENTIALS)
    run = Suspicion(
        target="main",
        surface=Surface.API,
        first_second=step.second - 6,
        last_second=step.second,
        seconds=5,
        codes="401",
        accepted_before_second=1,
        accepted_after_second=2,
    )
    scene.metrics.observe_step(replace(step, suspicions=(run,)), state)
    seen = [scene.value("sev1probe_suspected_seconds_total", target="main", surface=surface) for surface in Surface]
    assert seen == [5, 0]
    assert scene.value("sev1probe_seconds_total", target="main", surface="api", verdict="unavailable") == 0


def test_polls_of_the_providers_page_are_counted_by_what_came_of_them(scene: Any) -> None:
    """A page is read, refused with a status, or not had at all; only the first moves the time of the last success."""
    polls = [READ, replace(READ, code=503, fetched_us=9), replace(READ, code=0, trouble="refused", fetched_us=9)]
    polls.append(replace(READ, trouble="cut short", fetched_us=9))
    for statement in polls:
        scene.metrics.observe_statement(statement)
    counts = {
        outcome: scene.value("sev1probe_provider_page_polls_total", source="page", outcome=outcome)
        for outcome in PagePoll
    }
    assert counts == {"read": 1, "refused": 1, "failed": 2}
    success = scene.value("sev1probe_provider_page_last_success_timestamp_seconds", source="page")
    assert success == 1_700_000_000.5


def test_pages_that_are_not_configured_have_no_series(scene: Any) -> None:
    """A configured page is there at zero before its first poll, and a reload without it ends its series."""
    name = "sev1probe_provider_page_polls_total"
    assert scene.value(name, source="page", outcome="read") == 0
    scene.metrics.observe_statement(replace(READ, source="stranger"))
    assert scene.value(name, source="stranger", outcome="read") is None

    scene.configure(sources=("other",))

    assert scene.value(name, source="page", outcome="read") is None
    assert scene.value(name, source="other", outcome="read") == 0


def test_an_issue_is_shown_until_it_is_over_with_the_number_to_call(scene: Any) -> None:
    """One line for each issue that is not over; a target without the line names none, and others are left alone."""
    scene.configure(targets=("main", "other"))
    scene.metrics.contract.name_lines({"main": "+44 20 7946 0000"})
    shown = "sev1probe_critical_issue_since_timestamp_seconds"
    with_line = {"target": "main", "issue": "main-1", "line": "severity-1", "call": "+44 20 7946 0000"}
    without = {"target": "other", "issue": "other-1", "line": "", "call": ""}

    scene.metrics.contract.show_issues("main", {"main-1": 11})
    scene.metrics.contract.show_issues("other", {"other-1": 12})
    scene.metrics.contract.show_issues("gone", {"gone-1": 13})
    assert (scene.value(shown, **with_line), scene.value(shown, **without)) == (11, 12)
    assert "gone" not in generate_latest(scene.registry).decode()

    scene.metrics.contract.name_lines({"main": "+1 555 0100"})
    scene.metrics.contract.show_issues("main", {"main-1": 11})
    assert scene.value(shown, **with_line) is None
    assert scene.value(shown, **{**with_line, "call": "+1 555 0100"}) == 11

    scene.metrics.contract.show_issues("main", {})
    assert generate_latest(scene.registry).decode().count(f"{shown}{{") == 1


@pytest.mark.parametrize(("days", "budget_s"), [(28, 241.92), (29, 250.56), (30, 259.2), (31, 267.84)])
def test_the_budget_is_of_the_calendar_month(scene: Any, days: int, budget_s: float) -> None:
    """99.99 % of a month leave 259.2 s where it has 30 days."""
    scene.metrics.contract.show_month("main", Count(range_seconds=days * 86_400), 999_900)
    assert scene.value("sev1probe_month_budget_seconds", target="main") == budget_s


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Read the table of the document: name to type and labels."""
    rows = re.findall(r"^\| `(sev1probe_\w+)` \| (\w+) \| ([^|]*) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) == len({name for name, _, _ in rows})
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_the_document_lists_every_metric_and_no_other(scene: Any) -> None:
    """Names, types and labels of docs/metrics.md are those of the registry."""
    registered = {d.name: (str(d.kind), frozenset(d.labels)) for d in CATALOGUE}
    assert documented() == registered
    assert {family.name for family in scene.registry.collect()} == {d.family_name for d in CATALOGUE}


def test_a_target_has_about_as_many_series_as_the_document_says(scene: Any) -> None:
    """The number of lines that one more target adds to a scrape is the documented one, to within a twentieth."""

    def show_all(target: str) -> None:
        scene.metrics.contract.show_month(target, Count(range_seconds=86_400), 999_900)
        for surface in Surface:
            scene.metrics.set_certificate(target, surface, 1)

    def lines() -> int:
        return sum(not line.startswith("#") for line in generate_latest(scene.registry).decode().splitlines())

    scene.configure(targets=["main"])
    show_all("main")
    before = lines()
    scene.configure(targets=["main", "other"])
    show_all("other")
    said = re.search(r"about (\d+) lines of text for each target", DOCUMENT.read_text())
    assert said
    assert lines() - before == pytest.approx(int(said[1]), rel=0.05)


@pytest.mark.parametrize("described", CATALOGUE, ids=lambda d: d.name)
def test_times_are_in_seconds_and_words_are_whole(described: Any) -> None:
    """Names keep Prometheus's rules: base units, a unit last, one sentence of help."""
    assert not re.search(r"_(ms|us|milliseconds|minutes|percent|count|sum|bucket)(_|$)", described.name)
    assert described.documentation.endswith(".")
    assert bool(described.bounds_us) <= (described.unit == "seconds")
