"""Defaults, relative paths, and what is allowed but warned of."""

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from probe.settings import Connections, Loaded, Settings, SettingsError, Smtp, Target

Loads = Callable[..., Loaded]

SMTP = "{host: localhost, sender: a@b.example, recipient: b@b.example}"
TWO_CONTROLS = """
    controls:
      - {name: c, kind: tcp, address: "192.0.2.1:80"}
      - {name: d, kind: http, url: "http://www.example.com/"}
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
    controls: [{{name: c, kind: tcp, address: "192.0.2.1:80"}}]
    """
    assert sentences(loads(text)) == [
        "controls: there is one control only, so network faults rest on one network; name two on different networks"
    ]


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ('kind: tcp, address: "192.0.2.1:53"', 'kind: tcp, address: "192.0.2.1:443"', "at 192.0.2.1"),
        ('kind: tcp, address: "192.0.2.1:53"', 'kind: http, url: "http://192.0.2.200/"', "in 192.0.2.0/24"),
        ('kind: tcp, address: "[2001:db8::1]:53"', 'kind: http, url: "http://[2001:db8:0:9::1]/"', "in 2001:db8::/48"),
        ('kind: tcp, address: "[2001:DB8::1]:53"', 'kind: tcp, address: "[2001:db8:0::1]:54"', "at 2001:db8::1"),
        (
            'kind: http, url: "https://WWW.ex.com/a"',
            'kind: tcp, address: "www.ex.com.:80"',
            "at www.ex.com",
        ),
    ],
)
def test_controls_that_share_a_host_or_a_network_are_warned_of(
    loads: Loads, first: str, second: str, shared: str
) -> None:
    """One failure takes both, so they are hardly two."""
    controls = f"\ncontrols: [{{name: c, {first}}}, {{name: d, {second}}}]"
    field = "address" if "address" in second else "url"
    assert sentences(loads(f"targets: [{{name: a, smtp: {SMTP}}}]" + controls)) == [
        f"controls[1].{field}: controls[0] is {shared} too, so one failure there takes both; "
        "name a control on another network"
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("192.0.2.1:53", "192.0.3.1:53"),
        ("[2001:db8::1]:53", "[2001:db8:1::1]:53"),
        ("192.0.2.1:53", "[2001:db8::1]:53"),
        ("a.example.com:53", "b.example.com:53"),
    ],
)
def test_controls_of_different_networks_are_not_warned_of(loads: Loads, first: str, second: str) -> None:
    """What names resolve to is not asked here."""
    controls = f"""
    controls: [{{name: c, kind: tcp, address: "{first}"}}, {{name: d, kind: tcp, address: "{second}"}}]"""
    assert sentences(loads(f"    targets: [{{name: a, smtp: {SMTP}}}]{controls}")) == []


@pytest.mark.parametrize(
    ("control", "field", "host", "target"),
    [
        ('kind: http, url: "https://API.example.com/"', "url", "api.example.com", "targets[0].api"),
        ('kind: tcp, address: "localhost:25"', "address", "localhost", "targets[0].smtp"),
    ],
)
def test_a_control_at_the_targets_host_is_warned_of(
    loads: Loads, control: str, field: str, host: str, target: str
) -> None:
    """It would fail with the provider, so it could never tell whose network failed."""
    text = f"""
    targets: [{{name: a, smtp: {SMTP}, api: {{base_url: "https://api.example.com/v1", body: {{}}}}}}]
    controls: [{{name: c, {control}}}, {{name: d, kind: tcp, address: "192.0.2.1:53"}}]
    """
    assert sentences(loads(text)) == [
        f"controls[0].{field}: {host} is the host of {target} too, so this control fails with the provider and can't "
        "tell our network from theirs; name something that is not the provider"
    ]


def test_a_status_page_has_defaults_and_limits(loads: Loads) -> None:
    """Asked once a minute, at most every ten seconds, over https, under a name of its own."""
    target = f"targets: [{{name: a, smtp: {SMTP}}}]\n"
    page = loads(target + "status_pages: [{name: p, url: 'https://status.example.com/'}]").settings.status_pages[0]
    assert (page.url, page.poll_s, page.timeout_s, page.ca_file) == ("https://status.example.com", 60.0, 10.0, None)
    for wrong, sentence in (
        ("[{name: p, url: 'https://a.example', poll: 9s}]", "status_pages[0].poll: found 9s, expected at least 10s"),
        ("[{name: p, url: 'http://a.example'}]", "status_pages[0].url: found .* expected an https URL, because what"),
        ("[{name: p, url: 'https://a.example?x=1'}]", "status_pages[0].url: .* expected a URL without a query"),
        (
            "[{name: p, url: 'https://a.example'}, {name: p, url: 'https://b.example'}]",
            'status_pages[1].name: found "p", expected a name that status_pages[0] does not have already',
        ),
    ):
        with pytest.raises(SettingsError, match=sentence.replace("[", r"\[")):
            loads(target + f"status_pages: {wrong}")


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


@pytest.mark.parametrize(
    ("listener", "is_warned"),
    [
        ("{host: 192.0.2.1}", True),
        ("{host: 192.0.2.1, open_reading: true}", False),
        ("{host: localhost}", False),
        ('{host: "[::1]"}', False),
    ],
)
def test_reading_that_nobody_may_do_is_warned_of(loads: Loads, listener: str, is_warned: bool) -> None:
    """Off loopback reading the API needs a token, and without a tokens file there is none."""
    said = sentences(loads(f"targets: [{{name: a, smtp: {SMTP}}}]\nlistener: {listener}"))
    assert any("nobody can read /api/v1" in sentence for sentence in said) == is_warned
