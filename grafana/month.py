"""The dashboard for the month: what the provider's objective allows, and what is left of it."""

from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig

from grafana import look, month_days, queries
from grafana.frame import Frame, begin, fill
from grafana.panels import (
    COUNTED_SECONDS,
    About,
    Panel,
    Query,
    big_number,
    columns,
    limit_line,
    lines,
    merged,
    plain_number,
    rows,
)
from grafana.queries import TARGETS
from probe.core.model import Basis, IssueTurn, Verdict

FRAME = Frame(
    uid="sev1probe-month",
    title="sev1probe: month",
    description="The calendar month (UTC) against the objective. For a month that is over, choose as the range its "
    "first second to its last. To the second, and as amended since: sev1probe ledger totals.",
    since="now/M",
    refresh="5m",
    annotation_step="5m",
)
PERCENT_DECIMALS: Final = 4
# As fine as Prometheus answers for a whole month (11,000 steps): an issue shorter than a step is found all the same.
STEPS_MAX: Final = 10_000


def build() -> Dashboard:
    """Build the dashboard."""
    begun = begin(FRAME)
    fill(begun, "", [*_budgets(), *_availabilities(), _coverage(), _issues_opened()])
    fill(begun, "Day by day", month_days.days())
    fill(begun, "Critical Issues, obligations, and both bases by surface", [_incidents(), _missed(), _by_surface()])
    fill(begun, "How the budget went", [_budget_over_time(), _left_out(), _suspected()])
    return begun


def _budgets() -> list[Panel]:
    return [
        big_number(
            About(
                title=f"Budget left, {name}",
                description="Unavailable seconds that the objective still allows in this calendar month, of 259.2 s "
                f"in 30 days at 99.99 %; excluded windows are left out. {what} Below zero it is overspent; orange is "
                "less than a minute.",
                unit=COUNTED_SECONDS,
                no_value="The prober does not know the month yet, or is not scraped",
                page="docs/ledger.md",
                width=4,
                height=5,
            ),
            Query(f"sort({queries.budget_left(basis)})", now=True),
        )
        .decimals(1)
        .thresholds(look.known(look.THEIRS, (0, look.BETWEEN), (60, look.GOOD)))
        for name, basis, what in (
            ("both bases", "", "Seconds of network faults that our controls lay at their door count too."),
            ("literal alone", Basis.LITERAL, "Only what the contract's own words cover counts."),
        )
    ]


def _availabilities() -> list[Panel]:
    recorded = f"(sum by (target) (sev1probe_month_seconds{{{TARGETS}}}) > 0)"
    return [
        plain_number(
            About(
                title=f"Availability, {name}",
                description=f"100 % minus the share of unavailable seconds ({name}) in the seconds of the record, for "
                "the target as a whole: a second in which both surfaces failed counts once. Excluded windows are "
                "left out.",
                unit=units.Percent,
                no_value="The prober does not know the month yet, or is not scraped",
                page="docs/ledger.md",
                width=4,
                height=5,
            ),
            Query(f"sort(100 * (1 - {queries.unavailable_of_month(basis)} / {recorded}))", now=True),
        ).decimals(PERCENT_DECIMALS)
        for name, basis in (("both bases", ""), ("literal alone", Basis.LITERAL))
    ]


def _coverage() -> Panel:
    judged = f'sev1probe_target_seconds_total{{{TARGETS},verdict!="{Verdict.UNOBSERVED}"}}'
    return (
        big_number(
            About(
                title="Coverage",
                description="Judged seconds in the seconds of the range. What is missing was not looked at, or not "
                "scraped: it is neither available nor unavailable.",
                unit=units.Percent,
                no_value="No second was judged in this range",
                page="docs/watchdog.md",
                width=4,
                height=5,
            ),
            Query(f"sort(100 * sum by (target) (increase({judged}[$__range])) / $__range_s)", now=True),
        )
        .decimals(2)
        .max(100)
        .thresholds(look.known(look.OURS, (99, look.BETWEEN), (99.9, look.GOOD)))
    )


def _issues_opened() -> Panel:
    turns = f'sev1probe_critical_issue_turns_total{{{TARGETS},turn="{IssueTurn.OPENED}"}}'
    return (
        big_number(
            About(
                title="Critical Issues",
                description="Critical Issues that opened in the range; they stand below.",
                unit=units.NoUnit,
                no_value="No second was judged in this range",
                page="docs/issues.md",
                width=4,
                height=5,
            ),
            Query(f"sort_desc(round(sum by (target) (increase({turns}[$__range]))))", now=True),
        )
        .decimals(0)
        .thresholds(look.known(look.GOOD, (1, look.THEIRS)))
    )


