"""The provider's profiles fill in what the provider documents, and the file wins over them."""

import json
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from probe.settings import Api, Loaded, Smtp

Loads = Callable[..., Loaded]

KEY = "hunter2-secret"


def surfaces_of(loads: Loads, target: str) -> tuple[Api, Smtp]:
    """Load one target and return both of its surfaces."""
    text = f"targets: [{{name: a, key: {{env: KEY}}, sender: probe@mail.example.com, {target}}}]"
    made = loads(text, {"KEY": KEY, "OTHER": "other"}).settings.targets[0]
    assert made.api is not None
    assert made.smtp is not None
    return made.api, made.smtp


def uncovered(secret: SecretStr | None) -> str:
    """Uncover a secret that must be there."""
    assert secret is not None
    return secret.get_secret_value()


BIRD = "/workspaces/w-1/reach/transmissions"


@pytest.mark.parametrize(
    ("target", "base_url", "path", "host", "user"),
    [
        (
            "provider: sparkpost-us",
            "https://api.sparkpost.com/api/v1",
            "/transmissions",
            "smtp.sparkpostmail.com",
            "SMTP_Injection",
        ),
        (
            "provider: sparkpost-eu",
            "https://api.eu.sparkpost.com/api/v1",
            "/transmissions",
            "smtp.eu.sparkpostmail.com",
            "SMTP_Injection",
        ),
        (
            "provider: sparkpost-enterprise, tenant: acme, binding: outbound",
            "https://acme.api.e.sparkpost.com/api/v1",
            "/transmissions",
            "acme.smtp.e.sparkpost.com",
            "acme",
        ),
        (
            "provider: bird-us, workspace: w-1",
            "https://email.us-west-2.api.bird.com",
            BIRD,
            "smtp.email.us-west-2.api.bird.com",
            "SMTP_Injection:x-bird-workspace-id=w-1",
        ),
        (
            "provider: bird-eu, workspace: w-1",
            "https://email.eu-west-1.api.bird.com",
            BIRD,
            "smtp.email.eu-west-1.api.bird.com",
            "SMTP_Injection:x-bird-workspace-id=w-1",
        ),
    ],
)
def test_a_profile_names_the_documented_hosts(
    loads: Loads, target: str, base_url: str, path: str, host: str, user: str
) -> None:
    """Hosts, port, path, TLS and user are the provider's; the message goes to the sink and is marked."""
    api, smtp = surfaces_of(loads, target)
    assert (api.base_url, api.path) == (base_url, path)
    assert (smtp.host, smtp.port, smtp.tls, smtp.user) == (host, 587, "starttls", user)
    assert smtp.sender == api.body["content"]["from"] == "probe@mail.example.com"
    assert smtp.recipient == api.body["recipients"][0]["address"] == "probe@example.com.sink.sparkpostmail.com"
    header = smtp.headers["X-MSYS-API"]
    assert isinstance(header, str)
    for marks in (api.body, json.loads(header)):
        assert marks["campaign_id"] == "sparkpost-performance-test-sev1probe"
        assert marks["metadata"]["message_id"] == "{message_id}"
        assert marks["options"] == {"open_tracking": False, "click_tracking": False, "transactional": True}


def test_one_key_serves_both_surfaces_bare_for_sparkpost(loads: Loads) -> None:
    """SparkPost takes the bare key as the header's value and as the password."""
    api, smtp = surfaces_of(loads, "provider: sparkpost-us")
    assert (uncovered(api.key), api.authorization, uncovered(smtp.password)) == (KEY, "{key}", KEY)


def test_one_key_serves_both_surfaces_with_its_scheme_for_bird(loads: Loads) -> None:
    """Bird wants AccessKey before it in both places."""
    api, smtp = surfaces_of(loads, "provider: bird-us, workspace: w-1")
    assert (uncovered(api.key), api.authorization) == (KEY, "AccessKey {key}")
    assert uncovered(smtp.password) == f"AccessKey {KEY}"


def test_enterprise_carries_the_binding_on_both_surfaces(loads: Loads) -> None:
    """Without it a message vanishes after it was accepted."""
    api, smtp = surfaces_of(loads, "provider: sparkpost-enterprise, tenant: acme, binding: outbound")
    assert smtp.headers["X-Binding"] == "outbound"
    assert api.body["metadata"]["binding"] == "outbound"


def test_what_the_file_says_wins_over_the_profile(loads: Loads) -> None:
    """Fields one by one, headers by their name in any case, the body as a whole."""
    target = (
        "provider: sparkpost-enterprise, tenant: acme, binding: outbound, "
        "api: {body: {mine: true}, timeout: 5s, key: {env: OTHER}}, "
        "smtp: {port: 2525, user: me, headers: {x-binding: other, X-More: y}}"
    )
    api, smtp = surfaces_of(loads, target)
    assert api.body == {"mine": True}
    assert (api.timeout_s, uncovered(api.key), api.base_url) == (5, "other", "https://acme.api.e.sparkpost.com/api/v1")
    assert (smtp.port, smtp.user, uncovered(smtp.password)) == (2525, "me", KEY)
    assert sorted(smtp.headers) == ["X-MSYS-API", "X-More", "x-binding"]


def test_one_surface_can_be_left_out(loads: Loads) -> None:
    """A target may watch the API alone."""
    text = "targets: [{name: a, key: {env: KEY}, sender: a@b.example, provider: sparkpost-us, surfaces: [api]}]"
    target = loads(text, {"KEY": KEY}).settings.targets[0]
    assert [str(surface) for surface in target.surfaces] == ["api"]


def test_one_key_serves_a_target_without_a_profile(loads: Loads) -> None:
    """The password is only filled in where there is a user."""
    smtp = "smtp: {host: localhost, sender: a@b.example, recipient: b@b.example, user: u}"
    text = f"targets: [{{name: a, key: {{env: KEY}}, api: {{base_url: 'https://api.example.com', body: x}}, {smtp}}}]"
    made = loads(text, {"KEY": KEY}).settings.targets[0]
    assert made.api is not None
    assert made.smtp is not None
    assert uncovered(made.api.key) == uncovered(made.smtp.password) == KEY
