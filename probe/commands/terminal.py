"""How commands speak: answers on standard output, complaints on standard error, one exit code for each kind of end."""

import sys
from enum import IntEnum
from typing import NoReturn

import typer
from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Exit(IntEnum):
    """The exit codes of all commands, as `--help` documents them."""

    OK = 0
    NO = 1  # the question was answered, and the answer is bad news
    INPUT = 2  # the command line or a file is wrong
    CANNOT = 3  # something needed is not there: the daemon, the ledger, a port


def fail(sentence: str, code: Exit) -> NoReturn:
    """Say what is wrong and end."""
    err.print(sentence, style="red" if err.is_terminal else None, markup=False)
    raise typer.Exit(code)


def write(text: str) -> None:
    """Write text as it is, unwrapped, for programs and pipes."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
