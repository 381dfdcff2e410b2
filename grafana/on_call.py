"""The dashboard for the one who is paged: is it them or us, now?"""

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import units

from grafana import look, on_call_why, queries
from grafana.frame import Frame, begin, fill
from grafana.panels import (
    COUNTED_SECONDS,
    About,
    Panel,
    Query,
    bars_now,
    big_number,
    columns,
    limit_line,
    lines,
    rows,
    strip,
)
from grafana.queries import PROBER, TARGETS
from probe.core.model import Persistence

FRAME = Frame(
    uid="sev1probe-on-call",
    title="sev1probe: on call",
    description="Is it them or us, now? What is open, what is owed, and what the attempts ran into.",
    since="now-1h",
    refresh="10s",
    annotation_step="1m",
)
# What opens a Critical Issue, unless the settings say otherwise.
PERSISTENCE = Persistence()


def build() -> Dashboard:
    """Build the dashboard."""
    begun = begin(FRAME)
    fill(begun, "", [*_answers(), _strip_of_seconds()])
    fill(begun, "Critical Issue", [_nearness(), _issues(), _obligations()])
    fill(begun, "Causes", on_call_why.causes())
    fill(begun, "Latency", on_call_why.latency())
    fill(begun, "Our network, their page, their certificates", on_call_why.surroundings())
    return begun


def _answers() -> list[Panel]:
    return [
        big_number(
            About(
                title="Them or us?",
                description="The worst of the last minute, by target. THEM: unavailable by the contract's own words, "
                "or (orange) by a network fault while one of our controls worked. US: our credentials, quota, "
                "network or host, and seconds that nobody looked at. A Critical Issue stays until service is "
                "restored.",
                unit=units.NoUnit,
                no_value="Nobody knows: no prober is scraped",
                page="docs/attribution.md",
                width=7,
                height=5,
            ),
            Query(queries.them_or_us(), now=True),
        ).mappings(look.words(look.ANSWERS)),
        _issue_open(),
        _faults(),
        big_number(
            About(
                title="Our controls, last minute",
                description="Share of the attempts at things that are not the provider that worked in the last "
                "minute. Below all of them, look at our own network first.",
                unit=units.PercentUnit,
                no_value="No control was tried",
                page="docs/attribution.md",
                width=3,
                height=5,
            ),
            Query(_share_working("1m"), "", now=True),
        ).thresholds(look.known(look.OURS, (0.9, look.GOOD))),
        big_number(
            About(
                title="The prober",
                description="Whether the prober itself can be believed: scraped, not blind for any target, and its "
                "ledger written. While it is not scraped, this dashboard knows nothing.",
                unit=units.NoUnit,
                no_value="Not scraped",
                page="docs/watchdog.md",
                width=3,
                height=5,
            ),
            Query(queries.prober_state(), "", now=True),
        ).mappings(look.words(look.PROBER_WORDS)),
    ]


def _issue_open() -> Panel:
    opened = f"sev1probe_critical_issue_opened_timestamp_seconds{{{TARGETS}}}"
    is_open = f"sev1probe_critical_issue_open{{{TARGETS}}}"
    return (
        big_number(
            About(
                title="Critical Issue open for",
                description="Time since the second to which the opening is dated back: the first of the unavailable "
                "seconds that made it persistent. It ends when service is restored; the issue is resolved when both "
                "sides agree.",
                unit=units.DurationSeconds,
                no_value="Nobody knows: no prober is scraped",
                page="docs/issues.md",
                width=5,
                height=5,
            ),
            Query(f"sort_desc(max by (target) ((time() - {opened}) and {is_open} == 1 or {is_open} - 1))", now=True),
        )
        .decimals(1)
        .mappings(look.words({-1: ("none open", look.GOOD)}))
        .thresholds(look.known(look.GOOD, (0, look.THEIRS)))
    )


