"""What is wrong with a settings file, in sentences that name file, line, field and mend."""

import json
import re
from dataclasses import dataclass

from probe.settings.kinds import redact_url

FOUND_LENGTH_MAX = 60
NUMBER_SHOWN_MAX = 10**18  # beyond some length Python refuses to write a number out

Path = tuple[str | int, ...]  # a field's place, such as ("targets", 0, "smtp", "port")

# Whatever stands at or below one of these names may be a secret, so no error shows it.
_SECRET_NAMES = frozenset({"key", "password", "headers", "authorization", "body", "secret"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to mend. `line` and `column` count from 1; 0 if there is none. `sentence`, if any, says it all."""

    file: str
    line: int
    field: str = ""
    found: str = ""
    expected: str = ""
    column: int = 0
    sentence: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        place = self.file + (f":{self.line}" if self.line else "") + (f":{self.column}" if self.column else "")
        field = f"{self.field}: " if self.field else ""
        if self.sentence:
            return f"{place}: {field}{self.sentence}"
        return f"{place}: {field}found {self.found}, expected {self.expected}"


class SettingsError(Exception):
    """The settings can't be used; str() is the printable text, one problem a line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        assert problems
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class Findings:
    """What came up while one file was read: problems, warnings, and where each secret came from."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.sources: dict[str, str] = {}

    def line(self, path: Path) -> int:
        """Find the line of a field, or of the nearest thing around it that stands in the file; 0 if none does."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def refuse(self, path: Path, found: str, expected: str) -> None:
        """Note a problem with a field."""
        line = self.line(path)
        self.problems.append(Problem(file=self.file, line=line, field=field_name(path), found=found, expected=expected))

    def warn(self, path: Path, sentence: str) -> None:
        """Note something doubtful that the program can live with."""
        line = self.line(path)
        warning = Problem(file=self.file, line=line, field=field_name(path), sentence=sentence)
        self.warnings.append(str(warning))

    def stop(self) -> None:
        """Raise what was found, in the order of the file, if anything was."""
        if self.problems:
            unique = dict.fromkeys(sorted(self.problems, key=lambda problem: problem.line))
            raise SettingsError(tuple(unique))


def is_secret(path: Path) -> bool:
    """Say whether a value at this place may be a secret."""
    return any(name in _SECRET_NAMES for name in path) or path[:2] == ("ledger", "url") or _is_courier_url(path)


def _is_courier_url(path: Path) -> bool:
    return path[:1] == ("notify",) and path[2:3] == ("url",)


def field_name(path: Path) -> str:
    """Write a place the way that people read it: `targets[0].smtp.port`."""
    text = ""
    for name in path:
        if isinstance(name, int):
            text += f"[{name}]"
        elif re.fullmatch(r"[\w-]+", name):
            text += f".{name}" if text else name
        else:
            text += f"[{json.dumps(name[:FOUND_LENGTH_MAX])}]"
    return text


def describe(value: object, path: Path) -> str:
    """Say what was found without ever showing what may be a secret."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case int() if abs(value) > NUMBER_SHOWN_MAX:
            return "a very large number"
    if is_secret(path):
        return "a value (not shown)"
    if isinstance(value, str):
        text = redact_url(value)
        return json.dumps(text if len(text) <= FOUND_LENGTH_MAX else text[: FOUND_LENGTH_MAX - 3] + "...")
    return json.dumps(value) if isinstance(value, bool | int | float) else "something else"
