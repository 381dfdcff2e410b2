"""Status pages over real sockets: what they say is kept word for word, and nothing they do is more than a statement."""

import asyncio
import hashlib
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from probe.clock import SECOND_US, SystemClock
from probe.core.model import Statement
from probe.pages import BODY_BYTES_MAX, DOCUMENTS, Page, Pollers
from probe.pages.pollers import PageCharge
from probe.simulator import Impact, Notice, ProviderOptions, SimulatedProvider, parse_scenario

Open = Callable[..., Awaitable[Page]]
Http = Callable[..., bytes]
GOOD = b'{"page": {"id": "x1", "name": "Provider"}, "status": {"indicator": "none"}}'


def charge(url: str, *, poll_s: float = 0.04, timeout_s: float = 5.0, name: str = "provider") -> PageCharge:
    """Make a charge that is due several times a second."""
    return PageCharge(name=name, url=url, poll_s=poll_s, timeout_s=timeout_s, tls=None)


async def test_a_page_is_kept_word_for_word_with_its_digest(site: Any, make_page: Open, http: Http) -> None:
    """White space, order and escapes are the provider's own; the digest is of the bytes that came."""
    body = '{"status":  {"indicator": "major"},\n "page": {"id": "x1", "name": "Caf\\u00e9 ☕"}}\n'.encode()
    site.replies = [http(body)]
    page = await make_page(site.url)
    said = await page.ask("summary")
    assert (said.source, said.code, said.trouble) == ("provider/summary", 200, "")
    assert said.body.encode() == body
    assert said.digest == hashlib.sha256(body).hexdigest()
    assert said.second == said.fetched_us // SECOND_US
    assert site.asked == ["/api/v2/summary.json"]
    assert "Accept-Encoding: identity" in site.heads[0]


async def test_a_body_is_kept_once_until_it_changes(site: Any, make_page: Open, http: Http) -> None:
    """The digest says each time what the page said, also after trouble; each document has a memory of its own."""
    other = GOOD.replace(b"none", b"major")
    site.replies = [http(), http(), http(b"", "500 Oops"), http(), http(other), http(other)]
    page = await make_page(site.url)
    said = [await page.ask("summary") for _ in range(4)]
    assert [one.body != "" for one in said] == [True, False, False, False]
    assert said[0].digest == said[1].digest == said[3].digest
    assert [(await page.ask(document)).body != "" for document in DOCUMENTS] == [True, True]


@pytest.mark.parametrize(
    ("reply", "code", "trouble"),
    [
        (("200 OK", b"<html>"), 200, "the reply is not JSON"),
        (("200 OK", b"\xff\xfe"), 200, "the reply is not JSON"),
        (("200 OK", b"[" * 100_000), 200, "the reply is not JSON"),
        (("200 OK", b"[]"), 200, 'the reply is JSON, but no status page\'s: it has no "page"'),
        (("200 OK", b'{"page": 1}'), 200, 'the reply is JSON, but no status page\'s: it has no "page"'),
        (("200 OK", b" " * (BODY_BYTES_MAX + 1)), 200, "the reply is larger than 1048576 bytes"),
        (("404 Not Found", b"{}"), 404, "HTTP 404"),
        (("503 Busy", GOOD), 503, "HTTP 503"),
        (("200 OK", GOOD, "Content-Encoding: gzip"), 200, "the reply is compressed, which was not asked for"),
        (("429 Slow", b"", "Retry-After: 120"), 429, "HTTP 429, to be asked again after 120 s"),
        (("429 Slow", b"", "Retry-After: 99999999999999999999"), 429, "HTTP 429, to be asked again after 3600 s"),
        (("429 Slow", b"", "Retry-After: soon"), 429, "HTTP 429"),
        (("429 Slow", b"", "Retry-After: Mon, 01 Jan 2001 00:00:00 GMT"), 429, "HTTP 429"),
        (
            ("302 Found", b"", "Location: http://localhost/api/v2/summary.json"),
            302,
            "a redirect to another host, which is not followed",
        ),
        (("302 Found", b"", "Location: /again"), 0, "more than 3 redirects, one after the other"),
        (("302 Found", b"", "Location: http://[oops"), 302, "a redirect to something that is no URL"),
    ],
)
async def test_what_is_no_status_page_becomes_a_sentence(
    site: Any, make_page: Open, http: Http, reply: tuple[Any, ...], code: int, trouble: str
) -> None:
    """Nothing of it is kept but the code and the reason."""
    status, body, *headers = reply
    site.replies = [http(body, status, *headers)]
    said = await (await make_page(site.url)).ask("summary")
    assert (said.code, said.trouble, said.body, said.digest) == (code, trouble, "", "")


