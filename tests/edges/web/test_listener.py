"""The listener over real sockets."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from probe.web import Listener, ListenerError
from probe.web import listener as module


async def raw(listener: Listener, request: bytes) -> bytes:
    """Send bytes and read until the listener closes."""
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_metrics_are_served_as_they_were_rendered(daemon: Any, client: aiohttp.ClientSession) -> None:
    """The scraper's wishes reach the renderer, and type, encoding and bytes come back as it gave them."""
    body = b"x" * (3 * module.WRITE_BYTES_A_TURN + 7)
    daemon.rendered = ("application/openmetrics-text; version=1.0.0; charset=utf-8", "gzip", body)
    async with client.get("/metrics", headers={"Accept": "text/plain;q=0.5", "Accept-Encoding": "gzip"}) as response:
        assert (response.status, await response.read()) == (200, body)
        assert response.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Server"] == "sev1probe"
    assert daemon.asked == [("text/plain;q=0.5", "gzip")]


@pytest.mark.parametrize(("path", "attribute"), [("/-/healthy", "health"), ("/-/ready", "readiness")])
async def test_health_is_a_code_and_one_line(
    daemon: Any, client: aiohttp.ClientSession, path: str, attribute: str
) -> None:
    """A daemon that is well answers 200, one that is not 503, each with its reason in one line."""
    async with client.get(path) as response:
        assert (response.status, (await response.text()).count("\n")) == (200, 1)
    setattr(daemon, attribute, (False, "the ledger cannot be written:\n disk full"))
    async with client.get(path) as response:
        assert (response.status, await response.text()) == (503, "the ledger cannot be written: disk full\n")


async def test_reload_answers_with_the_sentence(daemon: Any, client: aiohttp.ClientSession) -> None:
    """A reload that worked answers 200, one that was refused 400 with what is wrong."""
    async with client.post("/-/reload") as response:
        assert (response.status, await response.text()) == (200, "settings read again\n")
    daemon.reload_report = (False, "a.yaml, line 3: targets[0].name is missing")
    async with client.post("/-/reload") as response:
        assert response.status == 400
        assert await response.json() == {"error": "a.yaml, line 3: targets[0].name is missing"}
    assert daemon.reloads == 2


async def test_reload_by_get_changes_nothing(daemon: Any, client: aiohttp.ClientSession) -> None:
    """A link cannot reload the settings."""
    async with client.get("/-/reload") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert await response.json() == {"error": "Method Not Allowed"}
    assert daemon.reloads == 0


@pytest.mark.parametrize(
    "host", ["attacker.example", "attacker.example:9747", "10.0.0.1", "localhost.attacker.example"]
)
async def test_a_reload_must_come_to_a_loopback_name(daemon: Any, client: aiohttp.ClientSession, host: str) -> None:
    """A page whose own name points to loopback cannot reload the settings."""
    async with client.post("/-/reload", headers={"Host": host}) as response:
        assert response.status == 403
    assert daemon.reloads == 0


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9747", "127.8.8.8", "[::1]:9747"])
async def test_loopback_has_many_names(daemon: Any, client: aiohttp.ClientSession, host: str) -> None:
    """Every way to write loopback may reload the settings."""
    async with client.post("/-/reload", headers={"Host": host}) as response:
        assert response.status == 200
    assert daemon.reloads == 1


async def test_a_page_of_another_origin_cannot_reload(daemon: Any, client: aiohttp.ClientSession) -> None:
    """A form on some web page that posts to the listener's own address is refused."""
    async with client.post("/-/reload", headers={"Origin": "https://attacker.example"}) as response:
        assert response.status == 403
    assert daemon.reloads == 0


async def test_an_origin_that_is_none_is_refused(daemon: Any, client: aiohttp.ClientSession) -> None:
    """An Origin header that no URL can be is another origin, not an error inside."""
    async with client.post("/-/reload", headers={"Origin": "http://["}) as response:
        assert response.status == 403
    assert daemon.reloads == 0


async def test_status_is_json(daemon: Any, client: aiohttp.ClientSession) -> None:
    """The status is what the daemon gives, as JSON."""
    daemon.status = {"version": 1, "targets": [{"name": "main"}]}
    async with client.get("/api/v1/status") as response:
        assert response.content_type == "application/json"
        assert await response.json() == daemon.status


async def test_the_index_links_what_there_is(client: aiohttp.ClientSession) -> None:
    """Every link of the index leads somewhere."""
    async with client.get("/") as response:
        page = await response.text()
    links = [part.partition('"')[0] for part in page.split('href="')[1:]]
    assert len(links) == 5
    for link in links:
        async with client.get(link) as response:
            assert response.status == 200


