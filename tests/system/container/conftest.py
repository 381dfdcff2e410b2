"""One booted Debian for all tests of this folder, with the package installed and two providers to probe."""

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import yaml

if TYPE_CHECKING:
    from tests.system.container.container_world import Container, booted, debian, lacking, packages
else:
    from container_world import Container, booted, debian, lacking, packages

UNIT = "sev1probe.service"
PROGRAM = "/usr/bin/sev1probe"
SETTINGS = "/etc/sev1probe/sev1probe.yaml"
# One that is well, and one whose API refuses every call: (API port, SMTP port, scenario).
PROVIDERS = {"steady": (8443, 2587, "{}"), "broken": (9443, 9587, "api: [{at: 0s, do: status, status: 503}]")}
# As docs/systemd.md says: longer than the longest attempt timeout + 5 s. The tests wait for it.
DROP_IN = "[Service]\nWatchdogSec=8\nTimeoutAbortSec=2\n"


def target(name: str) -> dict[str, Any]:
    """Describe a target at one of the providers, by names that have to be looked up."""
    api_port, smtp_port, _ = PROVIDERS[name]
    common = {"ca_file": f"/srv/{name}/ca.pem", "timeout": "1s"}
    return {
        "name": name,
        "api": {
            **common,
            "base_url": f"https://localhost:{api_port}/api/v1",
            "key": {"credential": name},
            "body": {
                "recipients": [{"address": "probe@example.com"}],
                "content": {"from": "probe@example.com", "subject": "{target}", "text": "{message_id}"},
                "metadata": {"message_id": "{message_id}"},
            },
        },
        "smtp": {
            **common,
            "host": "localhost",
            "port": smtp_port,
            "user": "SMTP_Injection",
            "password": {"credential": name},
            "sender": "probe@example.com",
            "recipient": "probe@example.com",
        },
        "contract": {"persistence": {"unavailable": "3s", "window": "5s", "recovery": "2s"}},
    }


def settings(*targets: str, **more: Any) -> str:
    """Write settings that watch these providers."""
    return yaml.safe_dump({"vantage": "container", "targets": [target(name) for name in targets], **more})


@pytest.fixture(scope="session", name="settings")
def give_settings() -> Callable[..., str]:
    """Give the function that writes settings."""
    return settings


@pytest.fixture(scope="session")
def container(do_without: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory) -> Iterator["Container"]:
    """Boot a Debian, install the package, and let the service run with both providers."""
    if reason := lacking():
        do_without(reason)
    folder = tmp_path_factory.mktemp("container")
    first, later = packages(folder)
    first.rename(folder / "first.deb")
    later.rename(folder / "later.deb")
    with booted(debian(), folder, f"sev1probe-test-{os.getpid()}") as running:
        _install(running)
        yield running


def _install(container: "Container") -> None:
    container.run("dpkg", "--install", "/srv/packages/first.deb")
    for name, (api_port, smtp_port, scenario) in PROVIDERS.items():
        container.write(f"/srv/{name}.yaml", scenario)
        container.run(
            *("systemd-run", f"--unit={name}", PROGRAM, "simulate", f"/srv/{name}.yaml", f"--directory=/srv/{name}"),
            *(f"--api-port={api_port}", f"--smtp-port={smtp_port}", "--page-port=0"),
        )
    for name in PROVIDERS:
        container.write(f"/etc/sev1probe/credentials/{name}", _key(container, name), 0o600)
        container.run("chmod", "755", f"/srv/{name}")
    container.write(SETTINGS, settings(*PROVIDERS))
    container.write(f"/etc/systemd/system/{UNIT}.d/watchdog.conf", DROP_IN)
    container.run(PROGRAM, "check-config", SETTINGS)
    container.run("systemctl", "daemon-reload")
    container.run("systemctl", "enable", "--now", UNIT)


def _key(container: "Container", name: str) -> str:
    """Wait for a provider's key."""
    path = container.path(f"/srv/{name}/api.key")
    return str(container.until(lambda: path.exists() and path.read_text(), f"the key of {name}"))