def _incidents() -> Panel:
    opened = f"sev1probe_critical_issue_opened_timestamp_seconds{{{TARGETS}}}"
    grouped = {
        "target": {"operation": "groupby", "aggregations": []},
        "Value": {"operation": "groupby", "aggregations": []},
        "Time": {"operation": "aggregate", "aggregations": ["firstNotNull", "lastNotNull"]},
    }
    title = {
        "target": "Target",
        "Value": "Opened (dated back)",
        "Time (firstNotNull)": "First seen",
        "Time (lastNotNull)": "Last seen open",
    }
    return (
        rows(
            About(
                title="Critical Issues of the range",
                description="Opened: the first of the unavailable seconds that made it persistent. First and last "
                "seen are as fine as the steps of the query (minutes, for a month); to the second: sev1probe issues.",
                unit=units.NoUnit,
                no_value="No Critical Issue was open in this range",
                page="docs/issues.md",
                width=9,
            ),
            [Query(f"max by (target) (max_over_time({opened}[$__interval])) * 1000 > 0")],
            [_group(grouped), *columns(title)],
        )
        .max_data_points(STEPS_MAX)
        .override_by_name("Opened (dated back)", [look.as_unit(units.DatetimeISO)])
    )


def _group(fields: Mapping[str, Mapping[str, object]]) -> DataTransformerConfig:
    return DataTransformerConfig(id_val="groupBy", options={"fields": fields})


def _missed() -> Panel:
    missed = f"sev1probe_obligations_missed_total{{{TARGETS}}}"
    title = {"target": "Target", "obligation": "Obligation", "Value": "Missed"}
    return rows(
        About(
            title="Obligations missed",
            description="What was owed in Critical Issues and Support Cases, by either side, and did not come in "
            "time. Each with its times: sev1probe issue show.",
            unit=units.Short,
            no_value="No obligation was missed in this range",
            page="docs/issues.md",
            width=6,
        ),
        [Query(f"round(sum by (target, obligation) (increase({missed}[$__range]))) > 0", now=True)],
        columns(title),
    ).override_by_name("Obligation", [look.as_words(look.words(look.OBLIGATION_WORDS))])


def _by_surface() -> Panel:
    def unavailable(basis: str) -> str:
        labels = {"basis": basis} if basis else {}
        selected = queries.matching("sev1probe_unavailable_seconds_total", TARGETS, **labels)
        return f"sum by (target, surface) (increase({selected}[$__range]))"

    recorded = f"(sum by (target, surface) (increase(sev1probe_seconds_total{{{TARGETS}}}[$__range])) > 0)"
    title = {
        "target": "Target",
        "surface": "Surface",
        "Value #A": "Literal",
        "Value #B": "Both bases",
        "Value #C": "Availability, both bases",
    }
    return rows(
        About(
            title="Unavailable seconds by surface",
            description="Each surface on its own. They do not add up to the target's: a second in which both failed "
            "is one second of the target.",
            unit=COUNTED_SECONDS,
            no_value="No second was judged in this range",
            page="docs/metrics.md",
            width=9,
        ),
        [
            Query(f"round({unavailable(Basis.LITERAL)})", now=True),
            Query(f"round({unavailable('')})", now=True),
            Query(f"100 * (1 - {unavailable('')} / {recorded})", now=True),
        ],
        [merged(), *columns(title)],
    ).override_by_name("Availability, both bases", [look.as_unit(units.Percent), look.decimals(PERCENT_DECIMALS)])


def _budget_over_time() -> Panel:
    panel = lines(
        About(
            title="Budget left, over the month",
            description="When the budget was spent. A step up is an amendment that left seconds out, or a new month. "
            "Below zero, the dashed line, it is overspent.",
            unit=COUNTED_SECONDS,
            no_value="The prober does not know the month yet, or is not scraped",
            page="docs/ledger.md",
            width=14,
        ),
        Query(queries.budget_left(), "{{target}} both bases"),
        Query(queries.budget_left(Basis.LITERAL), "{{target}} literal"),
    )
    panel.override_by_regexp("/ literal$/", [look.dashed()])
    return limit_line(panel, 0, look.THEIRS)


def _left_out() -> Panel:
    return plain_number(
        About(
            title="Excluded seconds",
            description="Seconds of the month in windows that were excluded (planned maintenance, and what else was "
            "agreed): sev1probe ledger amendments. They count in none of the numbers of the first row but coverage.",
            unit=COUNTED_SECONDS,
            no_value="The prober does not know the month yet, or is not scraped",
            page="docs/ledger.md",
            width=4,
        ),
        Query(f"sort_desc(max by (target) (sev1probe_month_excluded_seconds{{{TARGETS}}}))", now=True),
    )


def _suspected() -> Panel:
    suspected = f"sev1probe_suspected_seconds_total{{{TARGETS}}}"
    return big_number(
        About(
            title="Suspected seconds: for humans to decide",
            description="Seconds in which credentials were refused that were taken before and after, settings "
            "unchanged. They count nowhere; somebody has to look and, if it was the provider, say so to him.",
            unit=COUNTED_SECONDS,
            no_value="No second was judged in this range",
            page="docs/attribution.md",
            width=6,
        ),
        Query(
            f"sort_desc(round(sum by (target, surface) (increase({suspected}[$__range]))))",
            "{{target}} {{surface}}",
            now=True,
        ),
    ).thresholds(look.known(look.GOOD, (1, look.BETWEEN)))