async def test_an_unknown_path_is_an_error_in_json(client: aiohttp.ClientSession) -> None:
    """A path that is not there answers 404 as JSON."""
    async with client.get("/secrets") as response:
        assert (response.status, await response.json()) == (404, {"error": "Not Found"})


async def test_an_internal_error_tells_nothing(daemon: Any, client: aiohttp.ClientSession) -> None:
    """Whatever goes wrong inside, the answer has no detail of it."""

    async def fail() -> None:
        raise RuntimeError("password=hunter2")

    daemon.before_render = fail
    async with client.get("/metrics") as response:
        assert response.status == 500
        assert "hunter2" not in await response.text()


async def test_too_many_requests_at_once_are_refused(daemon: Any, client: aiohttp.ClientSession) -> None:
    """The next request over the limit is told to come again, and those before it are answered."""
    release, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def hang() -> None:
        begun.release()
        await release.wait()

    daemon.before_render = hang
    running = [asyncio.create_task(client.get("/metrics")) for _ in range(module.REQUESTS_MAX)]
    for _ in running:
        await begun.acquire()
    async with client.get("/-/healthy") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
    release.set()
    assert {response.status for response in await asyncio.gather(*running)} == {200}
    async with client.get("/-/healthy") as response:
        assert response.status == 200


async def test_a_request_has_a_limited_time(daemon: Any) -> None:
    """A request that the daemon cannot answer in time is ended with a sentence."""
    daemon.before_render = asyncio.Event().wait
    listener = daemon.listener(request_s_max=0.05)
    await listener.start()
    answer = await raw(listener, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    await listener.stop()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "not done within 0.05 s"}


async def test_a_scraper_that_does_not_read_is_cut_off(daemon: Any) -> None:
    """A client that takes no bytes of a large answer holds its connection no longer than a request may take."""
    daemon.rendered = ("text/plain", "", bytes(32 * 1024 * 1024))
    listener = daemon.listener(request_s_max=0.1)
    await listener.start()
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    await asyncio.sleep(0.3)
    got = 0
    with pytest.raises(ConnectionResetError):  # noqa: PT012 - whichever read it shows at
        while chunk := await asyncio.wait_for(reader.read(1 << 20), 5):
            got += len(chunk)
        raise ConnectionResetError
    assert got < 32 * 1024 * 1024
    writer.close()
    await listener.stop()


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\nHost: local"])
async def test_a_silent_connection_is_closed(daemon: Any, sent: bytes) -> None:
    """A client that connects and makes no whole request is not waited for."""
    listener = daemon.listener(first_request_s_max=0.05)
    await listener.start()
    assert await raw(listener, sent) == b""
    await listener.stop()


async def test_a_connection_too_many_is_turned_away(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle connections cannot use up the daemon's descriptors."""
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 0)
    answer = await raw(listener, b"")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "too many connections"}


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 200 + b"\r\n",
    ],
    ids=["line", "header", "headers"],
)
async def test_a_request_has_a_limited_size(listener: Listener, request_bytes: bytes) -> None:
    """A request line, a header or a number of headers beyond the limit is refused."""
    assert (await raw(listener, request_bytes)).split(b" ", 2)[1] in (b"400", b"431")


async def test_a_port_in_use_is_one_clear_sentence(daemon: Any, listener: Listener) -> None:
    """The operator reads which address is taken and what to do."""
    port = int(listener.address.rpartition(":")[2])
    with pytest.raises(ListenerError) as caught:
        await daemon.listener(port=port).start()
    assert str(caught.value) == (
        f"The listener cannot use 127.0.0.1 port {port}: another program listens there; "
        "stop that one or set another listener.port."
    )


async def test_an_address_of_another_host_is_one_clear_sentence(daemon: Any) -> None:
    """The operator reads that the host does not have the address."""
    with pytest.raises(ListenerError, match=r"192\.0\.2\.1 port 0: this host does not have that address"):
        await daemon.listener(host="192.0.2.1").start()


async def test_a_stopped_listener_frees_its_port(daemon: Any, listener: Listener) -> None:
    """Another listener can have the address at once."""
    port = int(listener.address.rpartition(":")[2])
    await listener.stop()
    again = daemon.listener(port=port)
    await again.start()
    await again.stop()


async def test_ipv6_loopback_is_served(daemon: Any) -> None:
    """The address of an IPv6 listener can be put into a URL."""
    listener = daemon.listener(host="::1")
    await listener.start()
    async with aiohttp.ClientSession() as session, session.post(f"http://{listener.address}/-/reload") as response:
        assert response.status == 200
    await listener.stop()
