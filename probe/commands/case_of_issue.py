"""`case open --issue`: a case whose evidence is that of a Critical Issue, for profiles without a line to call."""

from pathlib import Path

from probe.clock import SECOND_US, wall_us
from probe.commands.cases import open_case
from probe.commands.issues import found_issue
from probe.commands.ledger import ledger_of
from probe.core.cases import EVIDENCE_S_MAX


def open_case_of_issue(
    issue: str,
    config: Path | None,
    ledger: str | None,
    *,
    is_draft: bool,
    title: str,
    words: str,
    by: str | None,
    as_json: bool,
) -> None:
    """Begin a case of the seconds from an issue's beginning to its restoration, an hour at most."""
    state = found_issue(ledger_of(ledger, config), issue).procedure
    first = state.opened_us // SECOND_US
    # The service was restored with the first available second, which shows nothing any more.
    end = (state.restored_us or wall_us()) // SECOND_US - 1
    open_case(
        None, config, ledger,
        is_draft=is_draft, target=state.target, kind="software_bug",
        title=title or f"Persistent Unavailability: {state.issue}",
        words=words or f"Unavailability of the service persisted; we know it as the Critical Issue {state.issue}.",
        first=str(first), last=str(max(first, min(end, first + EVIDENCE_S_MAX - 1))),
        at=None, by=by, as_json=as_json,
    )  # fmt: skip