@pytest.mark.parametrize(
    ("reply", "trouble"),
    [
        (b"", "no whole reply within 0.2 s"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "ClientPayloadError"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "ClientResponseError|closed without a reply|400"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "400|ClientResponseError"),
        (b" ", "400|ClientResponseError|closed without"),
    ],
)
async def test_what_is_no_http_becomes_a_sentence(site: Any, make_page: Open, reply: bytes, trouble: str) -> None:
    """Silence, a reply cut short and another protocol are said in one line, within the time limit."""
    site.replies = [reply]
    page = await make_page(site.url, timeout_s=0.2)
    said = await page.ask("summary")
    assert said.code == 0
    assert any(part in said.trouble for part in trouble.split("|")), said.trouble
    assert "\n" not in said.trouble
    assert (said.body, said.digest) == ("", "")


async def test_a_refused_connection_and_an_unknown_name_become_sentences(
    make_page: Open, free_port: Callable[[], int]
) -> None:
    """Each says what kind of trouble it was."""
    refused = await (await make_page(f"http://127.0.0.1:{free_port()}")).ask("summary")
    assert (refused.code, refused.trouble) == (0, "no connection: Connection refused")
    unknown = await (await make_page("http://no-such-name.invalid")).ask("summary")
    assert unknown.code == 0
    assert "name was not found" in unknown.trouble or "no whole reply" in unknown.trouble


async def test_a_redirect_within_the_host_is_followed(site: Any, make_page: Open, http: Http) -> None:
    """As a page does that moves its documents."""
    site.replies = [http(b"", "301 Moved", "Location: /moved.json"), http()]
    said = await (await make_page(site.url)).ask("summary")
    assert (said.code, said.body) == (200, GOOD.decode())
    assert site.asked == ["/api/v2/summary.json", "/moved.json"]


async def test_the_documents_take_turns_one_request_at_a_time(site: Any) -> None:
    """Also where the page is slower than the period: turns are missed then, never piled up."""
    said: list[Statement] = []
    site.replies = [b""]
    pollers = Pollers(vantage="v", clock=SystemClock(), tell=said.append)
    pollers.configure([charge(site.url, poll_s=0.02, timeout_s=0.1)])
    await site.wait_for(6)
    await pollers.close()
    assert site.at_once_max == 1
    assert set(site.asked) == {f"/api/v2/{document}.json" for document in DOCUMENTS}
    assert all("no whole reply" in statement.trouble for statement in said)
    assert len(said) >= 5


async def test_a_page_that_asks_for_patience_is_left_alone(site: Any, http: Http) -> None:
    """Retry-After holds for both documents of the page, and other pages are asked meanwhile."""
    said: list[Statement] = []
    site.replies = [http(b"", "429 Slow", "Retry-After: 60"), http()]
    pollers = Pollers(vantage="v", clock=SystemClock(), tell=said.append)
    pollers.configure([charge(site.url)])
    await site.wait_for(1)
    pollers.configure([charge(site.url), charge(site.url, name="other")])
    await site.wait_for(8)
    await pollers.close()
    sources = [statement.source.partition("/")[0] for statement in said]
    assert sources.count("provider") == 1
    assert sources.count("other") >= 6


