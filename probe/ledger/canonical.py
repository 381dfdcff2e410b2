"""The canonical encoding, and the digests that are made of it.

A record's canonical encoding is its row as a JSON array: columns in the table's order without `batch` and `position`,
in ASCII, each element on a line of its own (`,` and a line feed between them, no other white space). Rows hold only
integers, strings and NULL, so the same row has the same encoding everywhere and two rows never share one. A raw line
feed cannot stand inside a JSON string, hence many records encoded in one call can be parted without reading them; this
makes the encoding three times as fast as a call for each.

The seal of a part is SHA-256 over the part's name, a line feed, and the SHA-256 of each record in order; after it come
the first four bytes of each record's digest, its mark. The digest proves the part, the marks tell which record differs.
A part without records has an empty seal.

The last column of `control` and of `verdict` came later; where it is NULL it is left out of the record's encoding.

The digest of a batch is SHA-256 over the canonical encoding of its header: a constant, then every column of `batch`
but the digest itself, the seals in hexadecimal. `previous` is among them: that is the chain. A batch from before there
were remarks has no seal of them (NULL): its header is without it, and begins with the constant of format 1.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from probe.core.engine import RULES_VERSION
from probe.core.model import Persistence, Surface, Terms

GENESIS = "0" * 64
BATCH_FORMATS = ("sev1probe batch 1", "sev1probe batch 2")  # without and with a seal of remarks
MARK_BYTES = 4
DIGEST_BYTES = 32
RULES_ID_LENGTH = 16

Field = str | int | None
Row = Sequence[Field]

_BETWEEN = ",\n"
_lines = json.JSONEncoder(separators=(_BETWEEN, ":"), allow_nan=False)
_plain = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False)


def encode(row: Row) -> str:
    """Encode one record."""
    return _lines.encode(tuple(row))


def decode(text: str) -> tuple[Field, ...]:
    """Read a record back from its encoding."""
    return tuple(json.loads(text))


def encode_all(rows: Sequence[Row]) -> list[str]:
    """Encode many records at once; the same as `encode` for each."""
    if not rows:
        return []
    inside = _lines.encode(rows)[2:-2]
    return [f"[{one}]" for one in inside.split("]" + _BETWEEN + "[")]


def record_digests(rows: Sequence[Row]) -> list[bytes]:
    """Digest each record."""
    sha256 = hashlib.sha256
    try:
        encoded = encode_all(rows)
    except TypeError:
        # Somebody put a value of another type into a row; it differs from every true one in any encoding.
        encoded = [_encode_any(row) for row in rows]
    return [sha256(one.encode("ascii")).digest() for one in encoded]


def _encode_any(row: Sequence[object]) -> str:
    try:
        return _lines.encode(tuple(row))
    except TypeError:
        return ascii(tuple(row))


def seal(part: str, rows: Sequence[Row]) -> bytes:
    """Seal the records of one part of a batch."""
    return seal_of_digests(part, record_digests(rows))


def seal_of_digests(part: str, digests: Sequence[bytes]) -> bytes:
    """Seal a part whose records are digested already."""
    if not digests:
        return b""
    root = hashlib.sha256(part.encode("ascii") + b"\n" + b"".join(digests)).digest()
    return root + b"".join([digest[:MARK_BYTES] for digest in digests])


def marks_of_seal(sealed: bytes) -> list[bytes]:
    """List the marks in a seal."""
    return [sealed[at : at + MARK_BYTES] for at in range(DIGEST_BYTES, len(sealed), MARK_BYTES)]


def batch_digest(header: Sequence[str | int | bytes | None]) -> str:
    """Digest a batch, given the columns of its header but `digest`, in order."""
    fields = [field.hex() if isinstance(field, bytes) else field for field in header]
    has_remarks = fields[-1] is not None
    encoded = _lines.encode([BATCH_FORMATS[has_remarks], *(fields if has_remarks else fields[:-1])])
    return hashlib.sha256(encoded.encode("ascii")).hexdigest()


def canonical_json(value: Mapping[str, Any]) -> str:
    """Encode a structure with sorted keys and without white space."""
    return _plain.encode(value)


def rules_body(terms: Terms, version: int = RULES_VERSION) -> str:
    """Write down what verdicts are judged by: the version of the rules and the terms."""
    return canonical_json({"rules_version": version, "terms": asdict(terms)})


def rules_id(body: str) -> str:
    """Name rules by their content."""
    return hashlib.sha256(body.encode("ascii")).hexdigest()[:RULES_ID_LENGTH]


def parse_rules(body: str) -> tuple[int, Terms]:
    """Read the version and the terms back.

    Raises:
        ValueError: If the text is not what `rules_body` writes.
    """
    try:
        plain = json.loads(body)
        terms = plain["terms"]
        return plain["rules_version"], Terms(
            profile=terms["profile"],
            persistence=Persistence(**terms["persistence"]),
            objective_ppm=terms["objective_ppm"],
            surfaces=tuple(Surface(surface) for surface in terms["surfaces"]),
            settings=terms.get("settings", ""),
        )
    except (KeyError, TypeError, AssertionError) as error:
        raise ValueError(f"rules cannot be read: {error!r}") from error
