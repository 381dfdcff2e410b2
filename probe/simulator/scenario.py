"""The scenario: which fault strikes which surface from when to when, read strictly from YAML."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from probe.core.model import Phase, Surface
from probe.settings.duration import format_duration, parse_duration
from probe.settings.problem import Problem, SettingsError
from probe.simulator.faults import (
    BODY_BYTES_MAX,
    DURATION_S_MAX,
    GARBAGE_BYTES_MAX,
    REPLY_CHARACTERS_MAX,
    RULES,
    FaultKind,
    Rule,
    SimulatedFault,
    TlsAlert,
    is_smtp_reply,
    resolve,
)
from probe.simulator.page import NOTICES_MAX, TEXT_CHARACTERS_MAX, Impact, Notice

FILE_BYTES_MAX = 1024 * 1024
WINDOWS_MAX = 10_000
SEED_MAX = 2**63 - 1
_FOUND_CHARACTERS_MAX = 60


class ScenarioError(SettingsError):
    """The scenario can't be used; str() is the printable text, one problem a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One fault from `at_s` seconds after the start, for `for_s` seconds; None lasts until the end."""

    at_s: float
    for_s: float | None
    fault: SimulatedFault


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeWindow:
    """One notice on the status page from `at_s` seconds after the start, for `for_s` seconds; None is to the end."""

    at_s: float
    for_s: float | None
    notice: Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What goes wrong and when; the windows of a surface are in order and never overlap."""

    seed: int = 1
    api: tuple[Window, ...] = ()
    smtp: tuple[Window, ...] = ()
    page: tuple[NoticeWindow, ...] = ()

    def windows_of(self, surface: Surface) -> tuple[Window, ...]:
        """Return one surface's windows."""
        return self.api if surface is Surface.API else self.smtp


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file; ScenarioError with every problem, each with file, line, field, found and expected."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        sentence = f"can't be read: {error.strerror or error}"
        raise ScenarioError((Problem(file=str(path), line=0, sentence=sentence),)) from error
    return parse_scenario(data, str(path))


