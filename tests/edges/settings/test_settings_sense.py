"""Defaults, relative paths, and what is allowed but warned of."""

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from probe.settings import Connections, Loaded, Settings, Smtp, Target

Loads = Callable[..., Loaded]

SMTP = "{host: localhost, sender: a@b.example, recipient: b@b.example}"
TWO_CONTROLS = """
    controls:
      - {name: c, kind: tcp, address: "localhost:80"}
      - {name: d, kind: http, url: "http://localhost/"}
"""


def sentences(loaded: Loaded) -> list[str]:
    """Take file and line off the warnings."""
    return [warning.split(": ", 1)[1] for warning in loaded.warnings]


def test_no_control_is_warned_of(loads: Loads) -> None:
    """Without a control nobody can tell whose network failed."""
    assert sentences(loads(f"targets: [{{name: a, smtp: {SMTP}}}]")) == [
        "controls: there is no control, so a second of network faults stays inconclusive; name two on other networks"
    ]


def test_a_single_control_is_warned_of(loads: Loads) -> None:
    """Then all rests on one network."""
    text = f"""
    targets: [{{name: a, smtp: {SMTP}}}]
    controls: [{{name: c, kind: tcp, address: "localhost:80"}}]
    """
    assert sentences(loads(text)) == [
        "controls: there is one control only, so network faults rest on one network; name two on different networks"
    ]


def test_a_cap_that_an_outage_would_reach_is_warned_of(loads: Loads, tmp_path: Path) -> None:
    """Fewer attempts in flight than timeout times rate means capped seconds."""
    loaded = loads(f"    targets: [{{name: a, attempts_per_second: 2, smtp: {SMTP}}}]{TWO_CONTROLS}")
    assert loaded.warnings == (
        f"{tmp_path}/settings.yaml:1: targets[0].in_flight_max: 10 attempts in flight are fewer than the 20 that smtp "
        "needs when all hang (10s at 2 a second), so some seconds of an outage will be capped",
    )


def test_more_connections_than_the_provider_documents_are_warned_of(loads: Loads) -> None:
    """Ten are documented; more are for the provider to agree to."""
    loaded = loads(f"    targets: [{{name: a, in_flight_max: 11, smtp: {SMTP}}}]{TWO_CONTROLS}")
    assert sentences(loaded) == [
        "targets[0].in_flight_max: the provider documents at most 10 connections for a surface; "
        "agree on 11 with the provider first"
    ]


def test_a_section_with_nothing_in_it_means_its_defaults(loads: Loads) -> None:
    """A user may comment out every line below a key."""
    loaded = loads(f"targets: [{{name: a, smtp: {SMTP}, contract: }}]\ncontrols:\nledger:\nlog:\nlistener:\n")
    assert loaded.settings.ledger.attempts_kept_s == 35 * 86_400
    assert loaded.settings.listener.port == 9747


def test_the_vantage_is_this_hosts_name_unless_said(loads: Loads) -> None:
    """And SMTP greets with the vantage unless told otherwise."""
    settings = loads(f"targets: [{{name: a, smtp: {SMTP}}}]").settings
    assert settings.vantage == re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()).lstrip(".-")[:63]
    assert settings.targets[0].smtp is not None
    assert settings.targets[0].smtp.ehlo == settings.vantage


def test_a_host_name_that_is_no_vantage_is_made_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default never fails its own check."""
    monkeypatch.setattr(socket, "gethostname", lambda: "-my_host.é" + "x" * 80)
    smtp = Smtp(host="localhost", sender="a@b.example", recipient="b@b.example")
    settings = Settings(targets=(Target(name="a", smtp=smtp),))
    assert settings.vantage == ("my-host.-" + "x" * 80)[:63]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ledger.sqlite3", "{folder}/ledger.sqlite3"),
        ("/var/ledger.sqlite3", "/var/ledger.sqlite3"),
        ("sqlite:///ledger.sqlite3", "sqlite:///{folder}/ledger.sqlite3"),
        ("sqlite:////var/ledger.sqlite3", "sqlite:////var/ledger.sqlite3"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://db/sev1probe", "postgresql://db/sev1probe"),
    ],
)
def test_a_relative_ledger_lies_beside_the_settings(loads: Loads, tmp_path: Path, written: str, meant: str) -> None:
    """Where the daemon was started from makes no difference."""
    settings = loads(f"targets: [{{name: a, smtp: {SMTP}}}]\nledger: {{url: '{written}'}}\n").settings
    assert settings.ledger.url == meant.format(folder=tmp_path)


def test_a_relative_ca_file_lies_beside_the_settings(loads: Loads, tmp_path: Path) -> None:
    """And it must be there."""
    (tmp_path / "ca.pem").touch()
    smtp = SMTP.replace("}", ", ca_file: ca.pem}")
    settings = loads(f"targets: [{{name: a, smtp: {smtp}}}]").settings
    assert settings.targets[0].smtp is not None
    assert settings.targets[0].smtp.ca_file == tmp_path / "ca.pem"


def test_anchors_and_merges_share_what_targets_have_in_common(loads: Loads) -> None:
    """What a target says itself wins over what it merges."""
    text = f"""
    targets:
      - &first {{name: a, attempts_per_second: 1, smtp: {SMTP}}}
      - {{<<: *first, name: b}}
    """
    settings = loads(text).settings
    assert [target.name for target in settings.targets] == ["a", "b"]
    assert settings.targets[0].smtp == settings.targets[1].smtp


def test_an_address_to_the_base_of_sixty_is_text(loads: Loads) -> None:
    """YAML 1.1 would read 1:30 as ninety."""
    with pytest.raises(Exception, match='timeout: found "1:30"'):
        loads(f"targets: [{{name: a, smtp: {SMTP.replace('}', ', timeout: 1:30}')}}}]")


def test_connections_have_their_surfaces_default(loads: Loads) -> None:
    """SMTP connections are documented for 100 messages, however the section is written."""
    part = Smtp(host="localhost", sender="a@b.example", recipient="b@b.example", connections=Connections(mode="fresh"))
    assert part.connections.uses_max == 100
    smtp = SMTP.replace("}", ", connections: {fresh_every: 5}}")
    api = "{base_url: 'https://api.example.com', body: {}, connections: {fresh_every: 5}}"
    target = loads(f"targets: [{{name: a, smtp: {smtp}, api: {api}}}]").settings.targets[0]
    assert target.smtp is not None
    assert target.api is not None
    assert (target.smtp.connections.uses_max, target.api.connections.uses_max) == (100, 10_000)


def test_code_may_give_durations_in_seconds_and_the_parts_are_frozen() -> None:
    """Other parts of the program build settings by the attributes' names."""
    part = Smtp(host="::1", sender="a@b.example", recipient="b@b.example", timeout_s=0.05)
    assert part.timeout_s == 0.05
    with pytest.raises(ValidationError):
        part.port = 25
