"""The simulated API as its clients see it."""

import asyncio
import base64
import copy
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from probe.core.model import Phase, Surface
from probe.simulator import FaultKind, ProviderOptions, SimulatedFault, SimulatedProvider, TlsAlert, TlsMode

Post = Callable[..., Awaitable[Any]]
Trust = Callable[[SimulatedProvider], ssl.SSLContext]
Dial = Callable[..., Awaitable[Any]]
API = Surface.API
GOOD = {
    "recipients": [{"address": "a@x.sink.sparkpostmail.com"}, {"address": "b@x.sink.sparkpostmail.com"}],
    "content": {"from": {"email": "me@example.com"}, "subject": "s", "html": "h", "headers": {"Message-ID": "<7@me>"}},
    "metadata": {"run": "7"},
}


def fault(kind: FaultKind, **parameters: Any) -> SimulatedFault:
    """Make a fault in one line."""
    return SimulatedFault(kind=kind, **parameters)


async def test_a_transmission_is_accepted_and_recorded(provider: SimulatedProvider, post: Post) -> None:
    """A right call gets the documented body, and the server's record names the message and its metadata."""
    response = await post(provider, GOOD)
    results = response.json()["results"]
    assert response.status == 200
    assert (results["total_accepted_recipients"], results["total_rejected_recipients"]) == (2, 0)
    assert results["id"].isdigit()
    (received,) = provider.received(API)
    assert (received.transmission, received.message_id, received.recipients) == (results["id"], "7@me", 2)
    assert received.metadata == {"run": "7"}
    assert received.answered


async def test_calls_travel_on_one_kept_connection(provider: SimulatedProvider, post: Post) -> None:
    """Five calls in a row need one connection."""
    for _ in range(5):
        await post(provider)
    tally = provider.tally(API)
    assert (tally.connections, tally.attempts, tally.accepted) == (1, 5, 5)


async def test_only_the_last_records_are_held(post: Post) -> None:
    """The records are bounded, the counters are not."""
    async with SimulatedProvider(ProviderOptions(records_max=2)) as provider:
        for number in range(4):
            await post(provider, {**GOOD, "metadata": {"number": number}})
        assert [received.metadata["number"] for received in provider.received(API)] == [2, 3]
        assert provider.tally(API).accepted == 4


async def test_a_wrong_key_is_answered_as_documented(provider: SimulatedProvider, post: Post) -> None:
    """A wrong key gets 401 with a message; the key as the user of Basic is right."""
    response = await post(provider, key="wrong")
    assert response.status == 401
    assert response.json() == {"errors": [{"message": "Unauthorized."}]}
    basic = "Basic " + base64.b64encode(f"{provider.key}:".encode()).decode()
    assert (await post(provider, key=basic)).status == 200


def _without(*path: str) -> dict[str, Any]:
    body = copy.deepcopy(GOOD)
    place: Any = body
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return body


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 422, "1300"),
        (b"[]", 422, "1300"),
        (_without("recipients"), 422, "1400"),
        (_without("content", "from"), 422, "1400"),
        (_without("content", "subject"), 422, "1400"),
        ({**GOOD, "content": {"from": "me@elsewhere.test", "subject": "s", "text": "t"}}, 400, "7001"),
    ],
)
async def test_a_wrong_body_gets_the_documented_code(
    provider: SimulatedProvider, post: Post, body: object, status: int, code: str
) -> None:
    """What is wrong with a transmission shows in status and code, and nothing is taken."""
    response = await post(provider, body)
    assert (response.status, response.json()["errors"][0]["code"]) == (status, code)
    assert provider.tally(API).accepted == 0
    assert provider.tally(API).refused == 1


async def test_another_address_or_method_is_refused(provider: SimulatedProvider, trust: Trust, dial: Dial) -> None:
    """Unknown addresses get 404 and other methods 405, pipelined on one connection, each with its own reply."""
    dialogue = await dial(provider.api_port, trust(provider))
    await dialogue.say("GET / HTTP/1.1", "Host: a", "", "HEAD /api/v1/x HTTP/1.1", "Host: a", "")
    await dialogue.say("GET /api/v1/transmissions/ HTTP/1.1", "Host: a", "Connection: close", "")
    replies = await dialogue.rest()
    assert re.findall(rb"HTTP/1.1 (\d+)", replies) == [b"404", b"404", b"405"]