def parse_scenario(data: bytes | str, file: str = "scenario") -> Scenario:
    """Read a scenario's text; raises as `load_scenario` does."""
    if len(data) > FILE_BYTES_MAX:
        raise ScenarioError((Problem(file=file, line=0, sentence=f"is larger than {FILE_BYTES_MAX} bytes"),))
    reader = _Reader(file)
    try:
        loader = yaml.SafeLoader(data)
        node = loader.get_single_node()
        scenario = Scenario() if node is None else reader.read(loader, node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
        sentence = f"is not YAML: {getattr(error, 'problem', None) or 'unreadable characters'}"
        raise ScenarioError((Problem(file=file, line=line, column=column, sentence=sentence),)) from error
    except RecursionError as error:
        raise ScenarioError((Problem(file=file, line=0, sentence="is nested too deeply"),)) from error
    if reader.problems:
        raise ScenarioError(tuple(sorted(reader.problems, key=lambda problem: problem.line)))
    return scenario


_Fields = dict[str, tuple[yaml.Node, yaml.Node]]
_Value = TypeVar("_Value")
_Enum = TypeVar("_Enum", bound=StrEnum)


class _Reader:
    """Walks the YAML nodes, which know their lines, and notes everything that is wrong."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._loader: yaml.SafeLoader

    def read(self, loader: yaml.SafeLoader, node: yaml.Node) -> Scenario:
        self._loader = loader
        fields = self._fields(node, "", ("seed", *Surface, "page"))
        seed = 1
        if "seed" in fields:
            seed = self._integer(fields["seed"][1], "seed", 0, SEED_MAX) or 0
        windows = {surface: self._windows(fields, surface) for surface in Surface}
        page = self._notices(fields["page"][1]) if "page" in fields else ()
        return Scenario(seed=seed, api=windows[Surface.API], smtp=windows[Surface.SMTP], page=page)

    # Problems.

    def _note(self, node: yaml.Node, field: str, found: str, expected: str) -> None:
        shown = found if len(found) <= _FOUND_CHARACTERS_MAX else found[: _FOUND_CHARACTERS_MAX - 3] + "..."
        line = node.start_mark.line + 1
        self.problems.append(Problem(file=self.file, line=line, field=field, found=shown, expected=expected))

    def _found(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.MappingNode):
            return "a mapping"
        if isinstance(node, yaml.SequenceNode):
            return "a list"
        return repr(node.value) if node.tag != "tag:yaml.org,2002:null" else "nothing"

    def _value(self, node: yaml.Node) -> Any:
        return self._loader.construct_object(node, deep=True)

    # Structure.

    def _fields(self, node: yaml.Node, place: str, known: tuple[str, ...]) -> _Fields:
        if not isinstance(node, yaml.MappingNode):
            self._note(node, place or "scenario", self._found(node), f"a mapping with {', '.join(known)}")
            return {}
        fields: _Fields = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else self._found(key)
            full = f"{place}.{name}" if place else name
            if name in fields:
                self._note(key, full, "the same key again", "each key once")
            elif name not in known:
                self._note(key, full, "an unknown key", f"one of {', '.join(known)}")
            else:
                fields[name] = (key, value)
        return fields

    def _windows(self, fields: _Fields, surface: Surface) -> tuple[Window, ...]:
        if surface not in fields:
            return ()
        node = fields[surface][1]
        if not isinstance(node, yaml.SequenceNode) or len(node.value) > WINDOWS_MAX:
            self._note(node, surface, self._found(node), f"a list of at most {WINDOWS_MAX} windows")
            return ()
        windows: list[Window] = []
        for index, item in enumerate(node.value):
            place = f"{surface}[{index}]"
            window = self._window(item, place, surface)
            if window is None:
                continue
            if windows and window.at_s < _end_s(windows[-1]):
                before = windows[-1]
                end = "never" if before.for_s is None else f"at {format_duration(_end_s(before))}"
                self._note(
                    item,
                    f"{place}.at",
                    format_duration(window.at_s),
                    f"a start after the window before it, which ends {end}",
                )
            windows.append(window)
        return tuple(windows)

    def _notices(self, node: yaml.Node) -> tuple[NoticeWindow, ...]:
        if not isinstance(node, yaml.SequenceNode) or len(node.value) > NOTICES_MAX:
            self._note(node, "page", self._found(node), f"a list of at most {NOTICES_MAX} notices")
            return ()
        notices = [self._notice(item, f"page[{index}]") for index, item in enumerate(node.value)]
        return tuple(notice for notice in notices if notice is not None)

    def _notice(self, node: yaml.Node, place: str) -> NoticeWindow | None:
        before = len(self.problems)
        fields = {name: pair[1] for name, pair in self._fields(node, place, _NOTICE_KEYS).items()}
        if "at" not in fields:
            self._note(node, f"{place}.at", "nothing", "a value: every notice needs it")
        texts = [name for name in ("incident", "maintenance") if name in fields]
        if len(texts) != 1:
            self._note(node, place, " and ".join(texts) or "neither", "either incident or maintenance")
        if len(self.problems) > before:
            return None
        (kind,) = texts
        at_s = self._duration(fields["at"], f"{place}.at", least_s=0.0)
        for_s = self._duration(fields["for"], f"{place}.for", least_s=0.001) if "for" in fields else None
        text = self._checked(fields[kind], f"{place}.{kind}", _is_notice, "text of one line, at most 500 characters")
        impact = None
        if "impact" in fields:
            impact = self._one_of(fields["impact"], f"{place}.impact", tuple(Impact), Impact)
        if len(self.problems) > before:
            return None
        notice = Notice(text=text, impact=impact or Impact.MAJOR, is_maintenance=kind == "maintenance")
        return NoticeWindow(at_s=at_s, for_s=for_s, notice=notice)

    def _window(self, node: yaml.Node, place: str, surface: Surface) -> Window | None:
        kind = self._kind(node, place, surface)
        if kind is None:
            return None
        rule = RULES[surface][kind]
        before = len(self.problems)
        fields = self._fields(node, place, ("at", "for", "do", *rule.parameters))
        for name in ("at", *rule.required):
            if name not in fields:
                self._note(node, f"{place}.{name}", "nothing", f"a value: {kind} needs it")
        values = {name: self._parameter(name, pair[1], f"{place}.{name}", rule) for name, pair in fields.items()}
        if len(self.problems) > before:
            return None
        at_s, for_s = values.pop("at"), values.pop("for", None)
        values.pop("do")
        arguments = {_ATTRIBUTES.get(name, name): value for name, value in values.items()}
        return Window(at_s=at_s, for_s=for_s, fault=resolve(surface, SimulatedFault(kind=kind, **arguments)))

    def _kind(self, node: yaml.Node, place: str, surface: Surface) -> FaultKind | None:
        """Read `do` first, since it decides which other keys there can be."""
        kinds = RULES[surface]
        if not isinstance(node, yaml.MappingNode):
            self._note(node, place, self._found(node), "a mapping with at, for, do and what the fault needs")
            return None
        for key, value in node.value:
            if key.value == "do":
                if isinstance(value, yaml.ScalarNode) and value.value in kinds:
                    return FaultKind(value.value)
                self._note(value, f"{place}.do", self._found(value), f"one of {', '.join(kinds)}")
                return None
        self._note(node, f"{place}.do", "nothing", f"one of {', '.join(kinds)}")
        return None

    # Values.

    def _parameter(self, name: str, node: yaml.Node, field: str, rule: Rule) -> Any:
        match name:
            case "at" | "for" | "by" | "after":
                return self._duration(node, field, least_s=0.0 if name == "at" else 0.001)
            case "phase":
                return self._one_of(node, field, rule.phases, Phase)
            case "alert":
                return self._one_of(node, field, tuple(TlsAlert), TlsAlert)
            case "size":
                return self._integer(node, field, 1, GARBAGE_BYTES_MAX)
            case "status":
                return self._integer(node, field, 200, 599)
            case "headers":
                return self._headers(node, field)
            case "body":
                return self._body(node, field)
            case _:
                return self._checked(node, field, *_CHECKS[name])

    def _checked(self, node: yaml.Node, field: str, check: Callable[[Any], bool], expected: str) -> Any:
        value = self._value(node) if isinstance(node, yaml.ScalarNode) else None
        if not check(value):
            self._note(node, field, self._found(node), expected)
        return value

    def _integer(self, node: yaml.Node, field: str, least: int, most: int) -> int | None:
        value: int | None = self._checked(
            node,
            field,
            lambda value: type(value) is int and least <= value <= most,
            f"a whole number from {least} to {most}",
        )
        return value

    def _duration(self, node: yaml.Node, field: str, *, least_s: float) -> float:
        expected = "a duration such as 250ms, 12s or 1m30s" + (", above 0" if least_s else "")
        try:
            duration_s = parse_duration(node.value) if isinstance(node, yaml.ScalarNode) else -1.0
        except ValueError:
            duration_s = -1.0
        if not least_s <= duration_s <= DURATION_S_MAX:
            self._note(node, field, self._found(node), expected + " and at most 366d" * (duration_s > DURATION_S_MAX))
        return duration_s

    def _one_of(self, node: yaml.Node, field: str, members: tuple[_Enum, ...], kind: type[_Enum]) -> _Enum | None:
        if isinstance(node, yaml.ScalarNode) and node.value in members:
            return kind(node.value)
        self._note(node, field, self._found(node), f"one of {', '.join(members)}")
        return None

    def _headers(self, node: yaml.Node, field: str) -> tuple[tuple[str, str], ...]:
        value = self._value(node)
        if isinstance(value, dict) and all(_is_line(part) for pair in value.items() for part in pair):
            return tuple(value.items())
        self._note(node, field, self._found(node), "a mapping of header names to texts of one line (quote numbers)")
        return ()

    def _body(self, node: yaml.Node, field: str) -> bytes:
        """Take text as it is, and anything else as JSON."""
        value = self._value(node)
        try:
            body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        except (TypeError, ValueError):
            self._note(node, field, self._found(node), "text, or what JSON can hold")
            return b""
        if len(body) > BODY_BYTES_MAX:
            self._note(node, field, f"{len(body)} bytes", f"at most {BODY_BYTES_MAX} bytes")
        return body


_NOTICE_KEYS = ("at", "for", "incident", "maintenance", "impact")
_ATTRIBUTES = {"by": "by_s", "after": "after_s"}


def _end_s(window: Window) -> float:
    return float("inf") if window.for_s is None else window.at_s + window.for_s


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_notice(value: object) -> bool:
    return _is_line(value) and 0 < len(str(value)) <= TEXT_CHARACTERS_MAX


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


def _is_reply(value: object) -> bool:
    return isinstance(value, str) and len(value) <= REPLY_CHARACTERS_MAX and is_smtp_reply(value.rstrip("\n"))


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "do": (lambda _: True, ""),
    "fraction": (_is_fraction, "a number above 0 and at most 1"),
    "taken": (lambda value: isinstance(value, bool), "true or false"),
    "content_type": (_is_line, "text of one line"),
    "reply": (_is_reply, "an SMTP reply such as '451 4.3.0 transaction failed' (quoted)"),
}
