"""`token create`, `token list` and `token revoke`: who may write through the API."""

import json
from pathlib import Path

from rich.table import Table

from probe import clock
from probe.commands.settings import loaded
from probe.commands.terminal import Exit, err, fail, out, write
from probe.times import utc
from probe.web import tokens


def create(config: Path, name: str) -> None:
    """Make a token and print it, this once."""
    path = _file_of(config)
    try:
        token = tokens.create(path, name, clock.wall_us())
    except tokens.TokensError as error:
        fail(f"{error}.", Exit.INPUT)
    write(token)
    err.print(
        f"This is the token of {name}, shown this once: {path} keeps its hash only. What is written with it is "
        f"recorded as {name}'s. A running daemon that was started with this tokens_file knows it already.",
        markup=False,
    )


def list_tokens(config: Path, *, as_json: bool) -> None:
    """List who has a token; never the tokens, which are not kept."""
    try:
        entries = tokens.read_entries(_file_of(config))
    except tokens.TokensError as error:
        fail(f"{error}.", Exit.INPUT)
    if as_json:
        write(json.dumps([{"name": entry.name, "created_us": entry.created_us} for entry in entries], indent=2))
        return
    if not entries:
        out.print("Nobody has a token.", markup=False)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("name")
    table.add_column("created")
    for entry in entries:
        table.add_row(entry.name, utc(entry.created_us // clock.SECOND_US))
    out.print(table)


def revoke(config: Path, name: str) -> None:
    """Take a token back."""
    try:
        tokens.revoke(_file_of(config), name)
    except tokens.TokensError as error:
        fail(f"{error}.", Exit.INPUT)
    out.print(f"The token of {name} is worth nothing any more.", markup=False)


def _file_of(config: Path) -> Path:
    path = loaded(config).settings.listener.tokens_file
    if path is None:
        fail(f"{config}: name a listener.tokens_file first, the file that is to hold the hashes of tokens.", Exit.INPUT)
    return path
