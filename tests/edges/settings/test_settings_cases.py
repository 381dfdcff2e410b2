"""By which relay Support Cases are mailed, and what was agreed of answers, as settings."""

from collections.abc import Callable
from pathlib import Path

import pytest

from probe.core.drafting import DraftRule
from probe.settings import Loaded, SettingsError, case_pledges_of, effective

Loads = Callable[..., Loaded]
TARGET = "{name: a, smtp: {host: smtp.provider.example, sender: a@b.example, recipient: b@b.example}"


def text_of(cases: str, contract: str = "{}") -> str:
    """Write settings of one target."""
    return f"targets: [{TARGET}, contract: {contract}}}]\ncases: {cases}"


def test_the_password_of_the_relay_is_a_secret(loads: Loads, tmp_path: Path) -> None:
    """It is read from where the settings say, and shown nowhere."""
    (tmp_path / "secret").write_text("hunter2\n")
    relay = "{host: mail.example.com, user: me, password: {file: secret}}"
    loaded = loads(text_of(f"{{sender: me@example.com, relay: {relay}}}"))
    made = loaded.settings.cases.relay
    assert made is not None
    assert made.password is not None
    assert made.password.get_secret_value() == "hunter2"
    assert "hunter2" not in effective(loaded.settings, loaded.sources) + repr(loaded)


def test_what_was_agreed_is_business_time_of_the_target(loads: Loads) -> None:
    """A day to answer and three for each update, unless both sides said something else."""
    settings = loads(text_of("{respond_within: 4h}", "{service_time_zone: uk}")).settings
    pledges = case_pledges_of(settings, "a")
    assert (pledges.hours.name, pledges.respond_within_us, pledges.update_every_us) == (
        "uk", 4 * 3_600_000_000, 24 * 3_600_000_000,
    )  # fmt: skip
    assert case_pledges_of(settings, "gone").hours.name == "us-eastern"


def test_cases_are_drafted_unless_that_is_switched_off(loads: Loads) -> None:
    """By three seconds within an hour, or as it is written down."""
    for cases, rule in (
        ("{}", DraftRule(unavailable_seconds=3, period_s=3_600)),
        ("{draft: }", DraftRule(unavailable_seconds=3, period_s=3_600)),
        ("{draft: {unavailable: 5s, period: 24h}}", DraftRule(unavailable_seconds=5, period_s=86_400)),
        ("{draft: {enabled: false, period: 2h}}", None),
    ):
        assert loads(text_of(cases)).settings.cases.draft.rule() == rule


@pytest.mark.parametrize(
    ("cases", "sentence"),
    [
        ("{relay: {host: mail.example.com}}", "cases.sender: found none, expected the address that cases come from"),
        ("{sender: nobody}", "expected an e-mail address"),
        (
            "{sender: a@b.example, relay: {host: SMTP.provider.example.}}",
            "expected a relay that is not the provider under test (targets[0].smtp)",
        ),
        ("{sender: a@b.example, relay: {host: mail.example.com, tls: none}}", "would travel readable"),
        ("{sender: a@b.example, relay: {host: mail.example.com, user: me}}", "expected a password for the user"),
        ("{sender: a@b.example, relay: {host: mail.example.com, password: x}}", "plain text (not shown)"),
        ("{respond_within: 1s}", "respond_within"),
        ("{draft: {unavailable: 0s}}", "cases.draft.unavailable: found 0s, expected at least 1s"),
        ("{draft: {unavailable: 1h, period: 1m}}", "expected at least as much as unavailable (3600s)"),
        ("{draft: {period: 10}}", "cases.draft.period"),
        ("{draft: {enabled: 1}}", "expected true or false"),
        ("{draft: false}", "cases.draft: found false, expected a mapping"),
        ("{draft: {every: 1m}}", "expected one of enabled, unavailable, period"),
        ("{sendr: a@b.example}", 'did you mean "sender"'),
    ],
)
def test_a_relay_that_could_not_carry_a_case_is_refused(loads: Loads, cases: str, sentence: str) -> None:
    """It is found when the file is checked, not when the case is due."""
    with pytest.raises(SettingsError) as refusal:
        loads(text_of(cases))
    assert sentence in str(refusal.value)


def test_on_loopback_the_port_tells_the_relay_from_the_provider(loads: Loads) -> None:
    """A drill may have both on one host."""
    target = "{name: a, smtp: {host: localhost, port: 2525, sender: a@b.example, recipient: b@b.example}}"
    text = "targets: [{target}]\ncases: {{sender: a@b.example, relay: {{host: localhost, tls: none, port: {port}}}}}"
    assert loads(text.format(target=target, port=2526)).settings.cases.relay is not None
    with pytest.raises(SettingsError, match="not the provider under test"):
        loads(text.format(target=target, port=2525))
