"""The job's YAML file and the ``--set`` overrides laid over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mxspark.config import yaml12
from mxspark.errors import ConfigError


def read_yaml(path: str) -> dict[str, Any]:
    """Read a YAML mapping; nothing in it can run code."""
    try:
        raw = yaml12.read(Path(path))
    except OSError as error:
        raise ConfigError(
            f"cannot read the job file {path}: {error.strerror} ({Path(path).absolute()}); name one that can be read, "
            "conf/digits.yaml for instance"
        ) from error
    except yaml12.NotAJobFile as error:
        raise ConfigError.from_problems(path, error.problems) from error
    if not isinstance(raw, dict):
        held = "nothing" if raw is None else type(raw).__name__
        raise ConfigError(f"{path} holds {held}, but a job is a mapping; write one as conf/job.yaml shows it")
    return raw


def override(raw: Mapping[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return a copy of `raw` with ``key.key=value`` set, each value read as YAML, and what is wrong with the others."""
    result: dict[str, Any] = dict(raw)
    problems = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            problems.append(f"--set {text}: is not KEY=VALUE; write for instance --set training.epochs=3")
            continue
        try:
            parsed = yaml12.load(value)
        except yaml12.NotAJobFile as error:
            problems.append(f'--set {text}: {error}; put the value into quotes of YAML\'s, "..."')
            continue
        result = merge(result, _nested(key.split("."), parsed))
    return result, problems


def merge(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `raw` with `changes` laid over it, mapping by mapping."""
    result = dict(raw)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _nested(keys: Sequence[str], value: Any) -> dict[str, Any]:
    return {keys[0]: value if len(keys) == 1 else _nested(keys[1:], value)}
