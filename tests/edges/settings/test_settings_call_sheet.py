"""What a caller must be able to say, as settings."""

from collections.abc import Callable

import pytest

from probe.core.obligations import Pledges
from probe.settings import Loaded, SettingsError

Loads = Callable[..., Loaded]
SMTP = "smtp: {host: localhost, sender: a@b.example, recipient: b@b.example}"


def test_what_the_call_sheet_misses_is_warned_of(loads: Loads) -> None:
    """By the profile: the number to call, or how to reach the TAM; and what the provider asks for."""
    text = f"""
    company: {{name: Acme, contact_phone: "+49 30 1234"}}
    targets:
      - {{name: a, {SMTP}}}
      - {{name: b, {SMTP}, contract: {{profile: bird-premium-email}}}}
      - {{name: c, {SMTP}, contract: {{severity_1_line: "+1 (555) 010-0100 x12"}}}}
      - {{name: d, {SMTP}, contract: {{profile: bird-premium-email, tam: {{email: t@b.example}}}}}}
    """
    found = [warning.split(": ", 1)[1] for warning in loads(text, call_sheet=True).warnings if "control" not in warning]
    assert found == [
        "targets[0].contract.severity_1_line: there is none, so a Critical Issue can't say which number to call; "
        "it is on your order form",
        "targets[1].contract.tam: neither phone nor email, so a Critical Issue can't say how to reach "
        "the Technical Account Manager",
        "company: the provider asks for it on the phone, and it is missing: contact_name, contact_email",
    ]


def test_what_was_agreed_is_what_obligations_run_by(loads: Loads) -> None:
    """Five minutes and half an hour, unless both sides said something else."""
    agreed = "contract: {call_within: 2m, update_every: 1h, profile: bird-premium-email}"
    text = f"targets: [{{name: a, {SMTP}}}, {{name: b, {SMTP}, {agreed}}}]"
    first, second = (target.contract.pledges() for target in loads(text).settings.targets)
    assert first == Pledges()
    assert second == Pledges(has_line=False, call_within_us=120_000_000, update_every_us=3_600_000_000)


@pytest.mark.parametrize(
    ("contract", "sentence"),
    [
        ('severity_1_line: "call me"', 'expected a phone number such as "+1 555 0100", in quotes'),
        ('severity_1_line: "+1 555 0100; rm -rf"', "expected a phone number"),
        ("call_within: 1s", "call_within"),
        ("tam: {email: nobody}", "expected an e-mail address"),
        ('tam: {name: "a\\nb"}', "expected one line of at most 200 characters"),
    ],
)
def test_what_nobody_could_call_is_refused(loads: Loads, contract: str, sentence: str) -> None:
    """It is found when the file is checked, not at night."""
    with pytest.raises(SettingsError) as refusal:
        loads(f"targets: [{{name: a, {SMTP}, contract: {{{contract}}}}}]")
    assert sentence in str(refusal.value)
