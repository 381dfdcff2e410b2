"""The message of an attempt: headers and body prepared once as bytes, with places for what differs each time.

`EmailMessage` costs a millisecond; filling a template costs microseconds. What is known when the surface is built
(target, vantage, addresses) is filled in then.
"""

import json
import re
from collections.abc import Callable, Mapping
from email.charset import QP, Charset
from email.header import Header
from email.utils import formatdate
from itertools import groupby
from typing import Final

from pydantic import SecretStr

from probe.core.model import Ticket

# Folded well below the 998 octets that a line may have (RFC 5322 section 2.1.1): a filled-in value may be longer than
# its placeholder.
FOLD_CHARACTERS: Final = 200
LINE_BYTES_MAX: Final = 998
PLACEHOLDER_ROOM_BYTES: Final = 200

# {{name}} is the provider's own syntax and stays as it is, like any other brace.
_PLACEHOLDER: Final = re.compile(r"(?<!\{)\{(message_id|target|vantage|second|ordinal)\}(?!\})")
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HEADER_NAME: Final = re.compile(r"[!-9;-~]+")
_BODY: Final = """\
This message was injected by sev1probe to learn whether this service takes messages.

Message {message_id}
Second {second}, attempt {ordinal}, target {target}, vantage {vantage}
"""


class MessageTemplate:
    """Makes the bytes that follow 354, the final dot included."""

    def __init__(
        self, *, sender: str, recipient: str, headers: Mapping[str, str | SecretStr], target: str, vantage: str
    ) -> None:
        self._known = {"target": target, "vantage": vantage}
        fixed = {
            "From": sender,
            "To": recipient,
            "Subject": "sev1probe {target} {message_id}",
            "MIME-Version": "1.0",
            "Content-Type": "text/plain; charset=us-ascii",
        }
        own = {name.lower() for name in headers}
        lines = ["Date: %(date)s", f"Message-ID: <%(message_id)s@{_plain(sender.rpartition('@')[2], 'sender')}>"]
        lines += [self._header(name, value) for name, value in fixed.items() if name.lower() not in own]
        lines += [self._header(name, value) for name, value in headers.items()]
        body = self._with_places(_BODY).replace("\n", "\r\n")
        text = "\r\n".join([*lines, "", body])
        # No value filled in later begins a line, so the template's lines are all that can begin with a dot.
        self._template = (re.sub(r"(?m)^\.", "..", text) + ".\r\n").encode("ascii")
        self._date: tuple[int, bytes] = (-1, b"")

    def fill(self, ticket: Ticket, wall_second: int) -> bytes:
        """Return one attempt's message, dot-stuffed, with its final dot."""
        if self._date[0] != wall_second:
            self._date = (wall_second, formatdate(wall_second).encode("ascii"))
        return self._template % {
            b"date": self._date[1],
            b"message_id": ticket.message_id.encode("ascii", "replace"),
            b"second": b"%d" % ticket.second,
            b"ordinal": b"%d" % ticket.ordinal,
        }

    def _header(self, name: str, value: str | SecretStr) -> str:
        if _HEADER_NAME.fullmatch(name) is None:
            raise ValueError(f"smtp.headers: {name!r} is not a header name; use letters, digits and hyphens")
        # A secret is no template: braces in it mean nothing.
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if _FORBIDDEN.search(text):
            raise ValueError(f"smtp.headers: the value of {name} has a line break or control character; take it out")
        if isinstance(value, SecretStr):
            line = _folded(name, text).replace("%", "%%")
        else:
            line = self._with_places(_folded(name, self._fill_known(text)))
        if any(len(part) > LINE_BYTES_MAX - PLACEHOLDER_ROOM_BYTES for part in line.split("\r\n")):
            raise ValueError(f"smtp.headers: the value of {name} can't be folded below 998 characters; put spaces in")
        return line

    def _fill_known(self, text: str) -> str:
        return _replace(text, lambda name: self._known.get(name, f"{{{name}}}"))

    def _with_places(self, text: str) -> str:
        return _replace(self._fill_known(text).replace("%", "%%"), lambda name: f"%({name})s")


def plain_line(text: str, field: str) -> str:
    """Return text for a command line, or raise ValueError where it could break out of one or is not ASCII."""
    return _plain(text, field)


def _plain(text: str, field: str) -> str:
    if not text.isascii() or _FORBIDDEN.search(text):
        raise ValueError(f"smtp.{field}: has a line break, a control character or one that is not ASCII; take it out")
    return text


def _replace(text: str, value_of: Callable[[str], str]) -> str:
    return _PLACEHOLDER.sub(lambda match: value_of(match[1]), text)


def _folded(name: str, text: str) -> str:
    if _is_json(text):
        # Outside its strings JSON has no letters beyond ASCII, and inside them an escape means the same.
        ascii_text = "".join(char if char.isascii() else json.dumps(char)[1:-1] for char in text)
        return _fill_lines(f"{name}: ", _json_pieces(ascii_text))
    if text.isascii():
        return _fill_lines(f"{name}: ", re.findall(r"\s*\S+|\s+$", text))
    return _encoded(name, text)


def _encoded(name: str, text: str) -> str:
    """Encode by RFC 2047 the words that are not ASCII, neighbours together, since white space between two is lost."""
    charset = Charset("utf-8")
    charset.header_encoding = QP
    pieces: list[str] = []
    for is_ascii, words in groupby(text.split(), str.isascii):
        if is_ascii:
            pieces += [f" {word}" for word in words]
            continue
        phrase = " ".join(words)
        if _PLACEHOLDER.search(phrase):
            raise ValueError(f"smtp.headers: {name} has a placeholder in a word that is not ASCII; put a space between")
        lines = Header(phrase, charset, maxlinelen=75).encode(linesep="\n").split("\n")
        pieces += [f" {line.strip()}" for line in lines]
    return _fill_lines(f"{name}:", pieces)


def _fill_lines(start: str, pieces: list[str]) -> str:
    """Join pieces, with a fold before each that would make its line too long. Folds stand where white space may."""
    lines, line = [], start
    for piece in pieces:
        if len(line) + len(piece) > FOLD_CHARACTERS and line.strip() != start.strip():
            lines.append(line)
            line = piece if piece[:1] in (" ", "\t") else f" {piece}"
        else:
            line += piece
    return "\r\n".join([*lines, line])


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(_replace(text, lambda _: "0")), dict | list)
    except ValueError:
        return False


def _json_pieces(text: str) -> list[str]:
    """Cut JSON behind the commas and colons that stand outside of strings: there white space means nothing."""
    parts = re.findall(r'"(?:[^"\\]|\\.)*"|[^"]', text)
    pieces = [""]
    for part in parts:
        pieces[-1] += part
        if part in ",:":
            pieces.append("")
    return pieces
