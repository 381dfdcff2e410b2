"""A Prometheus that holds the recorded weeks."""

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.panels.panels_asking import Prometheus
    from tests.system.panels.panels_recording import Recorder
else:
    from panels_asking import Prometheus
    from panels_recording import Recorder

STARTED_S_MAX = 20.0
POLL_S = 0.05
# One block may span all of it; a block of the default two hours each would read the file anew for every one.
BLOCK = "1000h"


@pytest.fixture(scope="session")
def prometheus(
    require_program: Callable[[str], str],
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    """Record the weeks, and run a Prometheus as Debian brings it that holds them."""
    program, promtool = require_program("prometheus"), require_program("promtool")
    folder = tmp_path_factory.mktemp("panels")
    _make_blocks(promtool, folder)
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    address = f"127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, f"http://{address}/-/ready", folder / "prometheus.log")
        yield Prometheus(f"http://{address}")
    finally:
        process.kill()
        process.wait()


def _make_blocks(promtool: str, folder: Path) -> None:
    with (folder / "recording.om").open("w") as written:
        Recorder(written).record()
    command = [promtool, "tsdb", "create-blocks-from", f"--max-block-duration={BLOCK}", "--quiet"]
    made = subprocess.run(
        [*command, "openmetrics", str(folder / "recording.om"), str(folder / "data")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert made.returncode == 0, made.stderr


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + STARTED_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(POLL_S)
    pytest.fail(f"Prometheus did not start:\n{log.read_text(errors='replace')}")
