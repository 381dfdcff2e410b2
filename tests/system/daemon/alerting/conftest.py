"""Prometheus and Alertmanager as deploy/ sets them up, and a pager at their end."""

import contextlib
import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]
READY_TIMEOUT_S = 30.0


class Pager:
    """Takes what an Alertmanager's receivers are told, on loopback; the path says which receiver."""

    def __init__(self) -> None:
        self.pages: list[tuple[float, str, dict[str, Any]]] = []
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                pager.pages.append((time.time(), self.path.strip("/"), body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    def told(self, receiver: str) -> list[tuple[str, str]]:
        """List the alerts that a receiver was told of, in order, each with its state."""
        return [
            (alert["labels"]["alertname"], alert["status"])
            for _, path, body in self.pages
            if path == receiver
            for alert in body["alerts"]
        ]

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def pager() -> Iterator[Pager]:
    """Run a pager."""
    running = Pager()
    yield running
    running.close()


@pytest.fixture
def alerting_programs(
    require_program: Callable[[str], str], free_port: Callable[[], int], tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Give a function that starts Prometheus or Alertmanager on a configuration, and returns its URL."""
    with contextlib.ExitStack() as started:

        def begin(name: str, config: Path, *flags: str) -> str:
            address = f"127.0.0.1:{free_port()}"
            storage = "--storage.path" if name == "prometheus-alertmanager" else "--storage.tsdb.path"
            command = [require_program(name), f"--config.file={config}", f"--web.listen-address={address}"]
            with (tmp_path / f"{name}.log").open("wb") as sink:
                process = subprocess.Popen(
                    [*command, f"{storage}={tmp_path / name}", *flags], cwd=tmp_path, stdout=sink, stderr=sink
                )
            started.callback(process.wait)
            started.callback(process.kill)
            deadline = time.monotonic() + READY_TIMEOUT_S
            while not _answers(f"http://{address}/-/ready"):
                assert process.poll() is None, (tmp_path / f"{name}.log").read_text()
                assert time.monotonic() < deadline, f"{name} is not ready"
                time.sleep(0.05)
            return f"http://{address}"

        yield begin


@pytest.fixture
def alertmanager_example(alerting_programs: Callable[..., str], pager: Pager, tmp_path: Path) -> Callable[[], str]:
    """Give a function that starts an Alertmanager on the example, with the pager at its end, and returns its URL."""

    def begin() -> str:
        folder = ROOT / "deploy" / "alertmanager"
        config = yaml.safe_load((folder / "alertmanager.example.yml").read_text())
        config["templates"] = [str(folder / "templates" / "*.tmpl")]
        config["receivers"] = [
            {"name": one["name"], "webhook_configs": [{"url": f"http://{pager.address}/{one['name']}"}]}
            for one in config["receivers"]
        ]
        # Only how long it waits to say more; who is told, and what is silenced, is as it is.
        for route in (config["route"], *config["route"]["routes"]):
            route["group_interval"] = "1s"
            route["group_wait"] = "1s" if route.get("group_wait") != "0s" else "0s"
        path = tmp_path / "alertmanager.yml"
        path.write_text(yaml.safe_dump(config))
        return alerting_programs("prometheus-alertmanager", path, "--cluster.listen-address=")

    return begin


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
