"""The files that an operator copies, read as the programs read them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """The folder deploy/ and what is in it."""

    path: Path

    @property
    def rule_files(self) -> list[Path]:
        """List the files of rules."""
        return sorted((self.path / "prometheus" / "rules").glob("*.yml"))

    @property
    def test_files(self) -> list[Path]:
        """List promtool's tests."""
        return sorted((self.path / "prometheus" / "tests").glob("*.yml"))

    @property
    def rules(self) -> list[dict[str, Any]]:
        """List all rules."""
        files = [yaml.safe_load(path.read_text()) for path in self.rule_files]
        return [rule for file in files for group in file["groups"] for rule in group["rules"]]

    @property
    def alerts(self) -> dict[str, dict[str, Any]]:
        """List the alerts by their names."""
        return {rule["alert"]: rule for rule in self.rules if "alert" in rule}

    @property
    def tests(self) -> list[dict[str, Any]]:
        """List promtool's tests one by one."""
        return [test for path in self.test_files for test in yaml.safe_load(path.read_text())["tests"]]

    @property
    def runbooks(self) -> Mapping[str, str]:
        """Give the runbooks by their names."""
        return {path.stem: path.read_text() for path in sorted((self.path / "runbooks").glob("*.md"))}


@pytest.fixture(scope="session")
def kit() -> Kit:
    """Give the files."""
    return Kit(path=ROOT / "deploy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """A metric that an expression asks for, and the labels that it asks by, each with the values if they are plain."""

    name: str
    labels: Mapping[str, frozenset[str]]


SELECTOR = re.compile(r"(?<![\w:])((?:\w+:)?sev1probe_\w+(?::\w+)?)\s*(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


def selected_in(expression: str) -> Iterator[Selected]:
    """List what an expression selects."""
    for name, matchers in SELECTOR.findall(expression):
        labels = {label: frozenset(values.split("|")) for label, _, values in MATCHER.findall(matchers or "")}
        yield Selected(name=name, labels=labels)


def grouped_in(expression: str) -> set[str]:
    """List the labels that an expression groups or matches by."""
    return {label.strip() for group in GROUPING.findall(expression) for label in group.split(",") if label.strip()}


@pytest.fixture(scope="session", name="selected_in")
def give_selected_in() -> Any:
    """Give the function that lists what an expression selects."""
    return selected_in


@pytest.fixture(scope="session", name="grouped_in")
def give_grouped_in() -> Any:
    """Give the function that lists the labels that an expression groups by."""
    return grouped_in
