"""What is built from settings: what is kept over a reload, and what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest
import trustme

from probe.clock import SystemClock
from probe.core.model import Surface
from probe.settings import Settings, SettingsError
from probe.workshop import Workshop


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    """Write a trust store."""
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


def settings(ca_file: Path, **smtp: Any) -> Settings:
    """Make settings for two targets; the keywords change the second one's injection."""
    part = {"host": "localhost", "sender": "a@example.com", "recipient": "b@example.com", "ca_file": str(ca_file)}
    return Settings.model_validate(
        {"vantage": "here", "targets": [{"name": "one", "smtp": part}, {"name": "two", "smtp": {**part, **smtp}}]}
    )


async def test_only_what_changed_is_built_anew(ca_file: Path) -> None:
    """A reload hands out the same prober for the same settings, so that its connections live on."""
    workshop = Workshop(SystemClock())

    before = workshop.plan(settings(ca_file)).charges
    after = workshop.plan(settings(ca_file, port=2525)).charges

    assert after["one", Surface.SMTP] is before["one", Surface.SMTP]
    assert after["two", Surface.SMTP] is not before["two", Surface.SMTP]


async def test_a_replaced_trust_store_is_read_again(ca_file: Path) -> None:
    """A ca_file with other content makes other probers, though the settings did not change by a letter."""
    workshop = Workshop(SystemClock())
    before = workshop.plan(settings(ca_file)).charges["one", Surface.SMTP]
    trustme.CA().cert_pem.write_to_path(str(ca_file) + ".new")
    os.replace(str(ca_file) + ".new", ca_file)

    assert workshop.plan(settings(ca_file)).charges["one", Surface.SMTP] is not before


async def test_what_cannot_be_built_is_one_sentence(ca_file: Path) -> None:
    """A trust store without a certificate and a header that can't be folded are refused by name."""
    workshop = Workshop(SystemClock())
    with pytest.raises(SettingsError, match=r"target two, smtp: .*X-Long"):
        workshop.plan(settings(ca_file, headers={"X-Long": "x" * 1200}))

    os.truncate(ca_file, 0)
    with pytest.raises(SettingsError, match=r"ca\.pem: ca_file can't be used: it holds no certificate in PEM form"):
        workshop.plan(settings(ca_file))


async def test_the_name_of_a_targets_settings_tells_of_changes_and_of_no_secret(ca_file: Path) -> None:
    """It is the same for the same settings after a restart, another for another port, and another for another key."""
    secret = {"user": "someone", "password": "hunter2-hunter2"}
    workshop = Workshop(SystemClock())

    def name(at: Workshop, **smtp: Any) -> str:
        return at.plan(settings(ca_file, **smtp)).terms["two"].settings

    first = name(workshop, **secret)
    assert name(workshop, **secret) == first
    assert name(Workshop(SystemClock()), **secret) == first
    assert name(Workshop(SystemClock()), **{**secret, "password": "another"}) == first, "a secret is in the name"
    assert name(workshop, **{**secret, "password": "another"}) != first
    assert name(workshop, **secret, port=2525).partition("+")[0] != first


async def test_a_status_page_is_built_with_everything_else(ca_file: Path) -> None:
    """A page keeps its TLS context while its trust store stays; one that can't be used refuses all the settings."""
    page = {"name": "provider", "url": "https://status.example.com", "ca_file": str(ca_file)}
    target = {"name": "one", "smtp": {"host": "localhost", "sender": "a@example.com", "recipient": "b@example.com"}}
    paged = Settings.model_validate({"targets": [target], "status_pages": [page]})
    workshop = Workshop(SystemClock())
    assert workshop.pages(paged) == workshop.pages(paged)

    os.truncate(ca_file, 0)
    with pytest.raises(SettingsError, match=r"ca\.pem: ca_file can't be used: it holds no certificate in PEM form"):
        workshop.plan(paged)


async def test_a_reload_names_other_resolvers_and_keeps_the_connections(ca_file: Path) -> None:
    """Only settings that are taken as a whole change who confirms a name's absence."""
    workshop = Workshop(SystemClock())
    before = workshop.plan(settings(ca_file)).charges

    after = workshop.plan(settings(ca_file).model_copy(update={"resolvers": ("192.0.2.53",)})).charges
    with pytest.raises(SettingsError):
        workshop.plan(settings(ca_file, headers={"X-Long": "x" * 1200}))

    assert after == before
    assert workshop.others.addresses == ("192.0.2.53",)
