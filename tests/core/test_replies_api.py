"""The API's table of replies: every row by an example, and what must never come out of it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.core import conducts_api
from probe.core.endings import fault_of
from probe.core.model import REPLY_CHARACTERS_MAX, Cause, Fault
from probe.core.replies_api import (
    TABLE,
    WITHOUT_REPLY,
    ApiReply,
    Ended,
    Ending,
    judge,
    markdown,
)

RESULTS = {"total_rejected_recipients": 0, "total_accepted_recipients": 1, "id": "102258558346809186"}
HTML = b"<html>\r\n<head><title>400 Bad Request</title></head><center>openresty/1.9.15.1</center></html>"


def document(value: object) -> bytes:
    """Write a JSON body."""
    return json.dumps(value).encode()


def error(code: object = None, message: str = "no") -> bytes:
    """Write an error body, with or without a code."""
    found = {"message": message} if code is None else {"message": message, "code": code}
    return document({"errors": [found]})


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, document({"results": RESULTS}), Cause.ACCEPTED),
        (200, document({"results": {"id": "1"}}), Cause.ACCEPTED),
        (200, document({"results": RESULTS, "errors": [{"code": "2000"}]}), Cause.ACCEPTED_WITH_ERRORS),
        (200, document({"results": {"total_accepted_recipients": 0, "id": "1"}}), Cause.REQUEST_REJECTED),
        (
            200,
            document({"results": {"total_accepted_recipients": 0}, "errors": [{"code": "2000"}]}),
            Cause.REQUEST_REJECTED,
        ),
        (200, error("2000"), Cause.REQUEST_REJECTED),
        (200, error("1502"), Cause.SERVER_RESOURCES),
        (200, b"", Cause.UNREADABLE_BODY),
        (200, b"OK", Cause.UNREADABLE_BODY),
        (200, HTML, Cause.UNREADABLE_BODY),
        (200, b"[1]", Cause.UNREADABLE_BODY),
        (200, b"[" * 60_000, Cause.UNREADABLE_BODY),
        (200, b'{"a":' + b"9" * 6_000 + b"}", Cause.UNREADABLE_BODY),
        (200, b"\xff\xfe\x00", Cause.UNREADABLE_BODY),
        (200, document({"status": "fine"}), Cause.UNREADABLE_BODY),
        (200, document({"results": []}), Cause.UNREADABLE_BODY),
        (202, document({"id": "e1a2", "status": "accepted"}), Cause.ACCEPTED),
        (202, b"", Cause.UNREADABLE_BODY),
        (204, b"", Cause.ACCEPTED),
        (301, HTML, Cause.REDIRECTED),
        (302, b"", Cause.REDIRECTED),
        (302, b"<html><form action=/login>", Cause.FOREIGN_REPLY),
        (400, error("1400"), Cause.REQUEST_REJECTED),
        (400, error("7001", "Unconfigured Sending Domain"), Cause.REQUEST_REJECTED),
        (400, error("1502", "Server resources unavailable"), Cause.SERVER_RESOURCES),
        (400, error(1502), Cause.SERVER_RESOURCES),
        (400, error(None, "Server resources unavailable"), Cause.SERVER_RESOURCES),
        (400, HTML, Cause.FOREIGN_REPLY),
        (400, b"", Cause.FOREIGN_REPLY),
        (400, document({"fine": True}), Cause.FOREIGN_REPLY),
        (401, error("1303"), Cause.CREDENTIALS),
        (401, HTML, Cause.CREDENTIALS),
        (403, error("1100"), Cause.CREDENTIALS),
        (403, HTML, Cause.REQUEST_REJECTED),
        (404, error("1600"), Cause.REQUEST_REJECTED),
        (404, HTML, Cause.FOREIGN_REPLY),
        (405, error("1102"), Cause.REQUEST_REJECTED),
        (407, HTML, Cause.CAPTIVE_NETWORK),
        (408, b"", Cause.REQUEST_REJECTED),
        (409, error("1602"), Cause.REQUEST_REJECTED),
        (413, error("10001"), Cause.REQUEST_REJECTED),
        (420, error("2101"), Cause.QUOTA),
        (421, b"", Cause.MISDIRECTED),
        (422, error("1400"), Cause.REQUEST_REJECTED),
        (422, error("1300", "Failed parsing json from DB"), Cause.SERVER_RESOURCES),
        (425, b"", Cause.REQUEST_REJECTED),
        (429, error(), Cause.THROTTLED),
        (460, HTML, Cause.REQUEST_REJECTED),
        (499, HTML, Cause.REQUEST_REJECTED),
        (500, error("1500"), Cause.HTTP_ERROR),
        (500, HTML, Cause.HTTP_ERROR),
        (501, b"", Cause.HTTP_ERROR),
        (502, HTML, Cause.HTTP_ERROR),
        (503, error("1900"), Cause.HTTP_ERROR),
        (503, error(None, "Unable to contact authorization service."), Cause.HTTP_ERROR),
        (504, HTML, Cause.GATEWAY_TIMEOUT),
        (505, b"", Cause.REQUEST_REJECTED),
        (507, b"", Cause.HTTP_ERROR),
        (509, b"", Cause.QUOTA),
        (510, b"", Cause.REQUEST_REJECTED),
        (511, HTML, Cause.CAPTIVE_NETWORK),
        (520, HTML, Cause.HTTP_ERROR),
        (521, HTML, Cause.HTTP_ERROR),
        (522, HTML, Cause.GATEWAY_TIMEOUT),
        (524, HTML, Cause.GATEWAY_TIMEOUT),
        (529, HTML, Cause.HTTP_ERROR),
        (561, HTML, Cause.HTTP_ERROR),
        (101, b"", Cause.MALFORMED_REPLY),
        (999, b"", Cause.MALFORMED_REPLY),
    ],
)
def test_a_reply_is_judged_by_status_shape_and_code_together(status: int, body: bytes, cause: Cause) -> None:
    """Every documented reply has the cause that the table gives it."""
    judged = judge(ApiReply(status=status, body=body))

    assert (judged.cause, judged.fault, judged.code) == (cause, fault_of(cause), status)


@pytest.mark.parametrize(
    ("status", "ending", "cause", "maybe_accepted"),
    [
        (200, Ending.CUT, Cause.INCOMPLETE_BODY, True),
        (200, Ending.STALLED, Cause.BODY_STALLED, True),
        (200, Ending.TOO_LONG, Cause.MALFORMED_REPLY, True),
        (401, Ending.STALLED, Cause.CREDENTIALS, False),
        (400, Ending.CUT, Cause.FOREIGN_REPLY, False),
        (420, Ending.CUT, Cause.QUOTA, False),
        (503, Ending.CUT, Cause.HTTP_ERROR, False),
        (503, Ending.STALLED, Cause.BODY_STALLED, False),
        (504, Ending.STALLED, Cause.GATEWAY_TIMEOUT, True),
        (511, Ending.STALLED, Cause.CAPTIVE_NETWORK, False),
    ],
)
def test_a_body_that_did_not_arrive_whole_is_judged_by_how_it_ended(
    status: int, ending: Ending, cause: Cause, maybe_accepted: bool
) -> None:
    """A truncated success is no success, and a cut refusal stays ours."""
    body = document({"results": RESULTS})

    judged = judge(ApiReply(status=status, body=body, ending=ending))

    assert (judged.cause, judged.maybe_accepted) == (cause, maybe_accepted)


@pytest.mark.parametrize(
    ("body", "code", "reply"),
    [
        (document({"results": RESULTS}), "", "102258558346809186"),
        (document({"id": 7}), "", "7"),
        (error("1400", "recipient is required"), "1400", "recipient is required"),
        (error(1502), "1502", "no"),
        (error(True), "", "no"),
        (document({"errors": [{"message": "a", "description": "b"}, {"message": "c"}]}), "", "a: b; c"),
        (document({"errors": ["plain words"]}), "", "plain words"),
        (document({"errors": "words"}), "", "words"),
        (document({"message": "Unauthorized", "code": "AuthFailed"}), "AuthFailed", "Unauthorized"),
        (b"line one\r\nline\x00two \x1b[31m", "", "line one line two [31m"),
        (document({"errors": [None, 3, []]}), "", ""),
    ],
)
def test_the_code_and_text_of_a_reply_are_kept(body: bytes, code: str, reply: str) -> None:
    """The first error's code and all messages are kept, or the success's id; whatever the types are."""
    judged = judge(ApiReply(status=500, body=body))

    assert (judged.enhanced_code, judged.reply) == (code, reply)


def test_retry_after_is_kept_with_the_text() -> None:
    """A server that names a time is quoted."""
    judged = judge(ApiReply(status=503, body=error(None, "busy"), retry_after="120"))

    assert judged.reply == "busy (Retry-After: 120)"


@pytest.mark.parametrize("spread", ["key {} wrong", "{}", "x" * 500 + "{}", "\n" * 1000 + "{}" + "\n"])
def test_a_secret_that_the_server_repeats_is_redacted(spread: str) -> None:
    """Neither text nor code ever holds a secret, wherever a limit would cut."""
    secret = "0123456789abcdef0123456789abcdef01234567"
    for body in (error(spread.format(secret), spread.format(secret)), spread.format(secret).encode()):
        judged = judge(ApiReply(status=401, body=body), secrets=(secret,))

        assert secret[:8] not in judged.reply + judged.enhanced_code


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["errors", "results", "code", "message"]), inner),
    max_leaves=12,
)


@given(st.integers(0, 1200), st.binary() | ANY_JSON.map(document), st.sampled_from(Ending), st.text())
def test_no_reply_whatever_breaks_the_judge(status: int, body: bytes, ending: Ending, content_type: str) -> None:
    """Every reply has one judgement, bounded and printable."""
    judged = judge(ApiReply(status=status, body=body, ending=ending, content_type=content_type))

    assert judged.fault is fault_of(judged.cause)
    assert len(judged.reply) <= REPLY_CHARACTERS_MAX
    assert judged.reply.isprintable()


@given(st.integers(400, 499), st.binary() | ANY_JSON.map(document), st.sampled_from(Ending))
def test_a_4xx_is_the_servers_only_where_its_own_words_say_so(status: int, body: bytes, ending: Ending) -> None:
    """Our own fault is never theirs: outside 400 and 422 no 4xx counts by itself."""
    judged = judge(ApiReply(status=status, body=body, ending=ending))

    if status not in {400, 422}:
        assert judged.fault not in {Fault.SERVER_ERROR, Fault.SERVER_TIMEOUT}
    else:
        assert judged.fault is not Fault.SERVER_TIMEOUT


@given(st.integers(100, 999), st.binary() | ANY_JSON.map(document), st.sampled_from(Ending))
def test_only_a_whole_success_is_accepted(status: int, body: bytes, ending: Ending) -> None:
    """Nothing is accepted unless status and body both say so and the body arrived whole."""
    judged = judge(ApiReply(status=status, body=body, ending=ending))

    if judged.fault is Fault.NONE:
        assert 200 <= status <= 299
        assert ending is Ending.WHOLE or status == 204
        assert not judged.maybe_accepted


def test_every_row_can_be_reached() -> None:
    """No row stands behind another that fits all it fits; the catch-all comes last."""
    for number, row in enumerate(TABLE):
        for earlier in TABLE[:number]:
            covers = (
                all(any(a <= c and d <= b for a, b in earlier.statuses) for c, d in row.statuses)
                and (not earlier.shapes or (row.shapes and row.shapes <= earlier.shapes))
                and (not earlier.endings or (row.endings and row.endings <= earlier.endings))
                and (not earlier.codes or (row.codes and row.codes <= earlier.codes))
                and not earlier.words
            )
            assert not covers, f"{row} can never be reached behind {earlier}"


def test_every_way_to_end_without_a_reply_is_judged() -> None:
    """The table without replies is complete."""
    assert set(WITHOUT_REPLY) == set(Ended)


def test_the_documentation_is_the_table() -> None:
    """The page in the documentation says what the code does."""
    page = Path(__file__).parents[2] / "docs" / "replies-api.md"

    assert page.read_text() == markdown() + conducts_api.as_markdown(), "write what both return into the page"
