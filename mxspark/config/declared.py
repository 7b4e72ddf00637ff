"""What a job with mistakes says rightly of its rows, so that they can be looked at before the mistakes are mended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from pydantic import TypeAdapter, ValidationError

from mxspark.config.base import Text
from mxspark.config.data_section import DataSection, Feature, Label, Source, Validation, Weight, in_full
from mxspark.data.spool import ColumnSpec

_ARRAYS: Mapping[str, type[Union[Feature, Label, Weight]]] = {"features": Feature, "label": Label, "weight": Weight}
_NAME: TypeAdapter[str] = TypeAdapter(Text)


@dataclass(frozen=True)
class Declared:
    """What can be relied on.

    Attributes
    ----------
    arrays : tuple of ColumnSpec
        Features, labels and weight without those of which something is wrong.
    source : Source or None
        What is read; None where it is not known what that is to be.
    paths : dict of str to str
        By key, ``data.path`` and ``data.validation.path``, what is read of the source.
    """

    arrays: tuple[ColumnSpec, ...] = ()
    source: Optional[Source] = None
    paths: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Declared:
        """Return what a job as it was written says."""
        data = raw.get("data")
        if not isinstance(data, Mapping):
            return cls()
        arrays = {spec.name: spec for section in _ARRAYS for spec in _arrays(section, data.get(section))}
        source = _source(data)
        if source is None:
            return cls(tuple(arrays.values()))
        paths = {"data.path": source.path, "data.validation.path": _validation_path(data)}
        return cls(tuple(arrays.values()), source, {key: path for key, path in paths.items() if path is not None})


def _arrays(section: str, given: Any) -> Iterator[ColumnSpec]:
    try:
        named = in_full(given)
    except ValueError:
        return
    for name, options in named.items() if isinstance(named, Mapping) else ():
        try:
            yield _ARRAYS[section].model_validate(options).spec(_NAME.validate_python(name))
        except ValidationError:
            continue


def _source(data: Mapping[str, Any]) -> Optional[Source]:
    if not set(data) <= set(DataSection.model_fields):  # it may be the misspelt format
        return None
    try:
        return Source.model_validate({key: data[key] for key in Source.model_fields if key in data})
    except ValidationError:
        return None


def _validation_path(data: Mapping[str, Any]) -> Optional[str]:
    try:
        return Validation.model_validate(data.get("validation") or {}).path
    except ValidationError:
        return None
