"""What people are told to run when they are paged is there."""

import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from probe.__main__ import app

if TYPE_CHECKING:
    from tests.system.deploy.conftest import Kit

# A block without a language, or code within a line.
CODE = re.compile(r"```(?:sh)?\n(.*?)```|`([^`]+)`", re.DOTALL)
# In a sentence the program is named as well; there a command is followed by one of these.
GROUPS = "issue|ledger|case|notify|check-config"


def code_in(text: str) -> str:
    """Give what is written as code in a page."""
    return "\n".join(block or line.replace("\n", " ") for block, line in CODE.findall(text))


def told_in(text: str) -> str:
    """Give the commands that a text without marks tells."""
    return "\n".join(re.findall(rf"sev1probe (?:{GROUPS}) .*", text))


def commands_in(text: str) -> Iterator[str]:
    """List the command lines of the program in a text, without what follows them."""
    for found in re.findall(r"^sev1probe [^\n]*", text, re.MULTILINE):
        line = re.sub(r"\{\{.*?\}\}", "ISSUE", found).split(" #")[0]
        yield re.split(r" \| |[,;)]|\.(?:\s|$)| \(", line)[0].strip()


def problem_of(command: str) -> str:
    """Say why the program would not know a command line; "" if it does."""
    words = shlex.split(command)[1:]
    found: Any = typer.main.get_command(app)
    while hasattr(found, "commands"):
        if words[:1] == ["--version"]:
            break
        if not words or words[0] not in found.commands:
            return f"no such command: {command}"
        found = found.commands[words.pop(0)]
    options = {option for parameter in found.params for option in parameter.opts}
    unknown = [word for word in words if word.startswith("-") and word not in options]
    return f"no such option: {command}: {unknown}" if unknown else ""


def test_every_command_that_people_are_told_to_run_exists(kit: "Kit") -> None:
    """Commands and options in runbooks, alerts, templates and docs/alerting.md are the program's."""
    texts = [code_in(text) for text in kit.runbooks.values()]
    texts.append(code_in((kit.path.parent / "docs" / "alerting.md").read_text()))
    texts.append(told_in((kit.path / "alertmanager" / "templates" / "sev1probe.tmpl").read_text()))
    texts += [told_in(alert["annotations"]["description"]) for alert in kit.alerts.values()]
    commands = {command for text in texts for command in commands_in(text)}
    assert len(commands) > 30
    assert [problem for command in sorted(commands) if (problem := problem_of(command))] == []


def test_every_command_that_a_page_names_exists(kit: "Kit") -> None:
    """Commands and options in README.md and all of docs/ are the program's."""
    root = kit.path.parent
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    commands = {(page.name, command) for page in pages for command in commands_in(code_in(page.read_text()))}
    assert len(commands) > 40
    assert [(page, problem) for page, command in sorted(commands) if (problem := problem_of(command))] == []


def test_a_wrong_command_would_be_seen() -> None:
    """A command or an option that the program does not have is named."""
    assert problem_of("sev1probe issue phoned -c FILE") == "no such command: sev1probe issue phoned -c FILE"
    assert problem_of("sev1probe issue called --whom X").startswith("no such option")
    assert list(commands_in("sev1probe issue show {{ $labels.issue }} -c FILE | less")) == [
        "sev1probe issue show ISSUE -c FILE"
    ]
