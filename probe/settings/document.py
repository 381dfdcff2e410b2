"""One YAML document read into plain data, with the line of every field, within limits.

Nodes are turned into data here and not by PyYAML, because only the nodes know their lines, PyYAML lets the last of two
equal keys win, and a few aliases can unfold into more values than any memory holds.
"""

import re
from pathlib import Path as File
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from probe.settings.problem import Findings, Path, Problem, SettingsError, field_name

YAML_BYTES_MAX = 2 * 1024 * 1024
NESTING_MAX = 40
VALUES_MAX = 100_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same nodes, ten times as fast, where libyaml is there
_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "value"))


def read_document(file: File, findings: Findings) -> dict[str, Any]:
    """Read the file's one mapping and note the lines; raises SettingsError if there is none to read."""
    text = _read_text(file)
    node = _compose(text, str(file))
    if node is None:
        raise _refusal(str(file), "the file is empty; write at least one target under targets:")
    if not isinstance(node, yaml.MappingNode):
        raise _refusal(str(file), "this is not a mapping; write settings as key: value, such as targets:", line=1)
    data: dict[str, Any] = _Unfolding(findings).value(node, (), 0)
    return data


def _refusal(file: str, sentence: str, *, line: int = 0, column: int = 0) -> SettingsError:
    return SettingsError((Problem(file=file, line=line, column=column, sentence=sentence),))


def _read_text(file: File) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(YAML_BYTES_MAX + 1)
    except FileNotFoundError:
        raise _refusal(str(file), "there is no such file; give the path of the settings file") from None
    except IsADirectoryError:
        raise _refusal(str(file), "this is a folder; give the path of the settings file in it") from None
    except OSError as error:
        raise _refusal(str(file), f"the file can't be read ({error.strerror}); let this user read it") from None
    if len(raw) > YAML_BYTES_MAX:
        raise _refusal(str(file), f"the file is larger than {YAML_BYTES_MAX} bytes; this is not a settings file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _refusal(str(file), "the file is not UTF-8 text; save it as UTF-8", line=line) from None


def _compose(text: str, file: str) -> yaml.Node | None:
    try:
        _check_size(text, file, _LOADER)
        node: yaml.Node | None = yaml.compose(text, _LOADER)
    except yaml.YAMLError:
        # The pure loader is asked again, because its words and columns are the same on every machine.
        node = _compose_slowly(text, file)
    return node


def _compose_slowly(text: str, file: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise _refusal(file, f"this is not YAML: {_harmless(error)}", line=line, column=column) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        raise _refusal(file, "this is not YAML: a control character", line=line, column=column) from None


def _harmless(error: yaml.MarkedYAMLError) -> str:
    """Take the words that the file's author wrote out of PyYAML's message: they may be part of a secret."""
    problem = error.problem or "the text ends or turns where it should not"
    if problem.startswith("but found another document"):
        return "a second document begins here; keep one"
    rest = re.sub(r"'(<[^']*>|[^'\w]{1,3}|\\\w|.)'", "", problem)
    return re.sub(r"['\"].*['\"]", "(not shown)", problem, flags=re.DOTALL) if re.search("['\"]", rest) else problem


def _check_size(text: str, file: str, loader: Any) -> None:
    """Walk the events first: unlike composing, this does not recurse."""
    depth = 0
    for values, event in enumerate(yaml.parse(text, loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        line = event.start_mark.line + 1 if event.start_mark else 0
        if depth > NESTING_MAX:
            raise _refusal(file, f"the values are nested more than {NESTING_MAX} deep", line=line)
        if values > 2 * VALUES_MAX:
            raise _refusal(file, f"the file holds more than {VALUES_MAX} values", line=line)


class _Unfolding:
    """Turns nodes into plain data; aliases are copied, so the copies are counted."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._scalars = SafeConstructor()
        self._count = 0

    def value(self, node: yaml.Node, path: Path, depth: int) -> Any:
        self._count += 1
        line = node.start_mark.line + 1
        self._findings.lines.setdefault(path, line)
        if self._count > VALUES_MAX:
            sentence = f"the aliases unfold into more than {VALUES_MAX} values; write less with them"
            raise _refusal(self._findings.file, sentence, line=line)
        if depth > NESTING_MAX:
            sentence = f"the aliases nest values more than {NESTING_MAX} deep; is one inside of itself?"
            raise _refusal(self._findings.file, sentence, line=line)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item, (*path, place), depth + 1) for place, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            return self._scalar(node)
        self._refuse(path, line, "a YAML tag (a word after !)", "plain values; put text that begins with ! in quotes")
        return None

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind not in ("int", "float", "bool", "null") or ":" in node.value:
            return node.value  # dates, and what YAML 1.1 takes for numbers to the base of 60, are text here
        try:
            return self._scalars.construct_object(node)
        except (ValueError, KeyError, yaml.YAMLError):
            return node.value

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: list[tuple[yaml.Node, int]] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _TAG + "merge":
                merged.append((value_node, line))
            elif not isinstance(key_node, yaml.ScalarNode):
                self._refuse(path, line, "a key that is a list or a mapping", "keys that are plain words")
            elif key_node.value in data:
                first = self._findings.lines[(*path, key_node.value)]
                self._refuse((*path, key_node.value), line, f"the same key as in line {first}", "each key once")
            else:
                self._findings.lines[(*path, key_node.value)] = line
                data[key_node.value] = self.value(value_node, (*path, key_node.value), depth + 1)
        for value_node, line in merged:
            self._merge(data, value_node, path, line, depth)
        return data

    def _merge(self, data: dict[str, Any], node: yaml.Node, path: Path, line: int, depth: int) -> None:
        """Fold `<<: *anchor` in; what the mapping says itself wins, then the earlier of several."""
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                self._refuse(path, line, "<< with something else", "<< with an alias of a mapping")
                continue
            known = dict(self._findings.lines)
            other = self._mapping(part, path, depth + 1)
            self._findings.lines.update(known)
            for key, item in other.items():
                data.setdefault(key, item)

    def _refuse(self, path: Path, line: int, found: str, expected: str) -> None:
        problem = Problem(file=self._findings.file, line=line, field=field_name(path), found=found, expected=expected)
        self._findings.problems.append(problem)
