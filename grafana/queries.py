"""PromQL of which more than one panel is made.

Seconds are counted exactly: a counter now minus the same counter one step earlier. Steps of `$__interval` then tile the
range, no second is counted twice or extrapolated, and a step in which the daemon began anew shows what it can. `rate()`
would smear a second over four scrapes.
"""

from typing import Final

from grafana import look
from probe.core.model import Basis, Verdict
from probe.core.obligations import ObligationState

PROBER: Final = 'job="$job",instance="$instance"'
TARGETS: Final = f'{PROBER},target=~"$target"'


def matching(metric: str, selector: str, **labels: str) -> str:
    """Select a metric by the selector and by labels that have one value."""
    wanted = [selector, *(f'{name}="{value}"' for name, value in labels.items())]
    return f"{metric}{{{','.join(wanted)}}}"


def in_step(selected: str) -> str:
    """Count by how much a counter went up in one step; a negative number where it began anew."""
    return f"({selected} - {selected} offset $__interval)"


def one_of(*states: tuple[str, int]) -> str:
    """Give each series that is above zero the number of its state; of the same labels the first counts."""
    return " or ".join(f"0 * ({expression} > 0) + {number}" for expression, number in states)


def verdict_strip() -> str:
    """Give the worst verdict in each step, by target and surface; nothing where no second was judged."""
    seconds, unavailable = "sev1probe_seconds_total", "sev1probe_unavailable_seconds_total"
    states = one_of(
        (in_step(matching(seconds, TARGETS, verdict=Verdict.AVAILABLE)), look.AVAILABLE),
        (in_step(matching(seconds, TARGETS, verdict=Verdict.UNOBSERVED)), look.UNOBSERVED),
        (in_step(matching(seconds, TARGETS, verdict=Verdict.INCONCLUSIVE)), look.INCONCLUSIVE),
        (in_step(matching(unavailable, TARGETS, basis=Basis.CORROBORATED)), look.CORROBORATED),
        (in_step(matching(unavailable, TARGETS, basis=Basis.LITERAL)), look.LITERAL),
    )
    # Prometheus sorts series by their labels, by "row" before "surface": so a target's surfaces stay together.
    return f'label_join(max by (target, surface) ({states}), "row", " ", "target", "surface")'


def control_strip() -> str:
    """Tell in each step, by control, whether all its attempts worked; nothing where none was made."""
    step_ago = " offset $__interval"

    def attempts(worked: str, when: str = "") -> str:
        return f"sum by (control) ({matching('sev1probe_control_attempts_total', PROBER, worked=worked)}{when})"

    # A control that never failed has no series of failures to subtract, and its first failures would be missed.
    failed_before = f"({attempts('false', step_ago)} or 0 * {attempts('true', step_ago)})"
    return one_of(
        (f"({attempts('false')} - {failed_before})", look.FAILED),
        (f"({attempts('true')} - {attempts('true', step_ago)})", look.WORKED),
    )


def them_or_us() -> str:
    """Answer by target for the last minute, the worst first: a Critical Issue, them, us, nobody."""
    seconds, unavailable = "sev1probe_target_seconds_total", "sev1probe_target_unavailable_seconds_total"

    def lately(metric: str, **labels: str) -> str:
        return f"increase({matching(metric, TARGETS, **labels)}[1m])"

    answers = one_of(
        (lately(seconds, verdict=Verdict.AVAILABLE), look.NOBODY_S),
        (lately(seconds, verdict=Verdict.UNOBSERVED), look.UNOBSERVED_LATELY),
        (lately(seconds, verdict=Verdict.INCONCLUSIVE), look.US),
        (_because(f"sev1probe_blind{{{TARGETS}}}", "blind"), look.BLIND),
        (lately(unavailable, basis=Basis.CORROBORATED), look.THEM_CORROBORATED),
        (lately(unavailable, basis=Basis.LITERAL), look.THEM),
        (_because(f"sev1probe_critical_issue_open{{{TARGETS}}}", "issue"), look.CRITICAL_ISSUE),
    )
    return f"sort_desc(max by (target) ({answers}))"


def prober_state() -> str:
    """Tell how the prober is, the worst first: not scraped, blind for a target, ledger not written."""
    states = one_of(
        (_because(f"up{{{PROBER}}} + 1", "scraped"), look.LOOKS),
        (_because(f"1 - sev1probe_ledger_writable{{{PROBER}}}", "ledger"), look.UNWRITTEN),
        (_because(f"sev1probe_blind{{{PROBER}}}", "blind"), look.SEES_NOTHING),
        (_because(f"1 - up{{{PROBER}}}", "down"), look.DOWN),
    )
    return f"max by (instance) ({states})"


def _because(expression: str, reason: str) -> str:
    """Add a label, so that `or` does not take two different states of one thing for the same series."""
    return f'label_replace({expression}, "reason", "{reason}", "", "")'


def quantile(share: float, histogram: str, selector: str, *labels: str) -> str:
    """Give a quantile of the classic histogram; of the native one where Prometheus keeps no other."""
    by_bucket, by = ", ".join(["le", *labels]), ", ".join(labels)
    native_sum = f"sum by ({by})" if labels else "sum"
    classic = f"sum by ({by_bucket}) (rate({histogram}_bucket{{{selector}}}[$__rate_interval]))"
    native = f"{native_sum} (rate({histogram}{{{selector}}}[$__rate_interval]))"
    # What did not happen has the quantile NaN, which is not to be listed.
    return f"(histogram_quantile({share}, {classic}) or histogram_quantile({share}, {native})) >= 0"


def owed() -> str:
    """Count what is owed in Critical Issues and Support Cases, by whether it is pending, overdue, or came late.

    A case's is pending or missed: whether it came after all is in the ledger.
    """
    by = "sum by (target, obligation)"
    missed = f"{by} ({matching('sev1probe_obligations', TARGETS, state=ObligationState.MISSED)})"
    overdue = f"{by} (sev1probe_obligations_overdue{{{TARGETS}}})"
    pending = matching("sev1probe_obligations", TARGETS, state=ObligationState.PENDING)
    of_issues = " or ".join(
        (
            f"sum by (target, obligation, state) ({pending}) > 0",
            f'label_replace({overdue} > 0, "state", "{look.OVERDUE}", "", "")',
            f'label_replace({missed} - {overdue} > 0, "state", "{look.CAME_LATE}", "", "")',
        )
    )
    of_cases = f"sum by (target, obligation, state) (sev1probe_case_obligations{{{TARGETS}}}) > 0"
    return " or ".join(
        f'label_replace({owed}, "owed_in", "{what}", "", "")'
        for owed, what in ((of_issues, "Critical Issue"), (of_cases, "Support Case"))
    )


def unavailable_of_month(basis: str = "") -> str:
    """Count the month's unavailable seconds of the target as a whole, of one basis or both, without excluded ones."""
    labels = {"basis": basis} if basis else {}
    return f"sum by (target) ({matching('sev1probe_month_unavailable_seconds', TARGETS, **labels)})"


def budget_left(basis: str = "") -> str:
    """Give the unavailable seconds that the objective still allows in the month."""
    return f"max by (target) (sev1probe_month_budget_seconds{{{TARGETS}}}) - {unavailable_of_month(basis)}"
