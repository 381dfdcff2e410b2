"""Critical Issues through the API."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from probe.core.model import IssueEvent, IssueTurn
from probe.web import Listener

SINCE = 1_700_000_000
PLACE = "/api/v1/issues/main-1/happenings"


def turn(issue: str, kind: IssueTurn, second: int) -> IssueEvent:
    """Make what the record holds of a turn."""
    return IssueEvent(issue=issue, target=issue[:-2], turn=kind, since_second=second, noticed_second=second + 60)


@pytest.fixture
async def nina(daemon: Any, listener: Listener) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client with Nina's token, of a daemon with an open issue and one that relapsed."""
    daemon.record.told = [
        turn("main-1", IssueTurn.OPENED, SINCE),
        turn("main-1", IssueTurn.RESTORED, SINCE + 300),
        turn("main-2", IssueTurn.OPENED, SINCE + 900),
    ]
    headers = {"Authorization": f"Bearer {daemon.token('nina')}"}
    async with aiohttp.ClientSession(f"http://{listener.address}", headers=headers) as session:
        yield session


async def test_an_issue_is_found_by_every_name(nina: aiohttp.ClientSession) -> None:
    """A relapse is the same issue; its ETag is the revision of its life."""
    for name in ("main-1", "main-2"):
        async with nina.get(f"/api/v1/issues/{name}", headers={"If-None-Match": '"3"'}) as response:
            assert (response.status, response.headers["ETag"]) == (200, '"3"')
            assert (await response.json())["names"] == ["main-1", "main-2"]
    for query, count in (("?target=main", 1), ("?target=other", 0), ("?limit=1", 1)):
        async with nina.get(f"/api/v1/issues{query}") as response:
            assert len((await response.json())["issues"]) == count


@pytest.mark.parametrize(
    ("accept", "media_type", "beginning"),
    [
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "text/html", "<!DOCTYPE html>"),
        ("text/plain", "text/plain", "CRITICAL ISSUE: MAIN"),
        ("*/*", "application/json", "{"),
        ("application/json, text/html;q=0.1", "application/json", "{"),
    ],
)
async def test_a_call_sheet_is_read_in_the_form_that_is_asked_for(
    nina: aiohttp.ClientSession, accept: str, media_type: str, beginning: str
) -> None:
    """A browser gets a page, a script JSON."""
    async with nina.get("/api/v1/issues/main-2/call-sheet", headers={"Accept": accept}) as response:
        assert (response.status, response.content_type, response.headers["Vary"]) == (200, media_type, "Accept")
        text, policy = await response.text(), response.headers["Content-Security-Policy"]
    assert text.startswith(beginning)
    # A browser would show the page without its style, which stands within it.
    assert ("style-src 'unsafe-inline'" in policy) == (media_type != "application/json")
    assert ("&lt;i&gt;Example" in text) == (media_type == "text/html")


async def test_the_second_sees_what_the_first_told(daemon: Any, nina: aiohttp.ClientSession) -> None:
    """A happening is told on top of the life as it was seen, or refused."""
    told = {"act": "line_called", "at": "2023-11-14T23:20:00+01:00", "spoken_to": "Terry"}
    for expected in (201, 412):
        async with nina.post(PLACE, json=told, headers={"If-Match": '"3"'}) as response:
            assert response.status == expected, await response.text()
    assert (daemon.record.told[-1].actor, daemon.record.told[-1].at_us) == ("nina", 1_700_000_400_000_000)
    assert len(daemon.record.told) == 4
    escalated = {"act": "escalated", "spoken_to": "Terry"}
    async with nina.post(PLACE, json=escalated, headers={"If-Match": '"4"'}) as response:
        assert (await response.json())["happenings"][-1]["spoken_to"] == "Terry"
    async with nina.get("/api/v1/issues?over=true") as response:
        assert (await response.json())["issues"] == []
    async with nina.get("/api/v1/issues?over=false") as response:
        assert len((await response.json())["issues"]) == 1


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"act": "agreed", "party": "customer"}, 422, "not restored"),
        ({"act": "agreed"}, 422, "party"),
        ({"act": "opened"}, 422, "nobody can tell it"),
        ({"act": "updated", "at": "2000-01-01T00:00:00Z"}, 422, "Nothing is recorded"),
        ({"act": "updated", "at": "2023-11-14T23:20:00"}, 422, "at:"),
        ({"act": "updated", "at": "2023-02-30T23:20:00Z"}, 422, "at:"),
        ({"act": "updated", "next_update": "9999-12-31T23:59:59-12:00"}, 422, "next_update:"),
        ({"act": "updated", "words": "later", "next_update": "9999-12-31T23:59:59Z"}, 422, "more than a year"),
        ({"act": "updated", "next_update": "0001-01-01T00:00:00+12:00"}, 422, "next_update:"),
        ({"act": "updated", "actor": "otto"}, 422, "actor:"),
        ({"act": "agreed", "party": "martian"}, 422, "party: Input should be 'customer' or 'provider'"),
    ],
)
async def test_what_the_procedure_does_not_allow_changes_nothing(
    daemon: Any, nina: aiohttp.ClientSession, body: dict[str, str], status: int, words: str
) -> None:
    """The refusal says why."""
    async with nina.post(PLACE, json=body, headers={"If-Match": "*"}) as response:
        assert (response.status, words in (await response.json())["detail"]) == (status, True), await response.text()
    assert len(daemon.record.told) == 3


async def test_a_line_that_the_profile_does_not_have_is_never_called(daemon: Any, nina: aiohttp.ClientSession) -> None:
    """As on the command line: the refusal says what to tell instead."""
    daemon.record.without_line = frozenset({"main"})
    async with nina.post(PLACE, json={"act": "line_called"}, headers={"If-Match": "*"}) as response:
        assert (response.status, "no Severity 1 line" in (await response.json())["detail"]) == (422, True)
    assert len(daemon.record.told) == 3
    async with nina.post(PLACE, json={"act": "case_submitted"}, headers={"If-Match": "*"}) as response:
        assert response.status == 201
