"""What the command line lays over a job file, and which of a job's problems come from there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from mxspark.config import yaml12
from mxspark.config.job_file import merge

THE_COMMAND_LINE = "the command line"


@dataclass(frozen=True)
class Override:
    """A key that the command line gives.

    Attributes
    ----------
    text : str
        ``key.key=value``, the value in YAML.
    said : str
        As it stands on the command line.
    """

    text: str
    said: str

    @classmethod
    def of(cls, given: Union[str, Override]) -> Override:
        """Return what a ``--set`` gives, by its text."""
        return cls(given, f"--set {given}") if isinstance(given, str) else given

    @property
    def key(self) -> str:
        """Which key it is."""
        return self.text.partition("=")[0]

    def causes(self, problem: str) -> bool:
        """Tell whether a line of a problem is about this key, or about one above or below it."""
        where, _, words = problem.partition(":")
        if self.key == where or where.startswith(f"{self.key}."):
            return True
        if self.key.startswith(f"{where}."):  # what is said of a whole section names its keys in the words
            return "." in where or self.key[len(where) + 1 :].partition(".")[0] in words
        return "." in self.key and self.key in words


def override(raw: Mapping[str, Any], overrides: Sequence[Union[str, Override]]) -> tuple[dict[str, Any], list[str]]:
    """Return a copy of `raw` with ``key.key=value`` set, each value read as YAML, and what is wrong with the others."""
    result: dict[str, Any] = dict(raw)
    problems = []
    taken: list[tuple[Override, Any]] = []
    for one in map(Override.of, overrides):
        _, equals, value = one.text.partition("=")
        if not equals or not one.key:
            problems.append(f"{one.said}: is not KEY=VALUE; write for instance --set training.epochs=3")
            continue
        try:
            taken.append((one, _nested(one.key.split("."), yaml12.load(value))))
        except yaml12.NotAJobFile as error:
            problems.append(f'{one.said}: {error}; put the value into quotes of YAML\'s, "..."')
    for (first, one), (second, other) in itertools.combinations(taken, 2):
        problems.extend(
            f"{second.said}: {key} is set by {first.said} too; leave one of them" for key in _twice(one, other, "")
        )
    for _, nested in taken:
        result = merge(result, nested)
    return result, problems


def blamed(problems: Sequence[str], overrides: Sequence[Union[str, Override]], path: str) -> tuple[str, list[str]]:
    """Return where the problems of a job come from, and their lines with what of the command line they come from."""
    given = list(map(Override.of, overrides))
    lines = []
    sources = set()
    for line in problems:
        is_told = any(line.startswith(f"{one.said}: ") for one in given)
        causes = [] if is_told else [one.said for one in given if one.causes(line)]
        sources.add(THE_COMMAND_LINE if is_told or causes else path)
        lines.append(f"{line} (given by {', '.join(causes)})" if causes else line)
    return " and ".join(source for source in (path, THE_COMMAND_LINE) if source in sources), lines


def _nested(keys: Sequence[str], value: Any) -> dict[str, Any]:
    return {keys[0]: value if len(keys) == 1 else _nested(keys[1:], value)}


def _twice(one: Any, other: Any, path: str) -> Iterator[str]:
    """Yield the keys that two nested mappings both set."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        yield path
        return
    for key in one:
        if key in other:
            yield from _twice(one[key], other[key], f"{path}.{key}" if path else key)