def _faults() -> Panel:
    panel = bars_now(
        About(
            title="Whose failures, last 5 minutes",
            description="Attempts of the last five minutes by whose failure they were. A single failure is no "
            "unavailable second: every attempt of the second must have failed, for a cause that lies with the server.",
            unit=units.Short,
            no_value="No attempt was made",
            page="docs/causes.md",
            width=6,
            height=5,
        ),
        Query(
            f"sort_desc(sum by (fault) (increase(sev1probe_attempts_total{{{TARGETS}}}[5m])))", "{{fault}}", now=True
        ),
    ).decimals(0)
    for fault, (word, colour) in look.FAULT_WORDS.items():
        panel.override_by_name(fault, [look.named(word), look.coloured(colour)])
    return panel


def _share_working(duration: str) -> str:
    attempts = f"sev1probe_control_attempts_total{{{PROBER}"
    worked = f'sum(increase({attempts},worked="true"}}[{duration}]))'
    return f"{worked} / (sum(increase({attempts}}}[{duration}])) > 0)"


def _strip_of_seconds() -> Panel:
    return strip(
        About(
            title="Strip of seconds",
            description="The worst verdict of the seconds in each step, by surface, and whether our controls worked "
            "in the same step. One step is one scrape or more: zoom in to see single scrapes. A gap means that no "
            "second was judged in the step.",
            unit=units.NoUnit,
            no_value="No second was judged in this range",
            page="docs/attribution.md",
            width=24,
            height=9,
        ),
        Query(queries.verdict_strip(), "{{row}}"),
        Query(queries.control_strip(), "control {{control}}"),
    ).mappings(look.words(look.STRIP_WORDS))


def _nearness() -> Panel:
    window, limit = PERSISTENCE.window_seconds, PERSISTENCE.unavailable_seconds
    seconds = f'sev1probe_target_seconds_total{{{TARGETS},verdict="unavailable"}}'
    return limit_line(
        lines(
            About(
                title=f"How near to a Critical Issue: unavailable seconds of the last {window}",
                description=f"A Critical Issue opens at {limit} unavailable seconds in {window} (the dashed line; "
                "settings may say otherwise), and is dated back to the first of them. Either surface counts.",
                unit=COUNTED_SECONDS,
                no_value="No second was judged in this range",
                page="docs/issues.md",
                width=8,
            ),
            Query(f"increase({seconds}[{window}s])"),
        ).max(window),
        limit,
        look.THEIRS,
    )


def _issues() -> Panel:
    since = f"sev1probe_critical_issue_since_timestamp_seconds{{{TARGETS}}}"
    title = {"target": "Target", "call": "Severity 1 line", "Value": "Since", "issue": "Issue"}
    return (
        rows(
            About(
                title="Critical Issues that are not over",
                description="Whom to call, and since when (dated back). An issue is over when both sides have agreed, "
                "which is later than restored; its name leads to all that happened in it.",
                unit=units.NoUnit,
                no_value="No Critical Issue, or no prober is scraped (see the top)",
                page="deploy/runbooks/Sev1probeCriticalIssue.md",
                width=8,
            ),
            [Query(f"max by (target, issue, call) ({since}) * 1000", now=True)],
            columns(title),
        )
        .override_by_name("Since", [look.as_unit(units.DatetimeISO)])
        .override_by_name("Severity 1 line", [look.as_words([look.empty("see issue call-sheet")])])
        .override_by_name("Issue", [look.linked("What happened", "http://${instance}/api/v1/issues/${__value.raw}")])
    )


def _obligations() -> Panel:
    title = {"target": "Target", "owed_in": "Owed in", "obligation": "Obligation", "state": "State"}
    mapped = look.as_words(look.words(look.OBLIGATION_WORDS))
    return (
        rows(
            About(
                title="Obligations",
                description="What each side owes in Critical Issues and Support Cases that are not over. Overdue: was "
                "due and has not come. By when, and what to say: sev1probe issue call-sheet, issue show, case show.",
                unit=units.NoUnit,
                no_value="Nothing is owed, or no prober is scraped (see the top)",
                page="docs/issues.md",
                width=8,
            ),
            [Query(queries.owed(), now=True)],
            columns(title),
        )
        .override_by_name("Obligation", [mapped])
        .override_by_name("State", [mapped, look.coloured_text()])
    )
