"""The month day by day, counted from what was scraped."""

from typing import Final

from grafana_foundation_sdk.builders import timeseries

from grafana import look
from grafana.panels import (
    COUNTED_SECONDS,
    About,
    Panel,
    Query,
    stacked_bars,
)
from grafana.queries import TARGETS
from probe.core.model import Basis, Verdict

DAY: Final = "1d"
# A bar stands at the beginning of its day, so it looks ahead; the day under way is counted as far as it is known.
OF_THE_DAY: Final = f"[{DAY}] offset -{DAY}"


def days() -> list[Panel]:
    """Show on which days seconds were lost, and to whom."""
    return [_unavailable_by_day(), _unknown_by_day()]


def _by_basis(panel: timeseries.Panel) -> timeseries.Panel:
    """Colour what the contract's own words cover, and what our controls lay at their door."""
    panel.override_by_regexp(f"/ {Basis.LITERAL}$/", [look.coloured(look.THEIRS, shades=True)])
    return panel.override_by_regexp(f"/ {Basis.CORROBORATED}$/", [look.coloured(look.BETWEEN, shades=True)])


def _unavailable_by_day() -> Panel:
    unavailable = f"sev1probe_target_unavailable_seconds_total{{{TARGETS}}}"
    return _by_basis(
        stacked_bars(
            About(
                title="Unavailable seconds by day",
                description="By what the verdict rests on: the contract's words alone (literal), or a network fault "
                "while a control of the same second worked (corroborated). Days are UTC.",
                unit=COUNTED_SECONDS,
                no_value="No second was judged in this range",
                page="docs/attribution.md",
                width=14,
                height=9,
            ),
            Query(f"sum by (target, basis) (increase({unavailable}{OF_THE_DAY}))", "{{target}} {{basis}}"),
        ).interval(DAY)
    )


def _unknown_by_day() -> Panel:
    seconds = f'sev1probe_target_seconds_total{{{TARGETS},verdict=~"{Verdict.INCONCLUSIVE}|{Verdict.UNOBSERVED}"}}'
    return (
        stacked_bars(
            About(
                title="Seconds that say nothing about them, by day",
                description="Inconclusive ones (our credentials, quota, network or host) and unobserved ones (nobody "
                "looked). They count neither way.",
                unit=COUNTED_SECONDS,
                no_value="No second was judged in this range",
                page="docs/attribution.md",
                width=10,
                height=9,
            ),
            Query(f"sum by (target, verdict) (increase({seconds}{OF_THE_DAY}))", "{{target}} {{verdict}}"),
        )
        .interval(DAY)
        .decimals(0)
        .override_by_regexp(f"/ {Verdict.INCONCLUSIVE}$/", [look.coloured(look.OURS, shades=True)])
        .override_by_regexp(f"/ {Verdict.UNOBSERVED}$/", [look.coloured(look.NOBODY, shades=True)])
    )
