"""The job's YAML file, and what is laid over it: sections from Python, or keys from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

from mxspark.config import yaml12
from mxspark.config.reference import shown_by
from mxspark.config.yaml12 import written
from mxspark.errors import ConfigError

_KINDS: Mapping[type, str] = {str: "a text", list: "a list"}


def read_yaml(path: str) -> dict[str, Any]:
    """Read a YAML mapping; nothing in it can run code."""
    raw, problems = read_job(path)
    if problems:
        raise ConfigError.from_problems(path, problems)
    return raw


def read_job(path: str) -> tuple[dict[str, Any], list[str]]:
    """Return the mapping of a YAML file, and what is said twice or cannot be meant in it, one line each.

    Raises
    ------
    ConfigError
        If it cannot be read, or is no mapping at all.
    """
    problems: list[str] = []
    try:
        raw = yaml12.read(Path(path))
    except OSError as error:
        raise ConfigError(
            f"cannot read the job file {path}: {error.strerror} ({Path(path).absolute()}); name one that can be read; "
            f"{shown_by()} shows what one holds"
        ) from None  # the words have all of it
    except yaml12.NotAJobFile as error:
        raw, problems = error.value, error.problems
        if not isinstance(raw, dict):
            raise ConfigError.from_problems(path, problems) from error
    if not isinstance(raw, dict):
        held = "nothing" if raw is None else _KINDS.get(type(raw), f"a {type(raw).__name__}")
        raise ConfigError(
            f"{path} holds {held}, but a job is sections with keys, and names its rows: data: {{path: ..., features: "
            f"..., label: ...}} and training: {{network: ..., loss: ...}}; write one as {shown_by()} shows it"
        )
    return raw, problems


def merge(raw: Mapping[str, Any], changes: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return `raw` with `changes` laid over it, mapping by mapping; names that stand alone are mappings too.

    >>> merge({"data": {"features": ["a", "b"]}}, {"data": {"features": {"a": {"dtype": "int32"}}}})
    {'data': {'features': {'a': {'dtype': 'int32'}, 'b': {}}}}
    """
    result = dict(raw)
    for key, value in changes.items():
        here = f"{path}.{key}" if path else str(key)
        result[key] = _laid_over(result.get(key), value, here) if isinstance(value, Mapping) else value
    return result


def _laid_over(old: Any, value: Mapping[str, Any], path: str) -> dict[str, Any]:
    if old is not None and not isinstance(old, Mapping) and path in _IN_FULL:
        old = _IN_FULL[path](old)
    return merge(old, value, path) if isinstance(old, Mapping) else dict(value)


def _of_names(value: Any) -> Any:
    """Return the mapping that a column or a list of columns is short for."""
    names = [written(name) for name in (value if isinstance(value, (list, tuple)) else [value])]
    return {name: {} for name in names} if all(isinstance(name, str) for name in names) else value


def _of_a_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


#: What may be given by names alone: what that means in full.
_IN_FULL: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("data.features", "data.label", "data.weight"), _of_names),
    **dict.fromkeys([f"training.{key}" for key in ("loss", "optimizer", "schedule", "initializer")], _of_a_name),
    "training.best_by": lambda value: {"metric": value},
}
