"""What every test may lean on: programs of the machine, free ports, hypothesis profiles."""

import glob
import os
import random
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

import hypothesis
import pytest

# Below the ports that the kernel gives away (32768 and up): one that was let go is not somebody else's soon.
FREE_PORTS = range(20_000, 32_000)
UNDER_CI = os.environ.get("CI") == "true"
REPORTED = ("aiohttp", "aiosmtplib", "uvloop", "SQLAlchemy", "pydantic", "prometheus-client", "hypothesis")
# Debian keeps servers where a plain user's PATH does not look.
SERVER_FOLDERS = ("/usr/sbin", "/sbin", "/usr/lib/postfix/sbin", "/usr/lib/postgresql/*/bin")
DEBIAN_PACKAGES = {
    "amtool": "prometheus-alertmanager",
    "initdb": "postgresql",
    "master": "postfix",
    "nginx": "nginx-light",
    "postgres": "postgresql",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "promtool": "prometheus",
    "saslpasswd2": "sasl2-bin",
}

hypothesis.settings.register_profile("dev", max_examples=50, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if UNDER_CI else "dev"))


def pytest_report_header() -> str:
    """Name the versions that a failure would have to be read with."""
    return "libraries: " + ", ".join(f"{name} {_version(name)}" for name in REPORTED)


@pytest.fixture(scope="session")
def do_without() -> Callable[[str], NoReturn]:
    """Give a function that skips the test for what this machine lacks, or fails it where nothing may lack: in CI."""
    return _do_without


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """Give a function from a program's name to its path that skips (in CI: fails) the test where it is missing."""
    return _require_program


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Give a function that returns a TCP port of 127.0.0.1 that was free, and never the same one twice."""
    given: set[int] = set()

    def find() -> int:
        for port in random.Random().sample(FREE_PORTS, len(FREE_PORTS)):  # noqa: S311 - no secret
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with suppress(OSError):
                    probe.bind(("127.0.0.1", port))
                    if port not in given:
                        given.add(port)
                        return port
        raise AssertionError("no port is free")

    return find


def _do_without(reason: str) -> NoReturn:
    if UNDER_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _require_program(name: str) -> str:
    folders = [folder for pattern in SERVER_FOLDERS for folder in sorted(glob.glob(pattern), reverse=True)]
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *folders]))
    if path is None:
        _do_without(f"needs {name} (Debian package {DEBIAN_PACKAGES.get(name, name)})")
    return path


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
