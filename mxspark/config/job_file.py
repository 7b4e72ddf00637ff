"""The job's YAML file and the ``--set`` overrides laid over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mxspark.errors import ConfigError


def read_yaml(path: str) -> dict[str, Any]:
    """Read a YAML mapping; nothing in it can run code."""
    try:
        raw = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise ConfigError(
            f"cannot read the job file {path}: {error.strerror} ({Path(path).absolute()}); name one that can be read, "
            "conf/digits.yaml for instance"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds {type(raw).__name__}, but a job is a mapping; conf/job.yaml shows one")
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
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            where = " ".join(str(error).split())
            problems.append(f'--set {text}: the value is not YAML: {where}; put it into quotes of YAML\'s, "..."')
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