async def test_a_body_in_chunks_and_bytes_one_by_one_are_read(
    provider: SimulatedProvider, dial: Dial, trust: Trust
) -> None:
    """A request arrives whole however it is cut."""
    body = json.dumps(GOOD).encode()
    head = f"POST /api/v1/transmissions HTTP/1.1\r\nAuthorization: {provider.key}\r\nConnection: close\r\n"
    chunks = (
        b"".join(f"{len(part):x};x=1\r\n".encode() + part + b"\r\n" for part in (body[:50], body[50:])) + b"0\r\n\r\n"
    )
    dialogue = await dial(provider.api_port, trust(provider))
    for byte in head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks:
        dialogue.writer.write(bytes((byte,)))
        await asyncio.sleep(0)
    assert (await dialogue.rest()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "rubbish", [b"\x16\x03\x01\x00\x05hello", b"GET nonsense\r\n\r\n", b"POST / HTTP/1.1\r\nbroken\r\n\r\n"]
)
async def test_what_is_not_http_gets_the_front_s_page(
    provider: SimulatedProvider, dial: Dial, trust: Trust, rubbish: bytes
) -> None:
    """A request that can't be read is answered by the openresty front and the connection closed."""
    dialogue = await dial(provider.api_port, trust(provider))
    dialogue.writer.write(rubbish)
    reply = await dialogue.rest()
    assert reply.startswith(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html")


# Faults, on a kept connection that was opened before the fault.


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, {"errors": [{"message": "Unable to contact authorization service."}]}),
        (400, {"errors": [{"message": "Server resources unavailable", "code": "1502"}]}),
        (420, {"errors": [{"message": "Exceed Sending Limit (hourly)", "code": "2101"}]}),
        (599, {"errors": [{"message": "Unknown"}]}),
    ],
)
async def test_a_status_comes_with_its_documented_body(
    provider: SimulatedProvider, post: Post, status: int, body: object
) -> None:
    """A status alone gets the documented body, on the kept connection, and ends with the fault."""
    await post(provider)
    provider.set(API, fault(FaultKind.STATUS, status=status))
    response = await post(provider)
    assert (response.status, response.json()) == (status, body)
    provider.clear(API)
    assert (await post(provider)).status == 200
    tally = provider.tally(API)
    assert (tally.connections, tally.attempts, tally.accepted, tally.struck) == (1, 3, 2, 1)


async def test_a_status_can_have_any_body_and_headers(provider: SimulatedProvider, post: Post) -> None:
    """Body, content type and headers are sent as told; the message is taken although the client can't know."""
    told = fault(
        FaultKind.STATUS,
        status=504,
        body=b"gone",
        content_type="text/plain",
        headers=(("Retry-After", "5"),),
        taken=True,
    )
    provider.set(API, told)
    response = await post(provider)
    assert (response.status, response.body) == (504, b"gone")
    assert (response.content_type, response.headers["Retry-After"]) == ("text/plain", "5")
    assert [received.answered for received in provider.received(API)] == [False]


async def test_html_is_the_page_of_openresty(provider: SimulatedProvider, post: Post) -> None:
    """The page of the front comes with 400 and no JSON."""
    provider.set(API, fault(FaultKind.HTML))
    response = await post(provider)
    assert (response.status, response.content_type) == (400, "text/html")
    assert b"<center>openresty/1.9.15.1</center>" in response.body


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (fault(FaultKind.SILENT), TimeoutError),
        (fault(FaultKind.STALL), TimeoutError),
        (fault(FaultKind.TRUNCATE), aiohttp.ClientPayloadError),
        (fault(FaultKind.RESET, phase=Phase.BODY), aiohttp.ClientPayloadError),
        (fault(FaultKind.RESET), (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)),
        (fault(FaultKind.CLOSE), aiohttp.ServerDisconnectedError),
        (fault(FaultKind.GARBAGE), aiohttp.ClientResponseError),
        (fault(FaultKind.SILENT, phase=Phase.TLS), TimeoutError),
        (fault(FaultKind.SILENT, phase=Phase.CONNECT), TimeoutError),
        (fault(FaultKind.RESET, phase=Phase.TLS), aiohttp.ClientOSError),
        (fault(FaultKind.CLOSE, phase=Phase.TLS), aiohttp.ClientConnectionError),
        (fault(FaultKind.CLOSE, phase=Phase.CONNECT), aiohttp.ClientConnectionError),
        (fault(FaultKind.GARBAGE, phase=Phase.TLS), aiohttp.ClientConnectorSSLError),
        (fault(FaultKind.PLAIN_TEXT), aiohttp.ClientConnectorSSLError),
        (fault(FaultKind.TLS_ALERT, alert=TlsAlert.HANDSHAKE_FAILURE), aiohttp.ClientConnectorSSLError),
        (fault(FaultKind.EXPIRED_CERTIFICATE), aiohttp.ClientConnectorCertificateError),
        (fault(FaultKind.WRONG_NAME), aiohttp.ClientConnectorCertificateError),
        (fault(FaultKind.REFUSE), aiohttp.ClientConnectorError),
    ],
    ids=lambda value: f"{value.kind}-{value.phase}" if isinstance(value, SimulatedFault) else "",
)
async def test_a_fault_fails_a_call_and_the_next_one_after_it_succeeds(
    provider: SimulatedProvider, post: Post, told: SimulatedFault, error: type[Exception]
) -> None:
    """Each fault reaches a client that holds a kept connection from before, and is gone once cleared."""
    await post(provider)
    provider.set(API, told)
    # A client that finds its kept connection closed may learn it with this call; the fault shows at the front door.
    await asyncio.sleep(0.005)
    with pytest.raises(error):
        await post(provider, timeout_s=0.1)
    provider.clear(API)
    assert (await post(provider)).status == 200


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (fault(FaultKind.EXPIRED_CERTIFICATE), "certificate has expired"),
        (fault(FaultKind.WRONG_NAME), "certificate is not valid for"),
        (fault(FaultKind.TLS_ALERT), "alert internal error"),
        (fault(FaultKind.TLS_ALERT, alert=TlsAlert.PROTOCOL_VERSION), "alert protocol version"),
    ],
    ids=["expired", "name", "internal_error", "protocol_version"],
)
async def test_a_tls_fault_is_the_one_that_was_asked_for(
    provider: SimulatedProvider, dial: Dial, trust: Trust, told: SimulatedFault, words: str
) -> None:
    """OpenSSL names the very fault."""
    provider.set(API, told)
    with pytest.raises(ssl.SSLError, match=words):
        await dial(provider.api_port, trust(provider))


