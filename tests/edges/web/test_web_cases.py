"""Support Cases and Business Hours through the API."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from probe.web import Listener

CASES = "/api/v1/cases"
NEW = {"target": "main", "kind": "software_bug", "title": "421 now and then", "words": "Größer, bitte"}
LATER = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
async def nina(daemon: Any, listener: Listener) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client with Nina's token."""
    headers = {"Authorization": f"Bearer {daemon.token('nina')}"}
    async with aiohttp.ClientSession(f"http://{listener.address}", headers=headers) as session:
        yield session


async def opened(nina: aiohttp.ClientSession, **more: Any) -> str:
    """Open a case; return its place."""
    async with nina.post(CASES, json={**NEW, **more}) as response:
        assert (response.status, response.headers["ETag"]) == (201, '"1"'), await response.text()
        return response.headers["Location"]


async def told(nina: aiohttp.ClientSession, place: str, revision: int, **body: str) -> tuple[int, Any]:
    """Tell what happened in a case as it was seen; return status and answer."""
    headers = {"If-Match": f'"{revision}"'}
    async with nina.post(f"{place}/happenings", json=body, headers=headers) as response:
        return response.status, await response.json()


async def test_a_case_is_seen_through_to_its_resolution(daemon: Any, nina: aiohttp.ClientSession) -> None:
    """A draft is opened, submitted through the dashboard, answered, escalated and agreed on; the token is the actor."""
    place = await opened(nina, draft=True, first_second=1_700_000_000, last_second=1_700_000_059)
    happened = (
        {"act": "opened"},
        {"act": "submitted", "reference": "4711"},
        {"act": "replied", "party": "provider", "words": "looking", "next_update": LATER},
        {"act": "replied", "party": "customer", "words": "here are the logs"},
        {"act": "updated", "words": "found"},
        {"act": "escalated", "spoken_to": "Terry"},
        {"act": "agreed", "party": "provider"},
        {"act": "taken_back", "party": "provider"},
        {"act": "agreed", "party": "provider"},
        {"act": "agreed", "party": "customer"},
    )
    for place_in_order, body in enumerate(happened):
        status, case = await told(nina, place, place_in_order + 1, **body)
        assert status == 201, case
    assert (case["stage"], case["revision"], case["references"]) == ("resolved", 11, ["4711"])
    assert case["happenings"][2]["way"] == "dashboard"
    assert case["happenings"][3]["next_update"] == LATER
    assert {one.actor for one in daemon.record.in_cases} == {"nina"}
    async with nina.get(place) as response:
        assert (response.status, response.headers["ETag"], await response.json()) == (200, '"11"', case)


async def test_the_second_sees_what_the_first_told(daemon: Any, nina: aiohttp.ClientSession) -> None:
    """A happening is told on top of the case as it was seen, or refused."""
    place = await opened(nina)
    for expected in (201, 412):
        status, answer = await told(nina, place, 1, act="submitted", reference="1")
        assert status == expected, answer
    async with nina.post(f"{place}/happenings", json={"act": "withdrawn", "words": "our quota"}) as response:
        assert response.status == 428
    assert len(daemon.record.in_cases) == 2


async def test_cases_are_listed_by_target_and_by_whether_they_are_over(nina: aiohttp.ClientSession) -> None:
    """Those that began last stand first."""
    places = [await opened(nina), await opened(nina, target="other"), await opened(nina)]
    first, other, last = (place.rpartition("/")[2] for place in places)
    assert (await told(nina, places[0], 1, act="withdrawn", words="our quota"))[0] == 201
    for query, expected in (
        ("", [last, other, first]),
        ("?over=false", [last, other]),
        ("?over=true", [first]),
        ("?target=main&limit=1", [last]),
        ("?target=main&over=false", [last]),
    ):
        async with nina.get(f"{CASES}{query}") as response:
            assert [case["case"] for case in (await response.json())["cases"]] == expected
    for query in ("?over=perhaps", "?limit=0", "?open=true"):
        async with nina.get(f"{CASES}{query}") as response:
            assert response.status == 422


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"target": "third"}, "no target has this name"),
        ({"kind": "wish"}, "kind:"),
        ({"title": "  "}, "its kind and a title"),
        ({"title": "two\nlines"}, "write one line"),
        ({"first_second": 5}, "the evidence ends before it begins"),
        ({"first_second": 1, "last_second": 4_000}, "3,600 seconds at most"),
        ({"first_second": 9_000_000_000, "last_second": 9_000_000_000}, "has not happened yet"),
        ({"at": "2999-01-01T00:00:00Z"}, "recorded before it happened"),
        ({"draft": "yes"}, "draft:"),
        ({"actor": "otto"}, "actor:"),
    ],
)
async def test_what_is_no_case_is_refused(
    daemon: Any, nina: aiohttp.ClientSession, body: dict[str, Any], words: str
) -> None:
    """The refusal says why, and nothing is recorded."""
    async with nina.post(CASES, json={**NEW, **body}) as response:
        assert (response.status, words in (await response.json())["detail"]) == (422, True), await response.text()
    assert daemon.record.in_cases == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"act": "submitted"}, "the dashboard's number"),
        ({"act": "submitted", "reference": "1", "way": "mail"}, "way:"),
        ({"act": "replied", "party": "provider", "words": "looking"}, "is not submitted yet"),
        ({"act": "escalated"}, "is not submitted yet"),
        ({"act": "withdrawn"}, "says why"),
        ({"act": "drafted"}, "act:"),
        ({"act": "opened"}, "is there already"),
    ],
)
async def test_what_a_case_does_not_allow_changes_nothing(
    daemon: Any, nina: aiohttp.ClientSession, body: dict[str, str], words: str
) -> None:
    """The refusal says why."""
    status, answer = await told(nina, await opened(nina), 1, **body)
    assert (status, words in answer["detail"]) == (422, True), answer
    assert len(daemon.record.in_cases) == 1


async def test_an_update_can_t_be_promised_for_the_end_of_time(daemon: Any, nina: aiohttp.ClientSession) -> None:
    """Dates that far off could not be shown in every zone."""
    place = await opened(nina)
    assert (await told(nina, place, 1, act="submitted", reference="1"))[0] == 201
    far = {"act": "updated", "words": "later", "next_update": "9999-12-31T23:59:59Z"}
    status, answer = await told(nina, place, 2, **far)
    assert (status, "more than a year away" in answer["detail"]) == (422, True), answer
    assert len(daemon.record.in_cases) == 2


async def test_a_case_that_is_none_is_not_found(nina: aiohttp.ClientSession) -> None:
    """Neither to read nor to tell of; and nobody writes without a token."""
    for place in (f"{CASES}/case-00000000", f"{CASES}/nonsense"):
        async with nina.get(place) as response:
            assert response.status == 404
        assert (await told(nina, place, 1, act="opened"))[0] == 404
    async with nina.post(CASES, json=NEW, headers={"Authorization": ""}) as response:
        assert response.status == 401


async def test_business_hours_are_given_for_each_target(nina: aiohttp.ClientSession) -> None:
    """All of them, or those of one."""
    for query, targets in (("", ["main", "other"]), ("?target=other", ["other"]), ("?target=third", [])):
        async with nina.get(f"/api/v1/hours{query}") as response:
            assert [one["target"] for one in (await response.json())["hours"]] == targets
