"""The real Prometheus scrapes both forms of the histograms and answers questions about them."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from grafana.queries import quantile
from probe.core.model import Surface
from probe.metrics.families import Histogram

STARTED_S_MAX = 15.0
POLL_S = 0.05
# Half of the attempts take 20 ms and half 600 ms, so that quantiles are known.
DURATIONS_US = (20_000, 600_000) * 50
NATIVE_ERROR = 2 ** (1 / 8)


def observe(scene: Any) -> None:
    """Put known durations into the API's histogram."""
    families = {metric.name: metric.family for metric in scene.registry.collect()}
    cell: Histogram = families["sev1probe_attempt_duration_seconds"].cell("main", Surface.API)
    for duration_us in DURATIONS_US:
        cell.observe_us(duration_us)


class Prometheus:
    """A running Prometheus, and what it was served."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.address = address
        self.served: list[str] = []
        self._session = session

    async def query(self, expression: str) -> float:
        """Ask until there is one answer."""
        while True:
            try:
                async with self._session.get(f"{self.address}/api/v1/query", params={"query": expression}) as response:
                    body = await response.json() if response.ok else {}  # 503 while it starts
            except aiohttp.ClientConnectionError:
                body = {}
            if result := body.get("data", {}).get("result"):
                return float(result[0]["value"][1])
            await asyncio.sleep(POLL_S)

    async def last_scrape_error(self) -> str:
        """Read what went wrong at the last scrape, if anything."""
        async with self._session.get(f"{self.address}/api/v1/targets") as response:
            return str((await response.json())["data"]["activeTargets"][0]["lastError"])


def configuration(folder: Path, port: int) -> Path:
    """Write the settings of a Prometheus that scrapes this port once a second."""
    path = folder / "prometheus.yml"
    path.write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f"scrape_configs: [{{job_name: probe, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    return path


@asynccontextmanager
async def running(scene: Any, program: str, folder: Path, port: int, *flags: str) -> AsyncIterator[Prometheus]:
    """Serve the metrics and run a Prometheus that scrapes them."""
    served: list[str] = []

    async def serve(request: web.Request) -> web.Response:
        kind, encoding, body = await scene.metrics.render(
            request.headers.get("Accept", ""), request.headers.get("Accept-Encoding", "")
        )
        served.append(kind)
        return web.Response(body=body, headers={"Content-Type": kind, "Content-Encoding": encoding})

    application = web.Application()
    application.router.add_get("/metrics", serve)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes no time that matters here
        [
            program,
            f"--config.file={configuration(folder, site.port)}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            *flags,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:
            prometheus = Prometheus(f"http://127.0.0.1:{port}", session)
            prometheus.served = served
            async with asyncio.timeout(STARTED_S_MAX):
                yield prometheus
    finally:
        process.kill()
        process.wait()
        await runner.cleanup()


LATENESS_US = 4_000
# What a dashboard asks, whichever form Prometheus keeps.
LATENESS = quantile(0.5, "sev1probe_attempt_start_lateness_seconds", 'job="probe"').replace("$__rate_interval", "5s")


async def begin_attempts(scene: Any) -> None:
    """Begin attempts late for as long as the test takes, since a rate needs something that happens."""
    while True:
        scene.metrics.attempt_started("main", Surface.API, LATENESS_US)
        await asyncio.sleep(POLL_S)


async def check_native(prometheus: Prometheus) -> None:
    """Quantiles are right to within one native bucket, and everything else came along."""
    name = 'sev1probe_attempt_duration_seconds{surface="api"}'
    low = await prometheus.query(f"histogram_quantile(0.25, {name})")
    high = await prometheus.query(f"histogram_quantile(0.75, {name})")
    assert 0.020 / NATIVE_ERROR < low < 0.020 * NATIVE_ERROR
    assert 0.600 / NATIVE_ERROR < high < 0.600 * NATIVE_ERROR
    assert await prometheus.query(f"histogram_count({name})") == len(DURATIONS_US)
    assert await prometheus.query(f"histogram_sum({name})") == pytest.approx(sum(DURATIONS_US) / 1e6)
    # One that has observed nothing is native as well.
    assert await prometheus.query('histogram_count(sev1probe_attempt_duration_seconds{surface="smtp"})') == 0
    silent = 'sev1probe_attempts_total{surface="smtp",fault="server_timeout",cause="silent"}'
    assert await prometheus.query(silent) == 0
    assert await prometheus.query("sev1probe_build_info") == 1
    assert 0.004 / NATIVE_ERROR < await prometheus.query(LATENESS) < 0.004 * NATIVE_ERROR
    assert await prometheus.last_scrape_error() == ""
    assert {kind.partition(";")[0] for kind in prometheus.served} == {"application/vnd.google.protobuf"}


async def check_classic(prometheus: Prometheus) -> None:
    """Quantiles are right to within one classic bucket."""
    bucket = 'sev1probe_attempt_duration_seconds_bucket{surface="api"}'
    assert 0.010 < await prometheus.query(f"histogram_quantile(0.25, {bucket})") <= 0.025
    assert 0.500 < await prometheus.query(f"histogram_quantile(0.75, {bucket})") <= 1.0
    assert 0.0025 < await prometheus.query(LATENESS) <= 0.005
    assert await prometheus.last_scrape_error() == ""
    assert {kind.partition(";")[0] for kind in prometheus.served} == {"application/openmetrics-text"}


@pytest.mark.slow
async def test_prometheus_reads_native_histograms_if_told_to_and_classic_ones_if_not(
    scene: Any, require_program: Any, free_port: Callable[[], int], tmp_path: Path
) -> None:
    """With native histograms on, Prometheus takes the protobuf form; as it comes, OpenMetrics; both find quantiles."""
    observe(scene)
    program = require_program("prometheus")
    folders = tmp_path / "native", tmp_path / "classic"
    for folder in folders:
        folder.mkdir()
    # Prometheus waits 5 s before its first scrape, so both wait together.
    feature = "--enable-feature=native-histograms"
    async with (
        running(scene, program, folders[0], free_port(), feature) as native,
        running(scene, program, folders[1], free_port()) as classic,
    ):
        attempts = asyncio.create_task(begin_attempts(scene))
        try:
            await asyncio.gather(check_native(native), check_classic(classic))
        finally:
            attempts.cancel()
