"""What a job names and is not there, of what needs no session to be looked for: told together with other mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mxspark.config import modules
from mxspark.config.components import DOTTED
from mxspark.job.spec import Function

#: Formats whose path is one of files, and no table or database.
_OF_FILES = ("parquet", "csv", "json", "orc", "text", "binaryFile", "avro")
_PATTERN = re.compile(r"[*?\[{]")
_SCHEME = re.compile(r"(?!file:)[A-Za-z][\w+.-]*:")


def problems(raw: Mapping[str, Any], default_is_local: bool = False) -> list[str]:
    """Return what is wrong with the modules of functions, and with rows that are said to be on this machine.

    Parameters
    ----------
    raw : mapping
        A job as it was written; what is wrong with it otherwise is none of ours.
    default_is_local : bool
        Whether a path without a scheme is known to be one of this machine.
    """
    return [*_of_functions(_section(raw, "training")), *_of_paths(_section(raw, "data"), default_is_local)]


def may_be_here(path: str, kind: str) -> bool:
    """Tell whether what is read as such a format may be files of this machine."""
    return kind in _OF_FILES and not _SCHEME.match(path)


def _section(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    given = raw.get(name)
    return given if isinstance(given, Mapping) else {}


def _of_functions(training: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("network", "loss", "optimizer", "schedule", "initializer"):
        yield from _of_function(kind, training.get(kind))
    metrics = training.get("metrics")
    for one in metrics if isinstance(metrics, (list, tuple)) else ():
        yield from _of_function("metric", one)


def _of_function(kind: str, given: Any) -> list[str]:
    name = given.get("name") if isinstance(given, Mapping) else given
    # to look for a module of MXNet's would import MXNet
    if not isinstance(name, str) or not DOTTED.match(name) or name.startswith("mxnet."):
        return []
    return modules.problems(kind, Function(name, path=name))


def _of_paths(data: Mapping[str, Any], default_is_local: bool) -> Iterator[str]:
    other = _section(data, "validation").get("path")
    if data.get("format", _OF_FILES[0]) not in _OF_FILES:
        return
    for key, path in (("data.path", data.get("path")), ("data.validation.path", other)):
        if not isinstance(path, str) or not path or _PATTERN.search(path) or _SCHEME.match(path):
            continue
        local = Path(re.sub(r"^file:(//[^/]*(?=/))?", "", path)).absolute()
        if (default_is_local or path.startswith("file:")) and not local.exists():
            yield f"{key}: there is no {path!r} on this machine ({local}); correct it"
