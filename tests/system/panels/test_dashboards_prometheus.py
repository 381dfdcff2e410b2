"""What the dashboards say when a real Prometheus answers them, about weeks that are known second by second."""

import math
from typing import TYPE_CHECKING, Any

import pytest

from grafana import look

if TYPE_CHECKING:
    from tests.system.panels.panels_asking import (
        NAMES,
        Asked,
        Prometheus,
        Series,
        Span,
        drawn,
        queries_of,
        query_of,
        read,
    )
    from tests.system.panels.panels_recording import (
        BEGIN,
        BETWEEN,
        CONTROLS,
        END,
        FIRST_ISSUE,
        GONE_AFTER_S,
        INSTANCE,
        ISSUE,
        JOB,
        MAINTENANCE,
        OURS,
        OUTAGE,
        SCRAPE_EVERY_S,
        TARGETS,
        UNWATCHED,
        UNWRITTEN,
        at,
    )
else:
    from panels_asking import NAMES, Asked, Prometheus, Series, Span, drawn, queries_of, query_of, read
    from panels_recording import (
        BEGIN,
        BETWEEN,
        CONTROLS,
        END,
        FIRST_ISSUE,
        GONE_AFTER_S,
        INSTANCE,
        ISSUE,
        JOB,
        MAINTENANCE,
        OURS,
        OUTAGE,
        SCRAPE_EVERY_S,
        TARGETS,
        UNWATCHED,
        UNWRITTEN,
        at,
    )

pytestmark = pytest.mark.slow

# While the second Critical Issue is open, so that there is something to see of every kind.
DURING = Span(start=at("20 11:00"), end=at("20 11:38"))
HOUR = Span(start=at("20 11:00"), end=END)
MONTH = Span(start=BEGIN, end=END)
SPANS = {"on-call.json": DURING, "month.json": MONTH, "prober.json": HOUR}
DAY_S = 86_400
TABLE_LEGEND = "{{target}}"


def latest(found: list[Series], legend: str = TABLE_LEGEND) -> dict[str, float]:
    """Give the last value of each series by its legend."""
    return {drawn(legend, labels): values[-1][1] for labels, values in found}


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_has_something_to_show(prometheus: Prometheus, name: str) -> None:
    """Prometheus understands each query of each panel and finds data for it, over a range that holds an outage."""
    asked = list(queries_of(read(name)))
    assert len(asked) > 10
    found = [(one.panel, prometheus.ask(one, SPANS[name])) for one in asked]
    assert [panel for panel, series in found if not series] == []
    # A gap is what is not there; a series that is no number at all would only fill the legend.
    hollow = [panel for panel, series in found for _, values in series if all(math.isnan(value) for _, value in values)]
    assert hollow == []


@pytest.mark.parametrize("name", NAMES)
def test_variables_offer_what_is_there(prometheus: Prometheus, name: str) -> None:
    """The choices of a dashboard are the jobs, vantages and targets that Prometheus knows."""
    offered = {}
    for variable in read(name)["templating"]["list"]:
        if variable["type"] == "query":
            series, _, label = (
                variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rpartition(", ")
            )
            match = series.replace("$job", JOB).replace("$instance", INSTANCE)
            times = {"start": str(DURING.start), "end": str(DURING.end)}
            offered[variable["name"]] = prometheus.get(f"label/{label}/values", **{"match[]": match}, **times)
    assert offered == {"job": [JOB], "instance": [INSTANCE], "target": sorted(TARGETS)}


@pytest.mark.parametrize("name", NAMES)
def test_annotations_mark_the_turns_of_critical_issues(prometheus: Prometheus, name: str) -> None:
    """Opening and restoration are each marked once, when they were noticed, and the time between as a whole."""
    marked = {}
    for annotation in read(name)["annotations"]["list"]:
        expression = annotation["expr"].replace("$job", JOB).replace("$instance", INSTANCE).replace("$target", "main")
        step_s = {"1m": 60, "5m": 300}[annotation["step"]]
        found = prometheus.over(expression, HOUR, step_s)
        marked[annotation["name"]] = [time for _, values in found for time, _ in values], step_s
    (during, step_s), (opened, _), (restored, _) = marked.values()
    noticed, recovered = OUTAGE.first + 60, OUTAGE.last + 60
    assert [noticed <= time <= noticed + step_s for time in opened] == [True]
    assert [recovered <= time <= recovered + step_s for time in restored] == [True]
    assert (min(during), max(during)) == pytest.approx((noticed, recovered), abs=step_s)


