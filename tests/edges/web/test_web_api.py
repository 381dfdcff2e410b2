"""The API over real sockets: what it lets whom do, and how it says no."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jsonschema
import pytest

from probe.web import Listener, Unavailable
from probe.web import listener as listener_module
from probe.web.body import BODY_BYTES_MAX
from probe.web.limits import Buckets

WINDOW = {
    "first_second": 1_700_000_000,
    "last_second": 1_700_000_059,
    "exclusion": "planned_maintenance",
    "reason": "announced",
}
AMENDMENTS = "/api/v1/amendments"


def bearer(token: str) -> dict[str, str]:
    """Make the header that shows a token."""
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def nina(daemon: Any, listener: Listener) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client with Nina's token."""
    async with aiohttp.ClientSession(f"http://{listener.address}", headers=bearer(daemon.token("nina"))) as session:
        yield session


async def refused(response: aiohttp.ClientResponse, status: int) -> str:
    """Hold that a response is a problem of this status, and return its sentence."""
    body = await response.json(content_type="application/problem+json")
    assert (response.status, body["status"], body["type"]) == (status, status, "about:blank"), body
    assert body["title"]
    assert body["detail"]
    return str(body["detail"])


async def amended(client: aiohttp.ClientSession) -> tuple[dict[str, Any], str]:
    """Add a window; return it and its ETag."""
    async with client.post(AMENDMENTS, json=WINDOW) as response:
        assert response.status == 201, await response.text()
        body = await response.json()
        assert response.headers["Location"] == f"{AMENDMENTS}/{body['amendment']}"
        return body, response.headers["ETag"]


async def test_an_amendment_is_added_read_and_withdrawn(daemon: Any, nina: aiohttp.ClientSession) -> None:
    """The token's holder is recorded as the author, and both the window and its withdrawal stay."""
    window, etag = await amended(nina)
    assert (window["author"], window["target"], window["withdrawn_by"]) == ("nina", "", None)
    place = f"{AMENDMENTS}/{window['amendment']}"
    async with nina.get(place) as response:
        assert (response.headers["ETag"], await response.json()) == (etag, window)
    async with nina.post(f"{place}/withdrawal", json={"reason": "not ours"}, headers={"If-Match": etag}) as response:
        assert response.status == 200, await response.text()
        back = await response.json()
        assert response.headers["ETag"] != etag
    assert back["withdrawn_by"]["reason"] == "not ours"
    assert [one.withdraws for one in daemon.record.kept] == ["", window["amendment"]]
    async with nina.get(AMENDMENTS) as response:
        assert (await response.json())["amendments"] == [back]


async def test_what_changed_meanwhile_is_not_withdrawn(nina: aiohttp.ClientSession, daemon: Any) -> None:
    """Of two people who withdraw the same window at once, the second hears that it is no longer as he saw it."""
    window, etag = await amended(nina)
    place = f"{AMENDMENTS}/{window['amendment']}/withdrawal"
    async with nina.post(place, json={"reason": "x"}) as response:
        assert "If-Match" in await refused(response, 428)
    async with nina.post(place, json={"reason": "x"}, headers={"If-Match": f'W/{etag}, "other"'}) as response:
        await refused(response, 412)
    assert len(daemon.record.kept) == 1
    posts = [nina.post(place, json={"reason": "x"}, headers={"If-Match": etag}) for _ in range(2)]
    statuses = sorted(response.status for response in await asyncio.gather(*posts))
    assert statuses == [200, 412]
    async with nina.post(place, json={"reason": "x"}, headers={"If-Match": "*"}) as response:
        assert "withdrawn already, by nina" in await refused(response, 422)
    assert len(daemon.record.kept) == 2


@pytest.mark.parametrize("value", ["", "abc", '"abc', '"abc", x', "*, *", '""x'])
async def test_an_if_match_that_is_none_is_refused(daemon: Any, nina: aiohttp.ClientSession, value: str) -> None:
    """Whoever sends the header means that something must not have changed; it is never passed over."""
    async with nina.post(AMENDMENTS, json=WINDOW, headers={"If-Match": value}) as response:
        assert "If-Match must be" in await refused(response, 400)
    assert daemon.record.kept == []


