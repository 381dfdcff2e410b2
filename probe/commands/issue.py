"""The `issue` part of the command line; thin: the work stands in `probe.commands.issues`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

issue_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See a Critical Issue through: from the call sheet to the resolution that both sides agree on.",
)

Id = Annotated[
    str | None,
    typer.Argument(
        help="The issue, or its beginning; without it the one that is not over.", metavar="ISSUE", show_default=False
    ),
]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="The settings.", metavar="FILE")]
Ledger = Annotated[str | None, typer.Option("--ledger", help="The ledger, if not the settings' one.", metavar="LEDGER")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
At = Annotated[
    str | None,
    typer.Option(help="When it happened, if not now: 03:12 (your zone), ISO 8601, or ago (5m).", metavar="TIME"),
]
By = Annotated[str | None, typer.Option(help="Who records this; your login name if not given.", metavar="NAME")]
Words = Annotated[str, typer.Option(help="What was said.", metavar="TEXT")]
To = Annotated[str, typer.Option("--to", help="Who was spoken to.", metavar="NAME")]
Reference = Annotated[str, typer.Option(help="The provider's reference.", metavar="NUMBER")]
NextUpdate = Annotated[
    str | None, typer.Option(help="When the next update was promised for: 04:00, or in (30m).", metavar="TIME")
]
Seen = Annotated[
    int,
    typer.Option(
        "--if-revision", help="Only if it is still at this revision.", min=0, metavar="NUMBER", show_default=False
    ),
]


class Side(StrEnum):
    """Who agrees."""

    CUSTOMER = "customer"
    PROVIDER = "provider"


Of = Annotated[Side, typer.Argument(help="Whose word it is.", metavar="customer|provider")]


class Page(StrEnum):
    """How a call sheet is written."""

    TEXT = "text"
    HTML = "html"


def _tell(act: str, issue: str | None, config: Path | None, ledger: str | None, **told: Any) -> None:
    from probe.commands.issues import tell

    tell(act, issue, config, ledger, **told)


@issue_app.command(name="list")
def list_(
    config: Config = None,
    ledger: Ledger = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List Critical Issues that are not over; exit code 1 if there is one."""
    from probe.commands.issues import list_issues

    list_issues(config, ledger, everything=everything, as_json=as_json)


@issue_app.command()
def show(issue: Id = None, config: Config = None, ledger: Ledger = None, as_json: AsJson = False) -> None:
    """Show all that happened in an issue, and what each side owes."""
    from probe.commands.issues import show as command

    command(issue, config, ledger, as_json=as_json)


@issue_app.command(name="call-sheet", short_help="Whom to call, and what to say, on one page.")
def call_sheet(
    issue: Id = None,
    config: Config = None,
    ledger: Ledger = None,
    form: Annotated[Page, typer.Option("--format", help="How to write it.")] = Page.TEXT,
    to: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; standard output if not given.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whom to call and what to say, on one page made from the record."""
    from probe.commands.call_sheet import call_sheet as command

    command(issue, config, ledger, form=form, to=to, as_json=as_json)


@issue_app.command()
def called(
    issue: Id = None,
    config: Config = None,
    ledger: Ledger = None,
    to: To = "",
    reference: Reference = "",
    words: Words = "",
    at: At = None,
    by: By = None,
    seen: Seen = 0,
    as_json: AsJson = False,
) -> None:
    """Record that the Severity 1 line was called."""
    _tell(
        "line_called", issue, config, ledger,
        at=at, by=by, words=words, spoken_to=to, reference=reference, seen=seen, as_json=as_json,
    )  # fmt: skip


@issue_app.command(name="called-back")
def called_back(
    issue: Id = None,
    config: Config = None,
    ledger: Ledger = None,
    to: To = "",
    reference: Reference = "",
    words: Words = "",
    next_update: NextUpdate = None,
    at: At = None,
    by: By = None,
    seen: Seen = 0,
    as_json: AsJson = False,
) -> None:
    """Record that the provider called back; later, too, with its true time."""
    _tell(
        "called_back", issue, config, ledger,
        at=at, by=by, words=words, spoken_to=to, reference=reference, next_update=next_update, seen=seen,
        as_json=as_json,
    )  # fmt: skip


@issue_app.command()
def update(
    words: Annotated[str, typer.Option(help="What they said: what the issue is, and until when.", metavar="TEXT")],
    issue: Id = None,
    config: Config = None,
    ledger: Ledger = None,
    to: To = "",
    next_update: NextUpdate = None,
    at: At = None,
    by: By = None,
    seen: Seen = 0,
    as_json: AsJson = False,
) -> None:
    """Record an update that the provider gave."""
    _tell(
        "updated", issue, config, ledger,
        at=at, by=by, words=words, spoken_to=to, next_update=next_update, seen=seen, as_json=as_json,
    )  # fmt: skip


@issue_app.command()
def agree(
    side: Of, issue: Id = None, config: Config = None, ledger: Ledger = None, words: Words = "",
    at: At = None, by: By = None, seen: Seen = 0, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record that one side agrees that the issue is resolved; it is once both have."""
    _tell("agreed", issue, config, ledger, at=at, by=by, words=words, party=side, seen=seen, as_json=as_json)


@issue_app.command()
def withdraw(
    side: Of, issue: Id = None, config: Config = None, ledger: Ledger = None, words: Words = "",
    at: At = None, by: By = None, seen: Seen = 0, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take one side's agreement back, as long as the other one has not agreed."""
    _tell("withdrawn", issue, config, ledger, at=at, by=by, words=words, party=side, seen=seen, as_json=as_json)


@issue_app.command()
def disagree(
    side: Of,
    words: Annotated[str, typer.Option(help="What is still wrong.", metavar="TEXT")],
    issue: Id = None, config: Config = None, ledger: Ledger = None,
    at: At = None, by: By = None, seen: Seen = 0, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record that one side does not agree that the issue is resolved."""
    _tell("disagreed", issue, config, ledger, at=at, by=by, words=words, party=side, seen=seen, as_json=as_json)


@issue_app.command()
def reclassify(
    reason: Annotated[str, typer.Option(help="Why it is no software bug of the provider's.", metavar="TEXT")],
    issue: Id = None, config: Config = None, ledger: Ledger = None,
    at: At = None, by: By = None, seen: Seen = 0, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Declare that an issue is not a software bug; it stays in the record, and is over."""
    _tell("reclassified", issue, config, ledger, at=at, by=by, words=reason, seen=seen, as_json=as_json)


@issue_app.command()
def escalated(
    issue: Id = None, config: Config = None, ledger: Ledger = None, to: To = "", reference: Reference = "",
    words: Words = "", at: At = None, by: By = None, seen: Seen = 0, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record that the Technical Account Manager was called or written to."""
    _tell(
        "escalated", issue, config, ledger,
        at=at, by=by, words=words, spoken_to=to, reference=reference, seen=seen, as_json=as_json,
    )  # fmt: skip


@issue_app.command()
def submitted(
    reference: Annotated[str, typer.Option(help="The case's number.", metavar="NUMBER")],
    issue: Id = None, config: Config = None, ledger: Ledger = None, words: Words = "",
    at: At = None, by: By = None, seen: Seen = 0, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record that a Support Case was submitted for an issue, as the newer contract asks."""
    _tell(
        "case_submitted", issue, config, ledger,
        at=at, by=by, words=words, reference=reference, seen=seen, as_json=as_json,
    )  # fmt: skip
