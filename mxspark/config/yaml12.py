"""YAML as a job file means it: the core schema of YAML 1.2, keys as they are written, and nothing said twice.

PyYAML reads YAML 1.1, where ``no`` is false, ``010`` is eight, ``1:30`` is ninety, ``1e-3`` is a text, and the second
of two equal keys wins. Only its parser is used here; what a scalar means is decided below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_PREFIXED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LONGEST = 400  # digits of a number; Python refuses to read some thousand
_MERGE = "<<"
_PLAIN = "plain"
_TEXT = "tag:yaml.org,2002:str"
_TAGS = (_PLAIN, _TEXT, "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")


class NotAJobFile(ValueError):
    """A text that is not YAML, or says a thing twice; `problems` has a line for each.

    Attributes
    ----------
    value : any
        What could be read all the same, to look for what else is wrong; None where nothing could.
    """

    def __init__(self, problems: list[str], value: Any = None) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.value = value


class WrittenInt(int):
    """A whole number whose `text` is not what Python writes: ``010`` is ten, as a column's name it is ``010``."""

    text: str


class WrittenFloat(float):
    """A number whose `text` is not what Python writes: ``1.10`` is 1.1, as a name it is ``1.10``."""

    text: str


def written(value: Any) -> Any:
    """Return the text of a number as it stands in the file, or as Python writes it; all else as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return value.text if isinstance(value, (WrittenInt, WrittenFloat)) else str(value)


def plain(value: Any) -> Any:
    """Return a value of a job file without how its numbers were written."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, WrittenInt) else float(value) if isinstance(value, WrittenFloat) else value


def read(path: Path) -> Any:
    """Return the value of a file.

    Raises
    ------
    NotAJobFile
        It is not UTF-8, or not YAML.
    OSError
        It cannot be read.
    """
    return load(_decoded(path.read_bytes()))


def load(text: str) -> Any:
    """Return the value of a YAML text.

    Raises
    ------
    NotAJobFile
        It is not YAML, holds several documents or tags of another program, or says a key twice.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise NotAJobFile([_told(error)]) from error
    except RecursionError as error:
        raise NotAJobFile(["it is nested too deeply; write it flatter"]) from error
    if root is None:
        return None
    build = _Build()
    value = build.value(root, "")
    if build.problems:
        raise NotAJobFile(build.problems, value)
    return value


def _decoded(content: bytes) -> str:
    """Return the text of a file; editors of Windows put a mark in front of UTF-8, which is taken."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:4096]:
        raise NotAJobFile(["it is UTF-16 and has to be UTF-8; save it as UTF-8, or: iconv -f utf-16 -t utf-8"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise NotAJobFile(
            [
                f"it is not UTF-8: byte 0x{content[error.start]:02x} on line {line}; save it as UTF-8, or, if it is "
                "Latin-1: iconv -f latin1 -t utf-8"
            ]
        ) from error


def _told(error: yaml.YAMLError) -> str:
    """Return what the parser says in one line, with what to do where it is known."""
    text = "it is not YAML: " + " ".join(str(error).split())
    if "'\\t'" in text:
        return f"{text}; indent with spaces, not with tabs"
    if "single document" in text:
        return f"{text}; a file holds one job: remove the line ---, or put each job into its own file"
    return text


class _Loader(yaml.SafeLoader):
    """PyYAML's parser, which only says of a scalar whether it stands in quotes."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """Return the tag of a node that has none."""
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _TEXT
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]


class _Build:
    """Values of parsed nodes, and what is wrong with them; a path such as ``data.features.x`` names a place."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        # of an anchor's node: so many aliases of aliases cost no more than they are written
        self._built: dict[int, Any] = {}
        self._inside: set[int] = set()

    def value(self, node: yaml.Node, path: str) -> Any:
        """Return what a node means."""
        if node.tag not in _TAGS:
            self.problems.append(f"{path or 'the file'}: the tag {node.tag} on line {_line(node)} is not read; drop it")
        if isinstance(node, yaml.ScalarNode):
            return node.value if node.tag == _TEXT else _core(node.value)
        if id(node) in self._inside:
            self.problems.append(f"{path}: holds itself, through an anchor on line {_line(node)}; write it out")
            return None
        if id(node) not in self._built:
            self._inside.add(id(node))
            self._built[id(node)] = (
                self._sequence(node, path) if isinstance(node, yaml.SequenceNode) else self._mapping(node, path)
            )
            self._inside.discard(id(node))
        return self._built[id(node)]

    def _sequence(self, node: yaml.Node, path: str) -> list[Any]:
        return [self.value(item, f"{path}[{index}]") for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.Node, path: str) -> dict[str, Any]:
        """Return a mapping; keys are texts as they are written, a column ``no`` or ``007`` among them."""
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(f"{path or 'the file'}: line {_line(key)} has a key that is no text")
                continue
            name = key.value
            here = f"{path}.{name}" if path else name
            if name in lines:
                self.problems.append(
                    f"{here}: is there twice, on line {lines[name]} and on line {_line(key)}; remove one of them"
                )
            lines[name] = _line(key)
            if name == _MERGE and key.style is None:
                for other in self._merged(item, here):
                    merged = {**other, **merged}
            else:
                own[name] = _both(own.get(name), self.value(item, here))
        return {**merged, **own}

    def _merged(self, node: yaml.Node, path: str) -> Iterator[dict[str, Any]]:
        """Yield the mappings that ``<<`` names: one alias, or a list of them of which the first wins."""
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            value = self.value(item, path)
            if isinstance(value, dict):
                yield value
            else:
                self.problems.append(f"{path}: line {_line(item)} merges what is no mapping")


def _both(first: Any, second: Any) -> Any:
    """Return what is gone on with where a key is there twice: all of two mappings, else the second."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return second
    return {**first, **{key: _both(first.get(key), value) for key, value in second.items()}}


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _core(text: str) -> Any:
    """Return what a text without quotes means."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return bool(_TRUE.fullmatch(text))
    number = _number(text)
    if number is None:
        return text
    if str(number) == text:
        return number
    marked = WrittenInt(number) if isinstance(number, int) else WrittenFloat(number)
    marked.text = text
    return marked


def _number(text: str) -> Any:
    """Return the number that a text is; None if it is none: dates, ``1:30`` and ``1_000`` are texts."""
    if len(text) > _LONGEST:
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    if _PREFIXED.fullmatch(text):
        return int(text[2:], 16 if text[1] == "x" else 8)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", "").lower())
    return None