async def test_configuring_keeps_what_stays_and_ends_what_goes(site: Any) -> None:
    """A reload starts nothing anew that it does not change; closing ends a request under way at once."""
    said: list[Statement] = []
    pollers = Pollers(vantage="v", clock=SystemClock(), tell=said.append)
    pollers.configure([charge(site.url, name="stays"), charge(site.url, name="goes")])
    await site.wait_for(6)
    pollers.configure([charge(site.url, name="stays")])
    await asyncio.sleep(0)
    before = len(said)
    await site.wait_for(len(site.asked) + 6)
    assert {statement.source.partition("/")[0] for statement in said[before:]} == {"stays"}
    bodies = [statement.source for statement in said if statement.source.startswith("stays/") and statement.body]
    assert sorted(bodies) == ["stays/scheduled-maintenances", "stays/summary"]
    site.replies = [b""]
    await site.wait_for(len(site.asked) + 1)
    async with asyncio.timeout(1):
        await pollers.close()


async def test_nothing_is_asked_while_nothing_can_be_kept(site: Any) -> None:
    """And it goes on by itself afterwards."""
    pollers = Pollers(vantage="v", clock=SystemClock(), tell=lambda _: None, paused=lambda: not asking)
    asking = False
    pollers.configure([charge(site.url, poll_s=0.01)])
    await asyncio.sleep(0.1)
    assert site.asked == []
    asking = True
    await site.wait_for(2)
    await pollers.close()


async def test_a_listener_that_fails_ends_nothing(site: Any) -> None:
    """The next turn comes all the same."""

    def tell(_: Statement) -> None:
        raise RuntimeError("broken")

    pollers = Pollers(vantage="v", clock=SystemClock(), tell=tell)
    pollers.configure([charge(site.url)])
    await site.wait_for(4)
    await pollers.close()


async def test_the_simulated_providers_page_says_what_the_scenario_says() -> None:
    """Incident and maintenance stand in the documents of a real Statuspage, over TLS, and are taken down again."""
    scenario = parse_scenario(
        "page: [{at: 0s, for: 100ms, incident: Delayed injections, impact: minor},"
        " {at: 0s, maintenance: Work on the network}]"
    )
    async with SimulatedProvider(ProviderOptions(page_port=0), scenario) as provider:
        tls = ssl.create_default_context(cafile=str(provider.ca_file))
        page = Page(name="p", url=provider.page_url, timeout_s=5, tls=tls, clock=SystemClock())
        async with page:
            said = json.loads((await page.ask("summary")).body)
            assert said["status"]["indicator"] == "minor"
            assert [incident["name"] for incident in said["incidents"]] == ["Delayed injections"]
            announced = json.loads((await page.ask("scheduled-maintenances")).body)
            assert [one["name"] for one in announced["scheduled_maintenances"]] == ["Work on the network"]
            async with asyncio.timeout(5):
                while not (changed := (await page.ask("summary")).body):
                    pass
            assert json.loads(changed)["incidents"] == []
            provider.page.show(Notice(text="All is lost", impact=Impact.CRITICAL))
            assert json.loads((await page.ask("summary")).body)["status"]["indicator"] == "critical"
        untrusted = Page(name="p", url=provider.page_url, timeout_s=5, tls=None, clock=SystemClock())
        async with untrusted:
            assert "certificate is not accepted" in (await untrusted.ask("summary")).trouble


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("page: [{incident: a}]", "page[0].at: found nothing, expected a value: every notice needs it"),
        ("page: [{at: 1s}]", "page[0]: found neither, expected either incident or maintenance"),
        (
            "page: [{at: 1s, incident: a, impact: bad}]",
            "page[0].impact: found 'bad', expected one of none, minor, major, critical",
        ),
    ],
)
def test_a_wrong_notice_is_refused_with_its_place(text: str, sentence: str) -> None:
    """As every other part of a scenario."""
    with pytest.raises(Exception, match="scenario") as caught:
        parse_scenario(text)
    assert sentence in str(caught.value)
