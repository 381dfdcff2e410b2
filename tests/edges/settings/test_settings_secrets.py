"""Secrets are read from where the file says, and are shown nowhere."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from probe.settings import Ledger, Loaded, SettingsError, Smtp, effective, load

Loads = Callable[..., Loaded]

SECRET = "hunter2-secret"
ONE_KEY = """
    targets:
      - name: a
        api: {{base_url: "https://api.example.com", body: {{}}, key: {key}}}
    controls:
      - {{name: c, kind: tcp, address: "localhost:80"}}
      - {{name: d, kind: tcp, address: "192.0.2.1:81"}}
"""


def key_of(loaded: Loaded) -> str:
    """Uncover the API key of the first target."""
    api = loaded.settings.targets[0].api
    assert api is not None
    assert api.key is not None
    return api.key.get_secret_value()


def test_a_file_is_read_beside_the_settings_and_loses_its_last_line_break(loads: Loads, tmp_path: Path) -> None:
    """A relative path starts at the settings file's folder."""
    (tmp_path / "key.txt").write_text(f"{SECRET}\n")
    (tmp_path / "key.txt").chmod(0o600)
    loaded = loads(ONE_KEY.format(key="{file: key.txt}"))
    assert key_of(loaded) == SECRET
    assert loaded.sources == {"targets[0].api.key": f"file {tmp_path}/key.txt"}
    assert loaded.warnings == ()


def test_a_file_that_everybody_can_read_is_warned_of(loads: Loads, tmp_path: Path) -> None:
    """The warning names the file and the mend."""
    (tmp_path / "key.txt").write_text(SECRET)
    (tmp_path / "key.txt").chmod(0o644)
    (warning,) = loads(ONE_KEY.format(key="{file: key.txt}")).warnings
    assert warning == (
        f"{tmp_path}/settings.yaml:4: targets[0].api.key.file: "
        f'every user can read "{tmp_path}/key.txt"; run chmod o= on it'
    )


def test_an_environment_variable_is_read(loads: Loads) -> None:
    """The environment given is the one that counts."""
    loaded = loads(ONE_KEY.format(key="{env: KEY}"), {"KEY": SECRET})
    assert key_of(loaded) == SECRET
    assert loaded.sources == {"targets[0].api.key": "environment variable KEY"}