async def test_a_truncated_body_is_short_of_its_length(provider: SimulatedProvider, dial: Dial) -> None:
    """The head promises more than comes, and the message was taken all the same."""
    async with SimulatedProvider(ProviderOptions(api_tls=TlsMode.NONE)) as plain:
        plain.set(API, fault(FaultKind.TRUNCATE))
        dialogue = await dial(plain.api_port)
        body = json.dumps(GOOD)
        await dialogue.say(
            "POST /api/v1/transmissions HTTP/1.1", f"Authorization: {plain.key}", f"Content-Length: {len(body)}"
        )
        await dialogue.say("", body)
        head, _, half = (await dialogue.rest()).partition(b"\r\n\r\n")
        promised = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        assert 0 < len(half) < promised
        assert [received.answered for received in plain.received(API)] == [False]


async def test_half_a_reply_arrives_before_the_reset(provider: SimulatedProvider, trust: Trust) -> None:
    """On a fresh connection too, nothing that the client's kernel does delays the half until the reset swallows it."""
    provider.set(API, fault(FaultKind.RESET, phase=Phase.BODY))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", provider.api_port, ssl=trust(provider), server_hostname="127.0.0.1"
    )
    body = json.dumps(GOOD).encode()
    head = (
        f"POST /api/v1/transmissions HTTP/1.1\r\nAuthorization: {provider.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1000)
    writer.transport.abort()


@pytest.mark.parametrize("phase", [Phase.FIRST_BYTE, Phase.BODY, Phase.TLS])
async def test_slow_is_late_and_right(provider: SimulatedProvider, post: Post, phase: Phase) -> None:
    """A slow reply comes no sooner than told, and is the right one."""
    provider.set(API, fault(FaultKind.SLOW, by_s=0.06, phase=phase))
    loop = asyncio.get_running_loop()
    start = loop.time()
    assert (await post(provider)).status == 200
    assert loop.time() - start >= 0.055


async def test_a_fraction_strikes_the_same_calls_in_every_run(post: Post) -> None:
    """The seed decides which calls fail; about the told share does."""

    async def run(seed: int) -> list[int]:
        async with SimulatedProvider(ProviderOptions(seed=seed)) as provider:
            provider.set(API, fault(FaultKind.STATUS, status=500, fraction=0.3))
            return [(await post(provider)).status for _ in range(60)]

    first = await run(1)
    assert first == await run(1)
    assert first != await run(2)
    assert 8 <= first.count(500) <= 28


async def test_idle_connections_are_closed(provider: SimulatedProvider, post: Post) -> None:
    """A kept connection is closed once idle for so long, and calls made meanwhile are right."""
    await post(provider)
    assert provider.tally(API).connections_open == 1
    provider.set(API, fault(FaultKind.IDLE_CLOSE, after_s=0.02))
    async with asyncio.timeout(2):
        while provider.tally(API).connections_open:  # noqa: ASYNC110 - the provider has no event for it.
            await asyncio.sleep(0.005)
    assert (await post(provider)).status == 200
    assert provider.tally(API).connections == 2


async def test_a_fault_of_the_other_surface_is_refused(provider: SimulatedProvider) -> None:
    """A fault that the surface can't have is an error of the caller, in one sentence."""
    with pytest.raises(ValueError, match="the api surface has no fault 'reply'"):
        provider.set(API, fault(FaultKind.REPLY, reply="421 x"))
    with pytest.raises(ValueError, match="phase 'final' is not one of first_byte, connect, tls"):
        provider.set(API, fault(FaultKind.SILENT, phase=Phase.FINAL))


async def test_refused_connections_are_taken_again_on_the_same_port(provider: SimulatedProvider, dial: Dial) -> None:
    """The port refuses at once, and listens at once again, any number of times."""
    port = provider.api_port
    for _ in range(3):
        provider.set(API, fault(FaultKind.REFUSE))
        with pytest.raises(ConnectionRefusedError):
            await dial(port)
        provider.clear(API)
        await dial(port)
    assert provider.api_port == port


def test_the_key_is_in_no_repr() -> None:
    """Options can be logged without the key."""
    assert "s3cret" not in repr(ProviderOptions(key="s3cret"))
