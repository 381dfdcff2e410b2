"""A scrape as a client sees it: the form it asked for, whole, and in slices."""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from probe.core.model import Cause
from probe.metrics import exposition as module
from probe.metrics.catalogue import WORK_BOUNDS_US
from probe.metrics.exposition import Exposition, Format, pieces
from probe.metrics.families import Description, Family, Histogram, Kind, Scalar
from probe.metrics.negotiation import choose_format, gzip_accepted

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
OTHERS = "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_2 = f"application/openmetrics-text;version=1.0.0,{OTHERS}"
PROMETHEUS_NATIVE = f"{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,{OTHERS}"
generate_openmetrics: Callable[[CollectorRegistry], bytes] = openmetrics.generate_latest


class Turns:
    """Counts the turns that a rendering gives the loop; a test may hold it at one of them."""

    def __init__(self) -> None:
        self.taken = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self) -> None:
        """Take a turn."""
        self.taken += 1
        await self.go_on.wait()
        await asyncio.sleep(0)


def large(children: int = 300) -> CollectorRegistry:
    """Make a registry with a counter and a histogram of so many children, and a family of the library's own."""
    registry = CollectorRegistry()
    counted = Description(name="sev1probe_a_total", kind=Kind.COUNTER, documentation="A \\ b.", labels=("x",))
    timed = Description(
        name="sev1probe_b_seconds", kind=Kind.HISTOGRAM, documentation="B.", labels=("x",), bounds_us=WORK_BOUNDS_US
    )
    counters, histograms = Family(counted, Scalar), Family(timed, Histogram)
    registry.register(counters)
    registry.register(histograms)
    Counter("library_things", "Things.", ["y"], registry=registry).labels('q"\n\\').inc(12345678)
    for number in range(children):
        counters.cell(f'%s %d "{number}"\n\\').value = number * 1_000_003
        histograms.cell(f"é{number}").observe_us(number * 1_000)
    return registry


def exposed(registry: CollectorRegistry, turn: Any) -> Exposition:
    """Make an exposition with histograms of its own that are not on the registry."""
    times = [Histogram((), WORK_BOUNDS_US) for _ in range(2)]
    return Exposition(registry, render_duration=times[0], slice_duration=times[1], turn=turn)


@pytest.mark.parametrize("warm", [False, True])
def test_slices_put_together_are_what_the_library_gives(warm: bool) -> None:
    """Text and OpenMetrics are the library's, byte for byte, the first time and from kept templates."""
    registry = large()
    for _ in range(1 + warm):
        plain, other = (b"".join(pieces(registry, form)) for form in (Format.TEXT, Format.OPENMETRICS))
    assert plain == generate_latest(registry)
    assert other == generate_openmetrics(registry)


def test_the_daemons_own_metrics_are_what_the_library_gives(scene: Any, new_story: Callable[[], Any]) -> None:
    """The same holds for all metrics there are."""
    scene.metrics.observe_step(*new_story().second(Cause.SILENT))
    assert b"".join(pieces(scene.registry, Format.TEXT)) == generate_latest(scene.registry)
    assert b"".join(pieces(scene.registry, Format.OPENMETRICS)) == generate_openmetrics(scene.registry)


@pytest.mark.parametrize("form", list(Format))
def test_no_slice_is_the_work_of_many_children(form: Format) -> None:
    """However many children there are, none but a bounded number is rendered without a turn of the loop."""
    few, many = ([len(piece) for piece in pieces(large(number), form)] for number in (100, 1_000))
    assert max(many) <= 1.3 * max(few)
    assert len(many) > 4 * len(few)


@pytest.mark.parametrize("form", [Format.TEXT, Format.PROTOBUF])
async def test_the_loop_turns_between_slices(form: Format) -> None:
    """A rendering of some twenty thousand lines gives the loop a turn after each slice, compressed or not."""
    turns = Turns()
    exposition = exposed(large(1_300), turns)
    plain = await exposition.render(form, compressed=False)
    assert turns.taken >= 1_300 * module.COST_PROTOBUF_HISTOGRAM // module.SLICE_COST_MAX
    taken = turns.taken
    packed = await exposition.render(form, compressed=True)
    assert turns.taken - taken >= len(plain) // module.COMPRESSED_BYTES_A_TURN
    assert zlib.decompress(packed, module.GZIP_WINDOW_BITS) == plain