@pytest.mark.parametrize(
    ("moment", "answer"),
    [
        (at("20 11:08"), look.NOBODY_S),
        (BETWEEN.last + 1, look.THEM_CORROBORATED),
        (OURS.last + 1, look.US),
        (UNWATCHED.last - 14, look.BLIND),
        (UNWATCHED.last + 31, look.UNOBSERVED_LATELY),
        (OUTAGE.first + 30, look.THEM),
        (OUTAGE.first + 75, look.CRITICAL_ISSUE),
        (OUTAGE.last + 30, look.CRITICAL_ISSUE),
        (END, look.NOBODY_S),
    ],
)
def test_them_or_us_is_answered_for_the_last_minute(prometheus: Prometheus, moment: int, answer: int) -> None:
    """The first number of the first dashboard says whose failure it is, and of the sound target that it is nobody's."""
    found = latest(prometheus.ask(query_of(read("on-call.json"), "Them or us?"), Span(start=BEGIN, end=moment)))
    assert look.ANSWERS[int(found["main"])] == look.ANSWERS[answer]
    if answer not in (look.BLIND, look.UNOBSERVED_LATELY):
        assert found["spare"] == look.NOBODY_S


def test_nothing_is_said_of_a_prober_that_is_gone(prometheus: Prometheus) -> None:
    """Ten minutes after the last scrape the first row is empty, so that it says in words that nobody looks."""
    gone = Span(start=END, end=END + 600)
    first_row = [panel["title"] for panel in read("on-call.json")["panels"] if panel["gridPos"]["y"] == 0]
    assert len(first_row) == 5
    for title in first_row:
        assert prometheus.ask(query_of(read("on-call.json"), title), gone) == []


def test_the_strip_shows_each_kind_of_second_where_it_was(prometheus: Prometheus) -> None:
    """Each step of the strip has the worst verdict of its 15 seconds, neither earlier nor later, and gaps stay gaps."""
    found = prometheus.ask(query_of(read("on-call.json"), "Strip of seconds"), HOUR)
    strips = {(labels["target"], labels["surface"]): dict(values) for labels, values in found}
    api, smtp = strips["main", "api"], strips["main", "smtp"]
    assert steps_with(api, look.LITERAL) == steps_of(OUTAGE.first, OUTAGE.last)
    assert steps_with(smtp, look.LITERAL) == steps_of(OUTAGE.first, OUTAGE.last)
    assert steps_with(api, look.CORROBORATED) == steps_of(BETWEEN.first, BETWEEN.last)
    assert steps_with(api, look.UNOBSERVED) == {UNWATCHED.last + 1}
    assert steps_of(UNWATCHED.first, UNWATCHED.last) - {UNWATCHED.last + 1} <= steps_of(HOUR.start, END) - set(api)
    assert look.INCONCLUSIVE in {api[OURS.first + SCRAPE_EVERY_S], smtp[OURS.first + SCRAPE_EVERY_S]}
    assert set(strips["spare", "api"].values()) == {look.AVAILABLE, look.UNOBSERVED}


def test_the_strip_shows_when_controls_failed(prometheus: Prometheus) -> None:
    """A control's first failures show in the step in which they happened, though no series told of them before."""
    found = prometheus.ask(query_of(read("on-call.json"), "Strip of seconds", place=1), HOUR)
    strips = {labels["control"]: dict(values) for labels, values in found}
    assert sorted(strips) == sorted(CONTROLS)
    for strip in strips.values():
        assert steps_with(strip, look.FAILED) == steps_of(OURS.first, OURS.last)
        assert strip[HOUR.start + SCRAPE_EVERY_S] == look.WORKED


def steps_with(strip: dict[float, float], state: int) -> set[float]:
    """Give the ends of the steps that have a state."""
    return {time for time, value in strip.items() if value == state}


def steps_of(first: int, last: int) -> set[float]:
    """Give the ends of the steps that the seconds from first to last fall into."""
    return {float(time) for time in range(first + SCRAPE_EVERY_S, last + 2, SCRAPE_EVERY_S)}


def test_an_open_issue_shows_its_age_and_what_is_owed(prometheus: Prometheus) -> None:
    """Age counts from the second that it is dated back to; what has not come is told from what came late."""
    on_call = read("on-call.json")
    assert latest(prometheus.ask(query_of(on_call, "Critical Issue open for"), DURING)) == {
        "main": DURING.end - OUTAGE.first,
        "spare": -1,
    }
    assert owed_at(prometheus, DURING.end) == {
        ("Critical Issue", "call_line", look.CAME_LATE),
        ("Critical Issue", "update", "pending"),
        ("Support Case", "respond", "pending"),
    }
    assert ("Critical Issue", "call_line", look.OVERDUE) in owed_at(prometheus, OUTAGE.first + 390)
    assert ("Critical Issue", "call_line", "pending") in owed_at(prometheus, OUTAGE.first + 120)
    assert owed_at(prometheus, OUTAGE.first) == set()


def owed_at(prometheus: Prometheus, second: int) -> set[tuple[str, str, str]]:
    """Give what is owed then: in what, what, and in which state."""
    found = prometheus.ask(query_of(read("on-call.json"), "Obligations"), Span(start=HOUR.start, end=second))
    return {(labels["owed_in"], labels["obligation"], labels["state"]) for labels, _ in found}