def test_a_credential_is_read_from_systemds_folder(loads: Loads, tmp_path: Path) -> None:
    """LoadCredential puts it there."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "sparkpost").write_text(f"{SECRET}\r\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert key_of(loads(ONE_KEY.format(key="{credential: sparkpost}"), environ)) == SECRET


def test_a_credential_of_the_folder_that_the_unit_loads_has_the_name_of_its_file(loads: Loads, tmp_path: Path) -> None:
    """LoadCredential=sev1probe:FOLDER calls it sev1probe_FILE, and the settings need not."""
    (tmp_path / "sev1probe_sparkpost").write_text(SECRET)
    settings = ONE_KEY.format(key="{credential: sparkpost}")
    assert key_of(loads(settings, {"CREDENTIALS_DIRECTORY": str(tmp_path)})) == SECRET


def test_without_systemd_a_credential_is_read_from_the_folder_beside_the_settings(loads: Loads, tmp_path: Path) -> None:
    """So `check-config` and the commands for Critical Issues work for root with the service's own settings."""
    (tmp_path / "credentials").mkdir()
    settings = ONE_KEY.format(key="{credential: sparkpost}")
    with pytest.raises(SettingsError, match=r"no file \".*/credentials/sparkpost\""):
        loads(settings, {})
    (tmp_path / "credentials" / "sparkpost").write_text(SECRET)
    assert key_of(loads(settings, {})) == SECRET
    with pytest.raises(SettingsError, match="expected LoadCredential=sparkpost:PATH in the systemd unit"):
        loads(settings, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_credential_that_systemd_did_not_load_is_refused(loads: Loads, tmp_path: Path) -> None:
    """The mend is a line of the unit."""
    with pytest.raises(SettingsError, match="expected LoadCredential=sparkpost:PATH in the systemd unit"):
        loads(ONE_KEY.format(key="{credential: sparkpost}"), {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_literal_secret_is_taken_with_a_warning(loads: Loads, tmp_path: Path) -> None:
    """For trying out only, and check-config says so."""
    loaded = loads(ONE_KEY.format(key=f"{{literal: {SECRET}}}"))
    assert key_of(loaded) == SECRET
    assert loaded.warnings == (
        f"{tmp_path}/settings.yaml:4: targets[0].api.key.literal: "
        "the secret stands in the settings file; read it from a file, env or credential",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "found an empty secret, expected a secret in file"),
        (b" \n", "found an empty secret, expected a secret in file"),
        (b"\xff\xfe", "found bytes that are not UTF-8 in"),
        (b"x" * 20_000, "found more than 16384 bytes in"),
    ],
)
def test_a_file_without_a_good_secret_is_refused(loads: Loads, tmp_path: Path, content: bytes, said: str) -> None:
    """The sentence names the file and never shows what is in it."""
    (tmp_path / "key.txt").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        loads(ONE_KEY.format(key="{file: key.txt}"))
    assert said in str(caught.value)
    assert "key.txt" in str(caught.value)


def test_secrets_are_shown_nowhere(loads: Loads) -> None:
    """Keys, passwords, headers and a database login are blotted out of every way to write the settings."""
    text = """
        targets:
          - name: a
            key: {env: KEY}
            provider: bird-us
            workspace: w
            sender: a@example.com
            api: {headers: {X-Key: {env: KEY}}}
          - name: b
            smtp:
              {host: localhost, user: u, password: {literal: hunter2-secret}, sender: a@example.com,
               recipient: b@example.com, headers: {X-Key: {env: KEY}}}
        ledger: {url: "postgresql+psycopg://joe:hunter2-secret@db.example.com/sev1probe"}
    """
    loaded = loads(text, {"KEY": SECRET})
    settings = loaded.settings
    shown = [
        repr(loaded),
        str(loaded),
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
        str(settings.model_dump(mode="json", by_alias=True)),
        json.dumps(loaded.sources),
        effective(settings),
        effective(settings, loaded.sources),
        str(loaded.warnings),
        *(repr(target) for target in settings.targets),
    ]
    for way in shown:
        assert SECRET not in way
    assert settings.ledger.url == "postgresql+psycopg://joe:hunter2-secret@db.example.com/sev1probe"
    header = settings.targets[0].api.headers["X-Key"] if settings.targets[0].api else ""
    assert isinstance(header, SecretStr)
    assert header.get_secret_value() == SECRET


def test_the_effective_settings_say_where_each_secret_came_from(loads: Loads) -> None:
    """An operator sees which key is in force without seeing it."""
    loaded = loads(ONE_KEY.format(key="{env: KEY}"), {"KEY": SECRET})
    assert "    key: <redacted>  # from environment variable KEY\n" in effective(loaded.settings, loaded.sources)
    assert "    key: <redacted>\n" in effective(loaded.settings)


def test_the_ledgers_url_may_be_a_secret(loads: Loads) -> None:
    """A database password need not stand in the file."""
    text = ONE_KEY.format(key="{env: KEY}") + "    ledger: {url: {env: URL}}\n"
    loaded = loads(text, {"KEY": SECRET, "URL": f"postgresql://joe:{SECRET}@db/x"})
    assert loaded.settings.ledger.url == f"postgresql://joe:{SECRET}@db/x"
    assert yaml.safe_load(effective(loaded.settings, loaded.sources))["ledger"]["url"] == "<redacted>"


def test_a_login_in_the_ledgers_url_is_warned_of(loads: Loads, tmp_path: Path) -> None:
    """The warning does not repeat it."""
    text = ONE_KEY.format(key="{env: KEY}") + f"    ledger: {{url: 'postgresql://joe:{SECRET}@db/x'}}\n"
    (warning,) = loads(text, {"KEY": SECRET}).warnings
    assert warning.endswith("ledger.url: a login may stand in this URL; read it from {file: PATH} instead")
    assert SECRET not in repr(Ledger(url=f"postgresql://joe:{SECRET}@db/x"))


def test_parts_built_in_code_show_no_secret_in_their_errors() -> None:
    """Pydantic's own message is without the input."""
    with pytest.raises(ValidationError) as caught:
        Smtp(host="localhost", sender="a@b.example", recipient="b@b.example", password=SecretStr(SECRET))
    assert SECRET not in str(caught.value)


def test_settings_stay_whole_when_copied(loads: Loads) -> None:
    """A copy through pickle is equal, secrets included."""
    settings = loads(ONE_KEY.format(key="{env: KEY}"), {"KEY": SECRET}).settings
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes


WRONG_SHAPES = st.recursive(
    st.just(SECRET),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2)
        | st.dictionaries(st.sampled_from(["file ", "env", "value", SECRET]), inner, min_size=1, max_size=2)
    ),
    max_leaves=4,
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(shape=WRONG_SHAPES, field=st.sampled_from(["key", "api", "smtp"]))
def test_a_secret_in_the_wrong_shape_is_refused_without_being_shown(
    shape: object, field: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However a secret is written wrongly, the error keeps it."""
    api = {"base_url": "https://api.example.com", "body": {}, "key": shape if field == "api" else {"env": "KEY"}}
    password = shape if field == "smtp" else {"env": "KEY"}
    smtp = {"host": "localhost", "sender": "a@b.example", "recipient": "b@b.example", "user": "u", "password": password}
    target = {"name": "a", "api": api, "smtp": smtp} | ({"key": shape} if field == "key" else {})
    path = tmp_path_factory.getbasetemp() / "shape.yaml"
    path.write_text(yaml.safe_dump({"targets": [target]}))
    with pytest.raises(SettingsError) as caught:
        load(path, {"KEY": "good"})
    assert SECRET not in str(caught.value)
