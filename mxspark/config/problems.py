"""pydantic's findings in the words of a job file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Union

from pydantic import BaseModel, ValidationError

from mxspark.config.reference import shown_by
from mxspark.errors.spelling import closest

_OF_GPUS = re.compile(r"gpu|cuda|^(devices?|context|ctx)$", re.IGNORECASE)


def close(name: str, known: Sequence[str]) -> str:
    """Return the end of a sentence that helps with a misspelt name."""
    match = closest(name, known)
    return f"; did you mean {match[0]}?" if match else f"; known are {', '.join(known)}"


def lines(section: str, kind: type[BaseModel], error: ValidationError) -> list[str]:
    """Return one line a finding: key, what is wrong, value seen, remedy."""
    found = []
    for item in error.errors(include_url=False):
        where = ".".join([section, *(str(part) for part in item["loc"])])
        if item["type"] == "extra_forbidden" and _OF_GPUS.search(str(item["loc"][-1])):
            found.append(f"{where}: GPUs are not supported yet, workers train on the cores of CPUs; leave it out")
        elif item["type"] == "extra_forbidden":
            found.append(f"{where}: is not a key{close(str(item['loc'][-1]), _known(kind, item['loc'][:-1]))}")
        elif item["type"] == "missing":
            found.append(f"{where}: is missing; {shown_by()} shows what it holds")
        else:
            message = item["msg"].removeprefix("Value error, ") if item["type"] == "value_error" else item["msg"]
            seen = "" if item["type"] == "value_error" else f", found {item['input']!r:.80}"
            found.append(f"{where}: {message[:1].lower() + message[1:]}{seen}")
    return found


def _known(kind: type[BaseModel], loc: Sequence[Union[int, str]]) -> list[str]:
    """Return the keys of the model that `loc` leads to."""
    model: Any = kind
    for part in loc:
        field = model.model_fields.get(str(part)) if isinstance(model, type) and issubclass(model, BaseModel) else None
        if field is not None:
            model = _model_in(field.annotation)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _model_in(annotation: Any) -> Any:
    """Return the section an annotation such as ``dict[str, Feature]`` holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _model_in(part)
        if found is not None:
            return found
    return None
