"""Replies out of bytes: any cut gives the same, and garbage never gives anything but garbage."""

from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.surfaces.smtp_reader import (
    EVIDENCE_BYTES_MAX,
    LINE_BYTES_MAX,
    REPLY_BYTES_MAX,
    REPLY_LINES_MAX,
    Malformed,
    Reply,
    ReplyReader,
    printable,
)

Seen = list[tuple[int, tuple[bytes, ...]]]


def _read(pieces: list[bytes]) -> tuple[Seen, bytes | None, bool]:
    """Return the replies, the evidence of garbage if there was any, and whether a reply is left unended."""
    reader, replies = ReplyReader(), deque[Reply]()
    garbage = None
    for piece in pieces:
        try:
            reader.feed(piece, replies)
        except Malformed as error:
            garbage = error.args[0]
            break
    return [(reply.code, reply.lines) for reply in replies], garbage, reader.is_mid_reply


_TEXT = st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"").replace(b"\r", b""))
_REPLIES = st.lists(st.tuples(st.integers(200, 599), st.lists(_TEXT, min_size=1, max_size=4)), max_size=4)


@given(replies=_REPLIES, cuts=st.lists(st.integers(0, 400), max_size=8))
def test_replies_are_read_back_however_they_were_cut(replies: list[tuple[int, list[bytes]]], cuts: list[int]) -> None:
    """What a server says arrives as it was said, several replies in one packet or one in many."""
    wire = b"".join(
        b"".join(b"%d-%s\r\n" % (code, line) for line in lines[:-1]) + b"%d %s\r\n" % (code, lines[-1])
        for code, lines in replies
    )
    edges = [0, *sorted(cut for cut in cuts if cut < len(wire)), len(wire)]

    seen = _read([wire[start:end] for start, end in pairwise(edges)])

    assert seen == ([(code, tuple(lines)) for code, lines in replies], None, False)


@given(data=st.binary(max_size=300) | st.text("2354 05-\r\nxy", max_size=80).map(str.encode))
def test_any_bytes_give_replies_or_are_malformed_and_the_cut_does_not_matter(data: bytes) -> None:
    """Nothing but Malformed is ever raised, and byte by byte the same is seen as in one piece."""
    whole, pieces = _read([data]), _read([data[i : i + 1] for i in range(len(data))])

    assert whole[:2] == pieces[:2]
    assert all(200 <= code <= 599 and lines for code, lines in whole[0])


@pytest.mark.parametrize(
    ("data", "is_whole"),
    [
        (b"250 " + b"x" * (LINE_BYTES_MAX - 4) + b"\r\n", True),
        (b"250 " + b"x" * (LINE_BYTES_MAX - 3) + b"\r\n", False),
        (b"250-x\r\n" * (REPLY_LINES_MAX - 1) + b"250 x\r\n", True),
        (b"250-x\r\n" * REPLY_LINES_MAX + b"250 x\r\n", False),
        ((b"250-" + b"x" * 1020 + b"\r\n") * (REPLY_BYTES_MAX // 1024) + b"250 x\r\n", False),
        (b"250 a bare line feed\n", True),
    ],
)
def test_the_limits_on_a_reply_hold(data: bytes, is_whole: bool) -> None:
    """At a limit a reply is read, beyond it it is malformed with bounded evidence."""
    replies, garbage, _ = _read([data])

    assert bool(replies) == is_whole
    assert (garbage is None) == is_whole
    assert len((garbage or b"").removesuffix("…".encode())) <= EVIDENCE_BYTES_MAX


@given(data=st.binary())
def test_whatever_a_server_says_is_shown_on_one_harmless_line(data: bytes) -> None:
    """Control characters, line ends and broken UTF-8 never reach a log or a page."""
    assert printable(data).isprintable()
