"""The command line of sev1probe; thin: every command's work stands in `probe.commands`."""

import signal
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from probe.commands.case import case_app
from probe.commands.issue import issue_app
from probe.version import VERSION

EPILOG = (
    "Exit codes: 0 done, and all is well; 1 done, and the answer is bad news (an attempt failed, a Critical Issue is "
    "open, the chain is broken); 2 the command line or a file is wrong; 3 something needed is not there (the daemon, "
    "the ledger, a port)."
)

app = typer.Typer(
    name="sev1probe",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help=(
        "Prove, second by second, whether an e-mail provider was Unavailable by the words of its contract: one real "
        "API call and one real SMTP injection every second, judged, recorded, and a Critical Issue when it lasts."
    ),
    epilog=EPILOG,
)
ledger_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Check the record, or take evidence out of it."
)
app.add_typer(ledger_app, name="ledger")
app.add_typer(issue_app, name="issue", short_help="See a Critical Issue through: call sheet, calls, resolution.")
app.add_typer(case_app, name="case", short_help="See a Support Case through, in Business Hours.")
notify_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Tell people and their tools.")
app.add_typer(notify_app, name="notify")
token_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Say who may write through the HTTP API.")
app.add_typer(token_app, name="token")

Config = Annotated[Path, typer.Option("--config", "-c", help="The settings, one YAML file.", metavar="FILE")]
LedgerAddress = Annotated[
    str | None, typer.Argument(help="The ledger: a file, or an SQLAlchemy URL.", metavar="LEDGER", show_default=False)
]
LedgerConfig = Annotated[
    Path | None, typer.Option("--config", "-c", help="Take the ledger's place from these settings.", metavar="FILE")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


class ExportFormat(StrEnum):
    """How evidence is written."""

    JSONL = "jsonl"
    CSV = "csv"


class Excluded(StrEnum):
    """Why a window is left out."""

    PLANNED_MAINTENANCE = "planned-maintenance"
    FORCE_MAJEURE = "force-majeure"
    AGREED_EXCLUSION = "agreed-exclusion"


class Face(StrEnum):
    """A surface."""

    API = "api"
    SMTP = "smtp"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sev1probe {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Take the options that go before any command."""


@app.command()
def run(config: Config) -> None:
    """Probe until SIGTERM: the daemon.

    SIGTERM or SIGINT ends it within 5 s or the attempts' deadline, whichever is shorter, with the last closed
    second in the ledger; the exit code is 3 if the ledger could not take all that was seen. SIGHUP reads the
    settings again; a wrong file changes nothing and is said loudly.
    """
    # The word to reload may come while the program is still being loaded; it must not be the end of it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from probe.commands.run import run as command

    command(config)


@app.command(name="check-config", short_help="Say all that is wrong with a settings file, at once.")
def check_config(
    file: Annotated[Path, typer.Argument(help="The settings to check.", metavar="FILE")],
    show: Annotated[
        bool, typer.Option("--show", help="Print the effective settings, defaults included, secrets redacted.")
    ] = False,
) -> None:
    """Say all that is wrong with a settings file at once: file, line, field, what was found, what is expected."""
    from probe.commands.settings import check_config as command

    command(file, show=show)


@app.command(short_help="Make one attempt on everything now, phase by phase. Run this first.")
def once(
    config: Config,
    target: Annotated[str | None, typer.Option(help="Only this target.", metavar="NAME")] = None,
) -> None:
    """Make one attempt on every surface and control now, and show it phase by phase. Run this first.

    It sends real messages, and shows whether credentials, sending domain and routes are right.
    """
    from probe.commands.once import once as command

    command(config, target)


@app.command()
def status(
    url: Annotated[
        str, typer.Option(help="The daemon's listener.", metavar="URL", show_default=True)
    ] = "http://127.0.0.1:9747",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Take the listener's place from here.", metavar="FILE")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file that holds a token, where reading needs one.", metavar="FILE")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Whom to trust for an https URL; the system's store if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a running daemon sees now."""
    from probe.commands.status import listener_url
    from probe.commands.status import status as command

    command(url if config is None else listener_url(config), as_json=as_json, token_file=token_file, ca_file=ca_file)


@app.command(short_help="Say whether the provider's people are at work: Business Hours.")
def hours(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Ask for the targets of these settings.", metavar="FILE"),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Only this target.", metavar="NAME")] = None,
    at: Annotated[
        str | None, typer.Option(help="The moment: ISO 8601, Unix, or ago (2h); default: now.", metavar="TIME")
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="Measure the business time from here instead.", metavar="TIME")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Measure up to here; default: now.", metavar="TIME")] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether it is open, why not, and when it opens and closes next, by the Business Hours of the contract.

    Without settings, for all three Service Time Zones. With --from it says how many business minutes lie between two
    moments. A time without a zone is of this host's. Closed is an answer like open: both exit with 0.
    """
    from probe.commands.hours import hours as command

    command(config, target, at, first, last, as_json=as_json)


@app.command(short_help="Be a provider that fails as a scenario says, for drills.")
def simulate(
    scenario: Annotated[
        Path | None,
        typer.Argument(help="What fails when, one YAML file; without it nothing fails.", show_default=False),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    api_port: Annotated[int, typer.Option(help="The API's port; 0 takes a free one.", min=0, max=65535)] = 8443,
    smtp_port: Annotated[int, typer.Option(help="The SMTP port; 0 takes a free one.", min=0, max=65535)] = 2587,
    page_port: Annotated[int, typer.Option(help="The status page's port; likewise.", min=0, max=65535)] = 8444,
    directory: Annotated[
        Path | None,
        typer.Option(help="Where the throw-away CA and key go; a new temporary folder if not given.", metavar="DIR"),
    ] = None,
) -> None:
    """Be a provider on loopback that fails as a scenario says, to drill your on-call.

    docs/simulate.md describes the scenario file; config/scenario.example.yaml is one.
    """
    from probe.commands.simulate import simulate as command

    folder = directory or Path(tempfile.mkdtemp(prefix="sev1probe-simulate-"))
    command(scenario, host, api_port, smtp_port, page_port, folder)


@app.command(short_help="Watch the whole job in about two minutes.")
def demo() -> None:
    """Watch the whole job in about two minutes: a simulated provider, a scripted outage, a Critical Issue."""
    from probe.commands.demo import demo as command

    command()


@ledger_app.command(short_help="Walk the hash chain and name the first record that was changed.")
def verify(
    ledger: LedgerAddress = None,
    config: LedgerConfig = None,
    anchor: Annotated[
        str | None,
        typer.Option(help="A head that you kept elsewhere: the chain must still contain it.", metavar="NUMBER:DIGEST"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Walk the hash chain and name the first altered, missing, added or reordered record.

    Works while a daemon writes.
    """
    from probe.commands.ledger import ledger_of
    from probe.commands.ledger import verify as command

    command(ledger_of(ledger, config), anchor, as_json=as_json)


@ledger_app.command()
def export(
    ledger: LedgerAddress = None,
    config: LedgerConfig = None,
    first: Annotated[
        str | None,
        typer.Option("--from", help="The first second: ISO 8601 with a zone, Unix, or ago (2h).", metavar="TIME"),
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last second, likewise.", metavar="TIME")] = None,
    target: Annotated[str | None, typer.Option(help="Only this target.", metavar="NAME")] = None,
    file_format: Annotated[ExportFormat, typer.Option("--format", help="How to write it.")] = ExportFormat.JSONL,
    to: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; standard output if not given.", metavar="FILE")
    ] = None,
) -> None:
    """Write seconds and attempts as evidence; docs/ledger.md describes the fields."""
    from probe.commands.ledger import export as command
    from probe.commands.ledger import ledger_of

    command(ledger_of(ledger, config), first, last, target, file_format, to)


@ledger_app.command(short_help="Leave a window out of the totals, or take that back.")
def amend(
    reason: Annotated[str, typer.Option(help="Why, in words that both sides will read.", metavar="TEXT")],
    author: Annotated[str, typer.Option(help="Who adds this.", metavar="NAME")],
    ledger: LedgerAddress = None,
    config: LedgerConfig = None,
    first: Annotated[
        str | None, typer.Option("--from", help="The window's first second, as for export.", metavar="TIME")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Its last second, likewise.", metavar="TIME")] = None,
    kind: Annotated[Excluded | None, typer.Option(help="Why it is left out.")] = None,
    target: Annotated[str | None, typer.Option(help="Only this target.", metavar="NAME")] = None,
    surface: Annotated[Face | None, typer.Option(help="Only this surface.")] = None,
    withdraw: Annotated[str | None, typer.Option(help="Take this amendment back instead.", metavar="ID")] = None,
) -> None:
    """Leave a window out of the totals (planned maintenance, force majeure, an agreed exclusion), or take that back.

    It changes no verdict and deletes nothing: the ledger gets one more record, sealed in the chain, with who, when and
    why. A withdrawal is one more. Works while a daemon runs; it then seals the record within seconds.
    """
    from probe.commands.amend import amend as command

    command(
        ledger,
        config,
        first=first,
        last=last,
        kind=kind,
        target=target,
        surface=surface,
        withdraw=withdraw,
        reason=reason,
        author=author,
    )


@ledger_app.command()
def amendments(ledger: LedgerAddress = None, config: LedgerConfig = None, as_json: AsJson = False) -> None:
    """List the excluded windows: who added them, when and why, and which were withdrawn."""
    from probe.commands.amend import amendments as command

    command(ledger, config, as_json=as_json)


@ledger_app.command(short_help="Count a range, with and without what was excluded.")
def totals(
    ledger: LedgerAddress = None,
    config: LedgerConfig = None,
    first: Annotated[
        str | None,
        typer.Option("--from", help="The first second, as for export; default: this month's (UTC).", metavar="TIME"),
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last second, likewise.", metavar="TIME")] = None,
    target: Annotated[str | None, typer.Option(help="Only this target.", metavar="NAME")] = None,
    block: Annotated[
        list[str] | None,
        typer.Option(
            help="Count blocks of this width too, such as 1m or 5m, aligned to UTC; repeat it, or write 1m,5m.",
            metavar="DURATION",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count a range of seconds by verdict, per surface and for the target, as judged and as amended.

    With availability on both bases, the budget of the objective, the windows that were left out, and what is for humans
    to decide on. Works while a daemon writes; a month of one target takes some ten seconds.
    """
    from probe.commands.ledger import ledger_of
    from probe.commands.totals import totals as command

    command(ledger_of(ledger, config), first, last, target, block or (), as_json=as_json)


@notify_app.callback()
def _notify() -> None:
    """Tell people and their tools."""


@notify_app.command(name="test", short_help="Send one notice through each courier, and say what happened.")
def notify_test(config: Config) -> None:
    """Send one notice that says it is a test through each courier, and say what happened, in one line each.

    The exit code is 1 unless all of them worked. Works while a daemon runs, and without one.
    """
    from probe.commands.notify import test as command

    command(config)


@token_app.command(name="create", short_help="Make a token and print it, this once.")
def token_create(
    config: Config,
    name: Annotated[str, typer.Option(help="Who gets it; recorded with all that is written.", metavar="NAME")],
) -> None:
    """Make a token and print it, this once: only its hash is kept, in listener.tokens_file."""
    from probe.commands.token import create as command

    command(config, name)


@token_app.command(name="list")
def token_list(config: Config, as_json: AsJson = False) -> None:
    """List who has a token, and since when."""
    from probe.commands.token import list_tokens as command

    command(config, as_json=as_json)


@token_app.command(name="revoke")
def token_revoke(config: Config, name: Annotated[str, typer.Option(help="Whose token.", metavar="NAME")]) -> None:
    """Take a token back; a running daemon refuses it from then on."""
    from probe.commands.token import revoke as command

    command(config, name)


def main() -> None:
    """Run the command line."""
    if not __debug__:
        # The rules state what they rely on as assertions; without them a broken rule would be recorded as evidence.
        typer.echo(
            "sev1probe does not run under python -O: its assertions guard the evidence. Start it without -O.", err=True
        )
        sys.exit(2)
    app()


if __name__ == "__main__":
    main()