async def test_a_window_may_be_added_to_the_list_as_it_was_seen(nina: aiohttp.ClientSession, daemon: Any) -> None:
    """If-Match with the list's ETag keeps somebody from adding what another has just added."""
    async with nina.get(AMENDMENTS) as response:
        etag = response.headers["ETag"]
    async with nina.get(AMENDMENTS, headers={"If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    for expected in (201, 412):
        async with nina.post(AMENDMENTS, json=WINDOW, headers={"If-Match": etag}) as response:
            assert response.status == expected
    assert len(daemon.record.kept) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"last_second": 1}, "the window ends before it begins"),
        ({"target": "none"}, 'the record knows no target "none"'),
        ({"reason": "a\nb"}, "has a line break"),
        ({"reason": "\ud800"}, "reason:"),
        ({"reason": "  "}, "the reason is empty"),
        ({"reason": ""}, "reason: "),
        ({"first_second": "1"}, "first_second: "),
        ({"first_second": True}, "first_second: "),
        ({"last_second": 10**12}, "last_second: "),
        ({"exclusion": "bad_luck"}, "exclusion: "),
        ({"surface": "web"}, "surface"),
        ({"author": "otto"}, "author: "),
    ],
)
async def test_a_window_that_makes_no_sense_is_refused(
    daemon: Any, nina: aiohttp.ClientSession, change: dict[str, Any], sentence: str
) -> None:
    """The same checks as the command's, and a body with more or other fields, change nothing."""
    async with nina.post(AMENDMENTS, json={**WINDOW, **change}) as response:
        assert sentence in await refused(response, 422)
    assert daemon.record.kept == []


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"reason": NaN}', "application/json", 400),
        (b'{"reason": "a", "reason": "b"}', "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b"9" * 5_000, "application/json", 400),
        (b"[]", "application/json", 422),
        (b"{}", "text/plain", 415),
        (b" " * (BODY_BYTES_MAX + 1), "application/json", 413),
    ],
    ids=["cut", "not-utf-8", "nan", "key-twice", "deep", "long-number", "list", "text", "large"],
)
async def test_a_body_that_is_none_is_refused(
    daemon: Any, nina: aiohttp.ClientSession, body: bytes, content_type: str, status: int
) -> None:
    """Whatever comes as a body, the answer is a problem and nothing is kept."""
    async with nina.post(AMENDMENTS, data=body, headers={"Content-Type": content_type}) as response:
        await refused(response, status)
    assert daemon.record.kept == []


async def test_a_large_body_without_a_length_is_refused(daemon: Any, nina: aiohttp.ClientSession) -> None:
    """Chunks are counted as they come."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(2 * BODY_BYTES_MAX // 1024):
            yield b" " * 1024

    async with nina.post(AMENDMENTS, data=chunks(), headers={"Content-Type": "application/json"}) as response:
        await refused(response, 413)


async def test_a_slow_body_is_not_waited_for(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that begins a body and stops is told so, and holds nothing any longer."""
    monkeypatch.setattr("probe.web.body.BODY_S_MAX", 0.05)
    listener = daemon.listener()
    await listener.start()
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {AMENDMENTS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {daemon.token()}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()
    await listener.stop()


async def test_writing_needs_a_known_token(daemon: Any, client: aiohttp.ClientSession) -> None:
    """Without a token, with a wrong one, or with another scheme nothing is written."""
    token = daemon.token()
    wrong = [{}, bearer(token[:-1]), bearer(f"{token}x"), bearer("x" * 201), {"Authorization": f"Basic {token}"}]
    for headers in wrong:
        async with client.post(AMENDMENTS, json=WINDOW, headers=headers) as response:
            await refused(response, 401)
            assert response.headers["WWW-Authenticate"] == 'Bearer realm="sev1probe"'
    async with client.get(AMENDMENTS, headers=bearer("wrong")) as response:
        await refused(response, 401)
    assert daemon.record.kept == []


async def test_without_a_tokens_file_nobody_writes(daemon: Any) -> None:
    """The answer names the setting."""
    daemon.tokens_file = None
    listener = daemon.listener()
    await listener.start()
    async with (
        aiohttp.ClientSession(f"http://{listener.address}") as session,
        session.post(AMENDMENTS, json=WINDOW) as response,
    ):
        assert "listener.tokens_file" in await refused(response, 403)
    await listener.stop()


async def test_a_revoked_token_is_worth_nothing_at_once(daemon: Any, nina: aiohttp.ClientSession) -> None:
    """The file is looked at again with every token that is shown."""
    await amended(nina)
    daemon.tokens_file.unlink()
    async with nina.post(AMENDMENTS, json=WINDOW) as response:
        await refused(response, 401)


@pytest.fixture
async def outside(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client of a listener that takes itself to be reachable from other hosts, without TLS."""
    monkeypatch.setattr(Listener, "_is_loopback", lambda _: False)
    listener = daemon.listener()
    await listener.start()
    async with aiohttp.ClientSession(f"http://{listener.address}") as session:
        yield session
    await listener.stop()


@pytest.mark.parametrize("path", ["/api/v1/status", AMENDMENTS, "/api/v1/openapi.json"])
async def test_off_loopback_reading_needs_a_token(outside: aiohttp.ClientSession, path: str) -> None:
    """What the daemon knows is not for everybody on the network."""
    async with outside.get(path) as response:
        await refused(response, 401)
    for path_of_all in ("/metrics", "/-/healthy", "/-/ready"):
        async with outside.get(path_of_all) as response:
            assert response.status == 200


async def test_off_loopback_a_token_without_tls_is_refused(daemon: Any, outside: aiohttp.ClientSession) -> None:
    """A token that travelled in clear text is not rewarded."""
    async with outside.get("/api/v1/status", headers=bearer(daemon.token())) as response:
        assert "over TLS only" in await refused(response, 403)


async def test_off_loopback_a_reload_needs_a_token(daemon: Any, outside: aiohttp.ClientSession) -> None:
    """Nobody on the network reloads the settings without one."""
    async with outside.post("/-/reload") as response:
        assert (response.status, list(await response.json())) == (401, ["error"])
    assert daemon.reloads == 0


async def test_reading_can_be_opened_off_loopback(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the operator says so, reading needs no token, and writing still does."""
    monkeypatch.setattr(Listener, "_is_loopback", lambda _: False)
    listener = daemon.listener(api=daemon.api(open_reading=True))
    await listener.start()
    async with aiohttp.ClientSession(f"http://{listener.address}") as session:
        async with session.get("/api/v1/status") as response:
            assert response.status == 200
        async with session.post(AMENDMENTS, json=WINDOW) as response:
            await refused(response, 401)
    await listener.stop()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/issues/none", 404),
        ("GET", "/api/v1/issues/%00", 404),
        ("GET", f"{AMENDMENTS}/0123456789ab", 404),
        ("GET", f"{AMENDMENTS}/none", 404),
        ("DELETE", AMENDMENTS, 405),
        ("HEAD", "/api/v1/status", 405),
        ("GET", "/api/v1/issues?limit=0", 422),
        ("GET", "/api/v1/issues?limit=1&limit=2", 422),
        ("GET", "/api/v1/issues?unknown=1", 422),
        ("GET", "/api/v1/status?x=1", 422),
    ],
)
async def test_every_error_is_a_problem(client: aiohttp.ClientSession, method: str, path: str, status: int) -> None:
    """Under /api/v1 errors have one form."""
    async with client.request(method, path) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"
        assert ("Allow" in response.headers) == (status == 405)


