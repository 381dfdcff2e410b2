"""The `case` part of the command line; thin: the work stands in `probe.commands.cases`."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from probe.commands.issue import AsJson, At, By, Config, Ledger, NextUpdate, Of, Reference, Seen, Side, To, Words

case_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See a Support Case through: a Non-Critical Issue, answered in Business Hours, until both sides agree.",
)


class Kind(StrEnum):
    """What a Non-Critical Issue is."""

    SOFTWARE_BUG = "software_bug"
    CONFIGURATION_REQUEST = "configuration_request"
    INFORMATION_REQUEST = "information_request"


Id = Annotated[
    str | None,
    typer.Argument(help="The case, or its beginning; without it the one that is not over.", metavar="CASE"),
]
Said = Annotated[str, typer.Option("--words", help="What was said.", metavar="TEXT")]


def _tell(act: str, case: str | None, config: Any, ledger: str | None, **told: Any) -> None:
    from probe.commands.cases import tell
    from probe.core.case_happenings import CaseAct

    tell(CaseAct(act), case, config, ledger, **told)


@case_app.command(name="list")
def list_(
    config: Config = None,
    ledger: Ledger = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List Support Cases that are not over."""
    from probe.commands.cases import list_cases

    list_cases(config, ledger, everything=everything, as_json=as_json)


@case_app.command()
def show(case: Id = None, config: Config = None, ledger: Ledger = None, as_json: AsJson = False) -> None:
    """Show all that happened in a case, and what is owed in it."""
    from probe.commands.cases import show as command

    command(case, config, ledger, as_json=as_json)


@case_app.command(name="open")
def open_(
    case: Annotated[
        str | None, typer.Argument(help="A draft to open; leave it out to begin a case.", metavar="CASE")
    ] = None,
    config: Config = None,
    ledger: Ledger = None,
    kind: Annotated[Kind | None, typer.Option(help="What it is.")] = None,
    title: Annotated[str, typer.Option(help="What it is about, in a line.", metavar="TEXT")] = "",
    words: Annotated[str, typer.Option(help="What is wrong or wanted.", metavar="TEXT")] = "",
    target: Annotated[str | None, typer.Option(help="The target, if there is more than one.", metavar="NAME")] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="The first second of the evidence, as --at.", metavar="TIME")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="The last one, at most an hour later; default: now.", metavar="TIME")
    ] = None,
    issue: Annotated[
        str | None,
        typer.Option(help="Of this Critical Issue; that says the target, kind and evidence.", metavar="ISSUE"),
    ] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Only draft it; somebody else opens it.")] = False,
    at: At = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Begin a Support Case, or open a draft of one."""
    from probe.commands.case_of_issue import open_case_of_issue
    from probe.commands.cases import open_case
    from probe.commands.terminal import Exit, fail

    if issue is not None:
        if case or target or kind or first or last or at:
            fail("--issue: says what the case is about; only --title, --words and --draft go with it.", Exit.INPUT)
        open_case_of_issue(
            issue, config, ledger, is_draft=draft, title=title.strip(), words=words, by=by, as_json=as_json
        )
        return
    open_case(
        case, config, ledger,
        is_draft=draft, target=target, kind=kind, title=title, words=words, first=first, last=last,
        at=at, by=by, as_json=as_json,
    )  # fmt: skip


@case_app.command()
def submit(
    case: Id = None,
    config: Config = None,
    ledger: Ledger = None,
    by_mail: Annotated[bool, typer.Option("--by-mail", help="Mail it now, with the evidence.")] = False,
    number: Annotated[
        str | None, typer.Option(help="It is in the dashboard already, under this number.", metavar="NUMBER")
    ] = None,
    at: At = None,
    by: By = None,
    seen: Seen = 0,
    as_json: AsJson = False,
) -> None:
    """Submit a case by mail, or record that it was submitted through the dashboard."""
    from probe.commands.submit_case import submit as command

    command(case, config, ledger, number=number, by_mail=by_mail, at=at, by=by, seen=seen, as_json=as_json)


@case_app.command()
def reply(
    words: Said, case: Id = None, config: Config = None, ledger: Ledger = None,
    side: Annotated[Side, typer.Option("--from", help="Who replied.")] = Side.PROVIDER,
    reference: Reference = "", next_update: NextUpdate = None,
    at: At = None, by: By = None, seen: Seen = 0, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record a reply: the provider's answer, or what the customer supplied."""
    _tell(
        "replied", case, config, ledger,
        at=at, by=by, words=words, party=side, reference=reference, next_update=next_update, seen=seen, as_json=as_json,
    )  # fmt: skip


@case_app.command()
def update(
    words: Said, case: Id = None, config: Config = None, ledger: Ledger = None, to: To = "",
    next_update: NextUpdate = None, at: At = None, by: By = None, seen: Seen = 0, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record an update that the provider gave."""
    _tell(
        "updated", case, config, ledger,
        at=at, by=by, words=words, spoken_to=to, next_update=next_update, seen=seen, as_json=as_json,
    )  # fmt: skip


@case_app.command()
def escalate(
    case: Id = None, config: Config = None, ledger: Ledger = None, to: To = "", reference: Reference = "",
    words: Words = "", at: At = None, by: By = None, seen: Seen = 0, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record that the Technical Account Manager was called or written to."""
    _tell(
        "escalated", case, config, ledger,
        at=at, by=by, words=words, spoken_to=to, reference=reference, seen=seen, as_json=as_json,
    )  # fmt: skip


@case_app.command()
def agree(
    side: Of, case: Id = None, config: Config = None, ledger: Ledger = None, words: Words = "",
    at: At = None, by: By = None, seen: Seen = 0, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record that one side agrees that the case is resolved; it is once both have."""
    _tell("agreed", case, config, ledger, at=at, by=by, words=words, party=side, seen=seen, as_json=as_json)


@case_app.command()
def withdraw(
    case: Id = None, config: Config = None, ledger: Ledger = None,
    agreement: Annotated[
        Side | None, typer.Option(help="Take back this side's agreement, and not the case.")
    ] = None,
    words: Annotated[str, typer.Option(help="Why; the case's withdrawal needs it.", metavar="TEXT")] = "",
    at: At = None, by: By = None, seen: Seen = 0, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Withdraw a case, or one side's agreement that it is resolved."""
    act = "withdrawn" if agreement is None else "taken_back"
    _tell(act, case, config, ledger, at=at, by=by, words=words, party=agreement, seen=seen, as_json=as_json)
