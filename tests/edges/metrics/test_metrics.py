"""What the metrics say after steps of the real rules."""

import re
import subprocess
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest, parser
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser

from probe.core import model
from probe.core.engine import skip
from probe.core.model import Cause, ControlOutcome, Surface
from probe.metrics.catalogue import CATALOGUE

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
}


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


@pytest.mark.parametrize("described", CATALOGUE, ids=lambda d: d.name)
def test_times_are_in_seconds_and_words_are_whole(described: Any) -> None:
    """Names keep Prometheus's rules: base units, a unit last, one sentence of help."""
    assert not re.search(r"_(ms|us|milliseconds|minutes|percent|count|sum|bucket)(_|$)", described.name)
    assert described.documentation.endswith(".")
    assert bool(described.bounds_us) <= (described.unit == "seconds")