async def test_too_many_requests_of_one_client_are_refused(daemon: Any) -> None:
    """An address, and a token from wherever, has a bucket; the answer says when to come again."""
    token = daemon.token()
    api = daemon.api(by_address=Buckets(per_s=0.01, at_once=3), by_token=Buckets(per_s=0.01, at_once=1))
    listener = daemon.listener(api=api)
    await listener.start()
    async with aiohttp.ClientSession(f"http://{listener.address}") as session:
        for headers, expected in ((bearer(token), 200), (bearer(token), 429), ({}, 200), ({}, 429)):
            async with session.get("/api/v1/status", headers=headers) as response:
                assert response.status == expected
                assert (int(response.headers.get("Retry-After", "0")) > 50) == (expected == 429)
        async with session.get("/-/healthy") as response:
            assert response.status == 200
    await listener.stop()


async def test_too_many_requests_at_once_are_a_problem_too(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit that all requests share speaks the API's form there."""
    monkeypatch.setattr(listener_module, "REQUESTS_MAX", 0)
    async with client.get("/api/v1/status") as response:
        await refused(response, 503)
        assert response.headers["Retry-After"] == "1"


async def test_trouble_of_the_ledger_is_said(daemon: Any, nina: aiohttp.ClientSession) -> None:
    """What can't be kept is not said to be."""
    daemon.record.trouble = Unavailable("The ledger can't be written now.")
    async with nina.post(AMENDMENTS, json=WINDOW) as response:
        assert await refused(response, 503) == "The ledger can't be written now."


async def test_an_error_inside_shows_no_token(
    daemon: Any, nina: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the answer nor the log of a failed request holds its token, nor what the error said."""
    daemon.record.trouble = RuntimeError("hunter2")
    token = daemon.token("otto")
    async with nina.post(AMENDMENTS, json=WINDOW, headers=bearer(token)) as response:
        assert "hunter2" not in await refused(response, 500)
    logged = "".join(capsys.readouterr())
    assert "web.request_failed" in logged
    assert token not in logged


async def test_the_document_describes_exactly_the_routes(daemon: Any, client: aiohttp.ClientSession) -> None:
    """Each route has its description and each description its route, with schemas that are sound."""
    async with client.get("/api/v1/openapi.json") as response:
        document = await response.json()
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    text = json.dumps(document)
    for reference in {part.partition('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}:
        assert reference in document["components"]["schemas"]
    listener = daemon.listener()
    routes = {
        (route.method.lower(), route.resource.canonical)
        for route in listener._runner.app.router.routes()
        if route.resource.canonical.startswith("/api/v1")
    }
    described = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert described == routes
    writing = [methods["post"] for methods in document["paths"].values() if "post" in methods]
    assert [operation["security"] for operation in writing] == [[{"token": []}]] * 5
