"""What the one who is paged looks at next: causes, latency, and whether it is our own network."""

from grafana_foundation_sdk.models import units

from grafana import look, queries
from grafana.panels import (
    About,
    Panel,
    Query,
    big_number,
    columns,
    lines,
    logarithmic,
    merged,
    rows,
    stacked_bars,
)
from grafana.queries import PROBER, TARGETS
from probe.core.model import Fault, Surface

DAY_S = 86_400


def causes() -> list[Panel]:
    """Show what the attempts ran into."""
    return [_causes(), _causes_counted()]


def latency() -> list[Panel]:
    """Show how long attempts and their phases take."""
    return [_durations(), _phases(Surface.API), _phases(Surface.SMTP)]


def surroundings() -> list[Panel]:
    """Show our network, and what the provider says and shows of himself."""
    return [_controls_working(), _controls(), _page_polls(), _certificates()]


def _causes() -> Panel:
    failed = f'sev1probe_attempts_total{{{TARGETS},fault!="{Fault.NONE}"}}'
    panel = stacked_bars(
        About(
            title="Failed attempts in each step, by fault, surface and cause",
            description="Counted exactly, step by step. Vermilion is theirs, orange is the network between, blue is "
            "ours. What each cause is stands behind the link.",
            unit=units.Short,
            no_value="No attempt failed in this range",
            page="docs/causes.md",
            width=14,
            height=9,
        ),
        Query(
            f"sum by (fault, surface, cause) {queries.in_step(failed)} > 0",
            "{{fault}}: {{surface}} {{cause}}",
        ),
    )
    for fault, (_, colour) in look.FAULT_WORDS.items():
        panel.override_by_regexp(f"/^{fault}: /", [look.coloured(colour, shades=True)])
    return panel


def _causes_counted() -> Panel:
    failed = f'sev1probe_attempts_total{{{TARGETS},fault!="{Fault.NONE}"}}'
    title = {"fault": "Whose", "surface": "Surface", "cause": "Cause", "Value": "Attempts"}
    return (
        rows(
            About(
                title="Causes in this range",
                description="Failed attempts of the whole range by cause, the most frequent first. The replies "
                "themselves, word for word, are in the ledger: sev1probe ledger export.",
                unit=units.Short,
                no_value="No attempt failed in this range",
                page="docs/causes.md",
                width=10,
                height=9,
            ),
            [
                Query(
                    f"sort_desc(round(sum by (fault, surface, cause) (increase({failed}[$__range]))) > 0)",
                    now=True,
                )
            ],
            columns(title),
        )
        .override_by_name("Whose", [look.as_words(look.words(look.FAULT_WORDS)), look.coloured_text()])
        .override_by_name("Attempts", [look.as_unit(units.Short)])
    )


def _durations() -> Panel:
    histogram = "sev1probe_attempt_duration_seconds"
    panel = lines(
        About(
            title="Whole attempts",
            description="Half of the attempts took no longer than the dashed line, 99 % no longer than the other. A "
            "hanging server shows as the timeout of the settings.",
            unit=units.Seconds,
            no_value="No attempt was made in this range",
            width=8,
        ),
        Query(queries.quantile(0.5, histogram, TARGETS, "surface"), "{{surface}} half"),
        Query(queries.quantile(0.99, histogram, TARGETS, "surface"), "{{surface}} 99 %"),
    )
    for surface, colour in ((Surface.API, look.PLAIN), (Surface.SMTP, look.OTHER)):
        panel.override_by_name(f"{surface} half", [look.coloured(colour), look.dashed()])
        panel.override_by_name(f"{surface} 99 %", [look.coloured(colour)])
    return logarithmic(panel)


def _phases(surface: Surface) -> Panel:
    selector = f'{TARGETS},surface="{surface}"'
    panel = lines(
        About(
            title=f"{surface.upper()} by phase, 95 %",
            description="95 % of the attempts took no longer in the phase. Phases of connecting are entered on fresh "
            "connections only; quantiles are as fine as the buckets.",
            unit=units.Seconds,
            no_value="No attempt was made in this range",
            width=8,
        ),
        Query(queries.quantile(0.95, "sev1probe_phase_duration_seconds", selector, "phase"), "{{phase}}"),
    )
    for phases, marks in ((look.CONNECTING, [look.dashed()]), (look.SERVING, [])):
        for phase, colour in zip(phases, look.LINE_COLOURS, strict=True):
            panel.override_by_name(phase, [look.coloured(colour), *marks])
    return logarithmic(panel)


def _controls_working() -> Panel:
    attempts = f"sev1probe_control_attempts_total{{{PROBER}"
    worked = f'sum by (control) (rate({attempts},worked="true"}}[$__rate_interval]))'
    return lines(
        About(
            title="Controls that worked",
            description="Share of each control's attempts that worked. All at once failing is our own network; one "
            "alone is that control.",
            unit=units.PercentUnit,
            no_value="No control was tried in this range",
            page="docs/attribution.md",
            width=7,
        ),
        Query(f"{worked} / (sum by (control) (rate({attempts}}}[$__rate_interval])) > 0)", "{{control}}"),
    ).max(1)


def _controls() -> Panel:
    title = {"control": "Control", "Value #A": "Long-term record", "Value #B": "Speaks for our network"}
    trust = look.yes_and_no(("yes", look.GOOD), ("no: too flaky", look.BETWEEN))
    return (
        rows(
            About(
                title="Controls",
                description="A control that fails too often over its long-term record is not trusted, and then "
                "corroborates nothing.",
                unit=units.PercentUnit,
                no_value="There is no control in the settings, or no prober is scraped",
                page="docs/attribution.md",
                width=6,
            ),
            [
                Query(f"max by (control) (sev1probe_control_success_ratio{{{PROBER}}})", now=True),
                Query(f"max by (control) (sev1probe_control_trusted{{{PROBER}}})", now=True),
            ],
            [merged(), *columns(title)],
        )
        .override_by_name("Long-term record", [look.as_unit(units.PercentUnit)])
        .override_by_name("Speaks for our network", [look.as_words(trust), look.coloured_text()])
    )


def _page_polls() -> Panel:
    polls = f"sev1probe_provider_page_polls_total{{{PROBER}}}"
    return stacked_bars(
        About(
            title="Their status page, polls in each step",
            description="Whether the provider's status page could be read. What it said is kept in the ledger word "
            "for word and changes no verdict.",
            unit=units.Short,
            no_value="No status page is polled (setting status_pages)",
            page="docs/attribution.md",
            width=6,
        ),
        Query(f"sum by (source, outcome) {queries.in_step(polls)} > 0", "{{source}} {{outcome}}"),
    )


def _certificates() -> Panel:
    expiry = f"sev1probe_certificate_expiry_timestamp_seconds{{{TARGETS}}}"
    return (
        big_number(
            About(
                title="Their certificates expire in",
                description="Time until the first of the certificates expires that the target showed last. After that "
                "every attempt fails, and so does your mail: an expired certificate is theirs to renew.",
                unit=units.DurationSeconds,
                no_value="None was shown, or not scraped",
                page="deploy/runbooks/Sev1probeCertificateExpires.md",
                width=5,
            ),
            Query(f"sort(min by (target) ({expiry}) - time())", now=True),
        )
        .decimals(1)
        .thresholds(look.known(look.THEIRS, (DAY_S, look.BETWEEN), (14 * DAY_S, look.GOOD)))
    )