def test_causes_are_counted_exactly(prometheus: Prometheus) -> None:
    """The bars of failed attempts add up to the attempts that failed, cause by cause."""
    asked = query_of(read("on-call.json"), "Failed attempts in each step")
    found = prometheus.ask(asked, HOUR)
    counted = {labels["cause"]: sum(value for _, value in values) for labels, values in found}
    assert counted["http_error"] == counted["silent"] == OUTAGE.last - OUTAGE.first + 1
    assert counted["refused"] == BETWEEN.last - BETWEEN.first + 1


def test_whom_to_call_stands_beside_the_open_issue(prometheus: Prometheus) -> None:
    """The issue that is not over is there with its number to call and the second it is dated back to."""
    [(labels, [(_, since)])] = prometheus.ask(query_of(read("on-call.json"), "Critical Issues that"), DURING)
    assert labels == {"target": "main", "issue": ISSUE, "call": "+1 555 0100"}
    assert since == OUTAGE.first * 1000


def test_the_month_counts_both_bases_against_the_budget(prometheus: Prometheus) -> None:
    """750 unavailable seconds, 30 of them corroborated, overspend the budget; excluded windows count nowhere."""
    month = read("month.json")

    def shown(title: str, target: str = "main") -> float:
        return latest(prometheus.ask(query_of(month, title), MONTH))[target]

    literal = sum(one.last - one.first + 1 for one in (FIRST_ISSUE, OUTAGE))
    both = literal + BETWEEN.last - BETWEEN.first + 1
    excluded = MAINTENANCE.last_second - MAINTENANCE.first_second + 1
    budget_s, recorded = (30 * DAY_S - excluded) * 1e-4, END - BEGIN - excluded
    assert shown("Budget left, literal alone") == pytest.approx(budget_s - literal)
    assert shown("Budget left, both bases") == pytest.approx(budget_s - both)
    assert shown("Budget left, both bases", "spare") == pytest.approx(259.2)
    assert shown("Availability, both bases") == pytest.approx(100 * (1 - both / recorded), abs=1e-9)
    assert shown("Availability, literal alone") == pytest.approx(100 * (1 - literal / recorded), abs=1e-9)
    assert (shown("Excluded seconds"), shown("Excluded seconds", "spare")) == (excluded, 0)
    unobserved = UNWATCHED.last - UNWATCHED.first + 1
    assert shown("Coverage") == pytest.approx(100 * (1 - unobserved / (END - BEGIN)), abs=0.01)
    assert shown("Critical Issues") == 2
    [(missed, [(_, times)])] = prometheus.ask(query_of(month, "Obligations missed"), MONTH)
    assert (missed["obligation"], times) == ("call_line", 1)


def test_unavailable_seconds_stand_on_their_day(prometheus: Prometheus) -> None:
    """A bar stands at the beginning of the day whose seconds it counts, also for the day that is not over."""
    found = prometheus.ask(query_of(read("month.json"), "Unavailable seconds by day"), MONTH)
    [literal] = [dict(values) for labels, values in found if tuple(labels.values()) == ("literal", "main")]
    days = {int(time): round(value) for time, value in literal.items() if round(value)}
    # Prometheus guesses what lies between the last scrape and the end of the day; here scrapes are 6 h apart.
    assert days[at("05 00:00")] == pytest.approx(FIRST_ISSUE.last - FIRST_ISSUE.first + 1, abs=1)
    assert days[at("20 00:00")] == pytest.approx(OUTAGE.last - OUTAGE.first + 1, rel=0.01)
    assert set(days) == {at("05 00:00"), at("20 00:00")}


def test_short_critical_issues_are_found_in_a_whole_month(prometheus: Prometheus) -> None:
    """The table of issues has each of them by the second it opened in, though it was open for minutes only."""
    found = prometheus.ask(query_of(read("month.json"), "Critical Issues of the range"), MONTH)
    opened = {(labels["target"], value / 1000) for labels, values in found for _, value in values}
    assert opened == {("main", FIRST_ISSUE.first), ("main", OUTAGE.first)}


def test_the_prober_tells_when_its_ledger_is_not_written(prometheus: Prometheus) -> None:
    """The prober's state is the worst of what is known of it: not scraped, blind, ledger not written, or sound."""
    asked = query_of(read("prober.json"), "The prober")

    def state(second: int) -> list[float]:
        return list(latest(prometheus.ask(asked, Span(start=BEGIN, end=second))).values())

    assert state(at("20 11:08")) == [look.LOOKS]
    assert state(UNWATCHED.last - 14) == [look.SEES_NOTHING]
    assert state(UNWRITTEN[0] + 30) == [look.UNWRITTEN]
    assert state(END) == [look.LOOKS]
    assert state(END + GONE_AFTER_S) == [look.DOWN]


def test_a_query_that_prometheus_does_not_understand_is_noticed(prometheus: Prometheus) -> None:
    """Answers are those of a real Prometheus, which refuses nonsense."""
    nonsense: Any = Asked(panel="", expression="sum(", legend="", now=True, interval_s=0, points=1)
    with pytest.raises(AssertionError, match="parse error"):
        prometheus.ask(nonsense, HOUR)
