"""The example loads, the schema is up to date, and both agree."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from probe.core.model import Persistence, Surface
from probe.settings import Settings, Target, effective, load, schema_text
from probe.settings.report import known_keys

CONFIG = Path(__file__).parents[3] / "config"
DOCS = Path(__file__).parents[3] / "docs" / "configuration.md"
EXAMPLE = CONFIG / "sev1probe.example.yaml"
SCHEMA = CONFIG / "sev1probe.schema.json"
WRITE_SCHEMA = """python -c 'from probe.settings import schema_text; print(schema_text(), end="")' > """
ENVIRON = dict.fromkeys(
    ("SPARKPOST_KEY", "SPARKPOST_ENTERPRISE_KEY", "BIRD_KEY", "BY_HAND_KEY", "WEBHOOK_SECRET", "APPRISE_URL"),
    "hunter2-secret",
)


def validator() -> jsonschema.Draft202012Validator:
    """Read the checked-in schema."""
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


def test_the_example_loads_without_a_warning() -> None:
    """What a user copies first is good as it stands."""
    loaded = load(EXAMPLE, ENVIRON)
    assert loaded.warnings == ()
    assert [target.name for target in loaded.settings.targets] == [
        "sparkpost-us",
        "sparkpost-enterprise",
        "bird-eu",
        "by-hand",
    ]


def test_the_values_that_the_example_gives_as_defaults_are_the_defaults(tmp_path: Path) -> None:
    """The example with every commented-out field switched on means the same."""
    lines = EXAMPLE.read_text().splitlines()[1:]  # the first is for editors
    switched = [line.replace("# ", "", 1) if _is_a_field(line) else line for line in lines]
    (tmp_path / "ca.pem").touch()
    (tmp_path / "second-key.txt").write_text("hunter2-secret")
    text = "\n".join(switched).replace("ca_file: ca.pem", "ca_file:")
    for given in ("tokens_file: tokens.json", "tls_certificate: listener.pem", "tls_key: listener.key"):
        assert given in text
        text = text.replace(given, given.partition(" ")[0])
    file = tmp_path / "all.yaml"
    file.write_text(text)
    plain = load(EXAMPLE, ENVIRON).settings
    full = load(file, ENVIRON).settings
    vantage = {"vantage": full.vantage}
    assert full.vantage == "probe-1.example.com"
    assert full.targets[0].contract == plain.targets[0].contract
    assert full.targets[0].attempts_per_second == plain.targets[0].attempts_per_second
    for one, other in zip(full.targets, plain.targets, strict=True):
        assert one.api is not None
        assert other.api is not None
        assert one.smtp is not None
        assert other.smtp is not None
        assert one.api.model_copy(update={"headers": {}}) == other.api.model_copy(update={"headers": {}})
        same = {"headers": {}, "ehlo": ""}
        assert one.smtp.model_copy(update=same) == other.smtp.model_copy(update=same)
    rest = {"targets": ()}
    assert full.model_copy(update=rest) == plain.model_copy(update=rest | vantage)


def _is_a_field(line: str) -> bool:
    word = line.strip().removeprefix("# ").split(":")[0]
    return line.strip().startswith("# ") and ":" in line and word.strip().replace("_", "").replace("-", "").isalpha()


def test_the_schema_is_up_to_date() -> None:
    """Editors see the fields that the program reads."""
    assert SCHEMA.read_text() == schema_text(), f"write it anew: {WRITE_SCHEMA}{SCHEMA}"


def test_the_schema_is_a_schema_and_takes_the_example() -> None:
    """An editor marks nothing in the example."""
    validator().check_schema(json.loads(SCHEMA.read_text()))
    validator().validate(yaml.safe_load(EXAMPLE.read_text()))


@pytest.mark.parametrize(
    "change",
    [
        {"listner": {}},
        {"targets": []},
        {"targets": [{"name": "a"}]},
        {"targets": [{"name": "a", "smtp": {"host": "localhost"}}]},
        {"targets": [{"name": "A", "provider": "bird-us", "sender": "a@example.com", "key": {"env": "K"}}]},
        {"targets": [{"name": "a", "provider": "sparkpost-us"}]},
        {"targets": [{"name": "a", "provider": "bird-us", "sender": "a@example.com", "key": "plain"}]},
        {"targets": [{"name": "a", "tenant": "t", "api": {"base_url": "https://example.com", "body": {}}}]},
        {"log": {"level": "loud"}},
        {"ledger": {"attempts_kept": "35 days"}},
    ],
)
def test_the_schema_refuses_what_the_program_refuses(change: dict[str, Any]) -> None:
    """An editor marks the common mistakes."""
    data = yaml.safe_load(EXAMPLE.read_text()) | change
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(data)


def test_terms_are_the_contract_in_the_words_of_the_rules() -> None:
    """A target's terms carry persistence, objective and surfaces."""
    settings = Settings.model_validate(
        {
            "targets": [
                {
                    "name": "a",
                    "smtp": {"host": "localhost", "sender": "a@example.com", "recipient": "b@example.com"},
                    "contract": {"persistence": {"unavailable": "5s", "window": "1m"}, "objective_percent": 99.95},
                }
            ]
        }
    )
    terms = settings.targets[0].terms()
    assert terms.profile == "sparkpost-enterprise"
    assert terms.persistence == Persistence(unavailable_seconds=5, window_seconds=60, recovery_seconds=60)
    assert terms.objective_ppm == 999_500
    assert terms.surfaces == (Surface.SMTP,)


def test_the_default_terms_are_those_of_the_contract() -> None:
    """60 of 90 seconds, 60 to recover, 99.99 per cent."""
    target: Target = load(EXAMPLE, ENVIRON).settings.targets[3]
    assert target.terms().persistence == Persistence()
    assert target.contract.objective_percent == Decimal("99.99")
    assert target.surfaces == (Surface.API, Surface.SMTP)


def test_the_effective_settings_are_the_settings() -> None:
    """What check-config prints is YAML with the same names, and loads but for its secrets."""
    loaded = load(EXAMPLE, ENVIRON)
    data = yaml.safe_load(effective(loaded.settings, loaded.sources))
    assert data["targets"][0]["api"]["timeout"] == "10s"
    assert data["targets"][0]["smtp"]["password"] == "<redacted>"
    assert data["ledger"]["attempts_kept"] == "35d"
    validator_free = {key for key in data if key not in known_keys(())}
    assert validator_free == set()


@pytest.mark.parametrize(
    "place",
    [
        (),
        ("targets",),
        ("targets", "api"),
        ("targets", "smtp"),
        ("targets", "api", "connections"),
        ("targets", "contract"),
        ("targets", "contract", "persistence"),
        ("targets", "contract", "business_hours_exceptions"),
        ("targets", "contract", "tam"),
        ("company",),
        ("cases",),
        ("cases", "relay"),
        ("controls",),
        ("status_pages",),
        ("notify",),
        ("ledger",),
        ("listener",),
        ("log",),
    ],
)
def test_every_field_is_in_the_example_and_in_the_documentation(place: tuple[str, ...]) -> None:
    """No field is a secret of the source code."""
    for key in known_keys(place):
        assert f"{key}:" in EXAMPLE.read_text()
        assert f"`{key}`" in DOCS.read_text()