async def test_scrapes_of_the_same_form_share_one_rendering() -> None:
    """Ten scrapers at once cost one rendering; another form waits until it is done."""
    turns = Turns()
    exposition = exposed(large(), turns)
    alone = await exposition.render(Format.TEXT, compressed=False)
    turns.taken = 0
    await exposition.render(Format.TEXT, compressed=False)
    cost = turns.taken
    turns.go_on.clear()
    together = [asyncio.create_task(exposition.render(Format.TEXT, compressed=False)) for _ in range(10)]
    other = asyncio.create_task(exposition.render(Format.OPENMETRICS, compressed=False))
    await asyncio.sleep(0.01)
    assert turns.taken == cost + 1
    together[0].cancel()
    turns.go_on.set()
    assert set(await asyncio.gather(*together[1:])) == {alone}
    assert (await other).endswith(b"# EOF\n")
    assert turns.taken == cost + cost + (cost + 1)  # the last one is for the end mark


async def test_a_child_made_meanwhile_does_no_harm(scene: Any, new_story: Callable[[], Any]) -> None:
    """A reload and a new cause between two slices neither break a rendering nor tear a family."""
    changes = iter(["main", "other", "third"] * 1_000)

    async def change() -> None:
        scene.configure(("main", next(changes)))
        scene.metrics.observe_step(*new_story().second(Cause.MALFORMED_REPLY))

    text = await exposed(scene.registry, change).render(Format.TEXT, compressed=False)
    names = [line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


async def test_a_rendering_is_timed(scene: Any) -> None:
    """A scrape shows how long the scrapes before it took."""
    await scene.metrics.render("", "")
    assert scene.value("sev1probe_scrape_render_duration_seconds_count") == 1
    assert scene.value("sev1probe_scrape_slice_duration_seconds_count") > 1


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        ("text/html,application/xhtml+xml;q=0.9", Format.TEXT),
        (PROMETHEUS_2, Format.OPENMETRICS),
        (PROMETHEUS_NATIVE, Format.PROTOBUF),
        ("application/openmetrics-text", Format.OPENMETRICS),
        ("application/openmetrics-text; version=2.0.0", Format.TEXT),
        ("application/openmetrics-text;q=0.3, text/plain;q=0.4", Format.TEXT),
        ("application/openmetrics-text;q=0, text/plain;q=0.1", Format.TEXT),
        (PROTOBUF.replace("delimited", "text"), Format.TEXT),
        (f"{PROTOBUF};q=0.6,text/plain;q=nonsense", Format.PROTOBUF),
        (",;,=;q=2", Format.TEXT),
    ],
)
def test_the_scraper_gets_the_form_it_likes_best(accept: str, form: Format) -> None:
    """Weights decide, what cannot be read is passed over, and text is what anybody can read."""
    assert choose_format(accept) is form


@pytest.mark.parametrize(
    ("accept_encoding", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("gzip;q=0", False),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("*,gzip;q=0", False),
    ],
)
def test_a_body_is_compressed_only_if_asked_for(accept_encoding: str, accepted: bool) -> None:
    """No gzip for who did not ask."""
    assert gzip_accepted(accept_encoding) is accepted


async def test_type_and_encoding_say_what_the_body_is(scene: Any) -> None:
    """The content type names the form, and the encoding how it is packed."""
    assert (await scene.metrics.render("", ""))[:2] == ("text/plain; version=0.0.4; charset=utf-8", "")
    kind, encoding, _ = await scene.metrics.render(PROMETHEUS_2, "gzip")
    assert (kind, encoding) == ("application/openmetrics-text; version=1.0.0; charset=utf-8", "gzip")
    kind, _, _ = await scene.metrics.render(PROMETHEUS_NATIVE, "")
    assert kind.replace(" ", "") == PROTOBUF
