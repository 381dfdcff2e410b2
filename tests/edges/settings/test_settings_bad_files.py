"""Every bad file has its exact message, standing beside it: bad-NAME.yaml and bad-NAME.txt."""

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.settings import SettingsError, load
from probe.settings import document as document_module

DATA = Path(__file__).parents[2] / "data" / "settings"
BAD_FILES = sorted(DATA.glob("bad-*.yaml"))
ENVIRON = {"GOOD": "hunter2-secret", "EMPTY": "\n", "TWO_LINES": "hunter2-secret\nx"}


def complaint(path: Path) -> str:
    """Load a file that must not load, and return the text of the error."""
    with pytest.raises(SettingsError) as caught:
        load(path, ENVIRON)
    return str(caught.value)


def test_there_are_bad_files() -> None:
    """The table below is not empty by mistake."""
    assert len(BAD_FILES) >= 25


@pytest.mark.parametrize("path", BAD_FILES, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_exactly_its_messages(path: Path) -> None:
    """Each problem is one line with file, line, field, what was found and what is expected; no secret among them."""
    said = complaint(path)
    assert said.replace(f"{DATA}{os.sep}", "") + "\n" == path.with_suffix(".txt").read_text()
    assert "hunter2" not in said


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    """A wrong path is said to be one."""
    path = tmp_path / "none.yaml"
    assert complaint(path) == f"{path}: there is no such file; give the path of the settings file"


def test_a_folder_is_one_sentence(tmp_path: Path) -> None:
    """A folder in the place of a file is said to be one."""
    assert complaint(tmp_path) == f"{tmp_path}: this is a folder; give the path of the settings file in it"


def test_an_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
    """Whatever the system says against reading is passed on."""
    (tmp_path / "plain").touch()
    path = tmp_path / "plain" / "settings.yaml"
    assert complaint(path) == f"{path}: the file can't be read (Not a directory); let this user read it"


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    """The size has a limit."""
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * (document_module.YAML_BYTES_MAX + 1))
    assert complaint(path) == f"{path}: the file is larger than 2097152 bytes; this is not a settings file"


def test_problems_can_be_read_by_a_program_too() -> None:
    """Each problem keeps its parts."""
    with pytest.raises(SettingsError) as caught:
        load(DATA / "bad-duplicate-keys.yaml", ENVIRON)
    first = caught.value.problems[0]
    assert (first.line, first.field, first.expected) == (7, "targets[0].smtp.host", "each key once")


@pytest.mark.parametrize("path", BAD_FILES, ids=lambda path: path.stem)
def test_the_messages_do_not_depend_on_libyaml(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the pure Python parser only gives the same messages."""
    monkeypatch.setattr(document_module, "_LOADER", yaml.SafeLoader)
    assert complaint(path).replace(f"{DATA}{os.sep}", "") + "\n" == path.with_suffix(".txt").read_text()


PIECES = st.sampled_from(
    [
        *("targets:", "\n", "  ", "- ", "name: a", "key: ", "smtp: ", "{", "}", "[", "]", ", ", "&a ", "*a", "!t "),
        *("password: ", "env: ", "literal: ", "0x" + "f" * 5000, "9" * 5000, ".inf", ".nan", "1:2", '"', "'", "%"),
        *("provider: bird-us", "port: ", "timeout: ", "body: ", "headers: ", "---\n", "null", "2026-01-01", "<<: "),
        *("\t", "\0", "\x85"),
    ]
)


def loads_or_is_refused(path: Path) -> bool:
    """Load a file; True if it was refused in sentences. Whatever else is raised fails the test."""
    try:
        load(path, {"GOOD": "good"})
    except SettingsError as error:
        return all(problem.sentence or problem.expected for problem in error.problems)
    return False


@settings(max_examples=50, deadline=None)
@given(text=st.lists(PIECES, max_size=30).map("".join))
def test_no_text_makes_load_fail_in_any_other_way(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is written, the user gets sentences and never a traceback; none of these texts is a good file."""
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_text(text, newline="")
    assert loads_or_is_refused(path)


GOOD = """
vantage: v
targets:
  - name: a
    provider: sparkpost-enterprise
    tenant: t
    binding: b
    surfaces: [api, smtp]
    key: {env: GOOD}
    sender: a@b.example
    recipient: b@b.example
    contract: {profile: sparkpost-enterprise, persistence: {unavailable: 1s}, objective_percent: 99.9}
  - name: b
    api: {base_url: "https://api.example.com", path: /x, key: {env: GOOD}, headers: {a: b}, body: {}}
    smtp: {host: h, port: 25, user: u, password: {env: GOOD}, sender: a@b.example, recipient: a@b.example, timeout: 1s}
controls: [{name: c, kind: tcp, address: "localhost:80", timeout: 1s}, {name: d, kind: http, url: "http://localhost"}]
ledger: {url: x, attempts_kept: 1d}
listener: {port: 1}
log: {level: info}
"""
JUNK: st.SearchStrategy[object] = st.sampled_from(
    [
        *(None, True, 0, -1, 16**5000, 1.5, float("inf"), float("nan"), "", "x", "{key}", "{a}", "\x7f", "é", "10s"),
        *([], [[]], [None], {}, {"env": "GOOD"}, {"env": None}, {"a": {"b": 1}}),
        *("http://[", "https://a:b", "a@b@c", "1" * 5000),
    ]
)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), junk=JUNK)
def test_no_value_in_any_place_makes_load_fail_in_any_other_way(
    data: st.DataObject, junk: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One good file with one value changed loads, or is refused in sentences."""
    document = yaml.safe_load(GOOD)
    place, key = document, data.draw(st.sampled_from(sorted(document)))
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = junk
    path = tmp_path_factory.getbasetemp() / "changed.yaml"
    path.write_text(yaml.dump(document, Dumper=Dumper))
    loads_or_is_refused(path)


class Dumper(yaml.SafeDumper):
    """Writes whole numbers in hexadecimal, because Python refuses to write very large ones in decimal."""


Dumper.add_representer(int, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:int", hex(value)))


def test_the_good_file_of_the_test_above_is_good(tmp_path: Path) -> None:
    """Otherwise that test would only ever see refusals."""
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    assert not loads_or_is_refused(path)
