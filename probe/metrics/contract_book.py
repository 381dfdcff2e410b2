"""What is shown of the contract's affairs: issues that are not over, what is overdue in them, and the month's budget.

Its children come and go with issues and months, so none of them is kept by anybody.
"""

from collections.abc import Iterable, Mapping

from probe.core.model import Basis, Verdict
from probe.core.notice_values import SEVERITY_1
from probe.core.obligations import Duty
from probe.core.totals import PPM, Count
from probe.metrics import catalogue
from probe.metrics.books import Families


class ContractBook:
    """The contract's affairs of all targets."""

    def __init__(self, families: Families) -> None:
        self._families = families
        self._targets = frozenset[str]()
        self._lines: Mapping[str, str] = {}

    def configure(self, targets: Iterable[str]) -> None:
        """Show nothing but these targets from now on."""
        self._targets = frozenset(targets)
        for target in sorted(self._targets):
            for duty in Duty:
                self._families.scalar(catalogue.OBLIGATIONS_OVERDUE).cell(target, duty)

    def name_lines(self, lines: Mapping[str, str]) -> None:
        """Name the number of each target's Severity 1 line; "" where it is not configured, none where there is no line.

        Persons are not named here: whoever reads metrics need not know whom to reach where there is no line.
        """
        self._lines = lines

    def show_issues(self, target: str, since: Mapping[str, int]) -> None:
        """Show the issues of a target that are not over, each with the second that it is dated back to."""
        if target not in self._targets:
            return
        family = self._families.scalar(catalogue.ISSUE_SINCE)
        line = SEVERITY_1 if target in self._lines else ""
        shown = {issue: (target, issue, line, self._lines.get(target, "")) for issue in since}
        family.forget_unless(lambda labels: labels["target"] != target or tuple(labels.values()) in shown.values())
        for issue, labels in shown.items():
            family.cell(*labels).value = since[issue]

    def show_overdue(self, target: str, counts: Mapping[Duty, int]) -> None:
        """Show what was due in a target's issues and has not come."""
        if target in self._targets:
            for duty in Duty:
                self._families.scalar(catalogue.OBLIGATIONS_OVERDUE).cell(target, duty).value = counts.get(duty, 0)

    def show_month(self, target: str, count: Count, objective_ppm: int) -> None:
        """Show a target's calendar month so far; `range_seconds` of the count are those of the whole month."""
        if target not in self._targets:
            return
        scalar = self._families.scalar
        by_verdict = {
            Verdict.AVAILABLE: count.available,
            Verdict.UNAVAILABLE: count.unavailable,
            Verdict.INCONCLUSIVE: count.inconclusive,
            Verdict.UNOBSERVED: count.unobserved,
        }
        for verdict, seconds in by_verdict.items():
            scalar(catalogue.MONTH_SECONDS).cell(target, verdict).value = seconds
        by_basis = {Basis.LITERAL: count.unavailable_literal, Basis.CORROBORATED: count.unavailable_corroborated}
        for basis, seconds in by_basis.items():
            scalar(catalogue.MONTH_UNAVAILABLE).cell(target, basis).value = seconds
        scalar(catalogue.MONTH_EXCLUDED).cell(target).value = count.excluded
        scalar(catalogue.MONTH_BUDGET).cell(target).value = float(count.budget_s(objective_ppm))
        scalar(catalogue.OBJECTIVE).cell(target).value = objective_ppm / PPM
