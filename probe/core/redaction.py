"""Secrets at the end of a text that was cut: what is left of one there is no whole secret any more, and still too much.

A text is cut by our limits on evidence, by the deadline, by the end of a connection, and by libraries that quote a part
of a line. So before anything else is done with such a text, a tail that begins a secret is struck out.
"""

import re
from collections.abc import Iterable
from typing import Final

CUT_MARK: Final = "…"
# Two characters of a secret say nothing, and are found at the end of many an innocent text.
PREFIX_CHARACTERS_MIN: Final = 3
# Work on hostile text stays bounded; nobody is shown more.
CUT_CHARACTERS_MAX: Final = 4096

# Where a quotation ends that somebody else has cut.
_BORDER: Final = re.compile(rf"({CUT_MARK}|\.\.\.|['\")])")
_HALF_A_CHARACTER: Final = "\ufffd"


def without_begun_secrets(text: str, secrets: Iterable[str], redacted: str) -> str:
    """Strike out what begins one of `secrets` at the end of the text or of a quotation in it, in any case.

    Whole secrets are for the caller to strike out before. Returns at most `CUT_CHARACTERS_MAX` characters and a bit.
    """
    known = tuple(secret.lower() for secret in secrets)
    pieces = _BORDER.split(text[:CUT_CHARACTERS_MAX])
    return "".join(piece if number % 2 else _cleared(piece, known, redacted) for number, piece in enumerate(pieces))


def _cleared(piece: str, secrets: tuple[str, ...], redacted: str) -> str:
    bare = piece.rstrip(_HALF_A_CHARACTER)
    begun = max((_begun(bare, secret) for secret in secrets), default=0)
    return bare[:-begun] + redacted if begun else piece


def _begun(piece: str, secret: str) -> int:
    """Return how many characters at the end of the piece begin the secret."""
    longest = min(len(secret) - 1, len(piece))
    tail = piece[len(piece) - longest :].lower()
    sizes = range(longest, PREFIX_CHARACTERS_MIN - 1, -1)
    return next((size for size in sizes if tail.endswith(secret[:size])), 0)
