"""The rows of a job, and what their columns become."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Optional

from pydantic import AfterValidator, Field, field_validator, model_validator

from mxspark.config.base import Dtype, NotEmpty, Number, PathText, Positive, Section, Shape, SparkText, Text
from mxspark.config.yaml12 import written
from mxspark.data.dtypes import BYTES
from mxspark.data.spool import ColumnSpec


def _keeps_values(scale: float) -> float:
    if not scale:
        raise ValueError(f"is {scale:g}, which would make 0 of every value; give another factor, or leave it out")
    return scale


Scale = Annotated[Number, AfterValidator(_keeps_values)]


class Feature(Section):
    """A column the network takes."""

    columns: Optional[tuple[Text, ...]] = Field(None, min_length=1)
    shape: Optional[Shape] = None
    dtype: Dtype = "float32"
    scale: Scale = 1.0

    def spec(self, name: str) -> ColumnSpec:
        """Return what becomes of it; one of bytes with a scale stays bytes on disk, and is scaled when read."""
        columns = self.columns or (name,)
        if self.dtype in BYTES and self.scale != 1.0:
            return ColumnSpec(name, columns, self.shape, "float32", self.scale, held=self.dtype)
        return ColumnSpec(name, columns, self.shape, self.dtype, self.scale)


class Label(Section):
    """A column the loss takes."""

    shape: Optional[Shape] = None
    dtype: Dtype = "float32"
    scale: Scale = 1.0
    classes: Optional[Positive] = None

    def spec(self, name: str) -> ColumnSpec:
        """Return what becomes of it."""
        return ColumnSpec(name, (name,), self.shape, self.dtype, self.scale, self.classes)


class Weight(Section):
    """The column of what the rows count."""

    dtype: Dtype = "float32"

    def spec(self, name: str) -> ColumnSpec:
        """Return what becomes of it."""
        return ColumnSpec(name, (name,), (), self.dtype, is_weight=True)


class Validation(Section):
    """Where validation rows come from: a share of the data, or data of their own."""

    fraction: Number = Field(0.0, ge=0.0, lt=1.0)
    path: Optional[PathText] = None

    @model_validator(mode="after")
    def _one_source(self) -> Validation:
        if self.fraction and self.path:
            raise ValueError(
                f"has both fraction={self.fraction} and path={self.path!r}; remove one: a job has one kind of "
                "validation data"
            )
        return self


def in_full(value: Any) -> Any:
    """Return the mapping that ``label: digit`` and ``features: [a, b]`` are short for, of columns without options."""
    value = written(value)
    if isinstance(value, str):
        return {value: {}}
    if isinstance(value, (list, tuple)):
        names = [written(name) for name in value]
        wrong = [name for name in names if not isinstance(name, str)]
        if wrong:
            raise ValueError(f"found {wrong[0]!r:.80} in a list of columns; put a column of that name into quotes")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"column {', '.join(twice)} is there twice; remove one of them")
        return {name: {} for name in names}
    if isinstance(value, Mapping):
        return {name: {} if options is None else options for name, options in value.items()}
    return value


class Source(Section):
    """What Spark shall read."""

    path: Optional[PathText] = None
    format: NotEmpty = "parquet"
    options: dict[Text, SparkText] = Field(default_factory=dict)


class DataSection(Source):
    """The rows, and what their columns become."""

    features: dict[Text, Feature] = Field(min_length=1)
    label: dict[Text, Label] = Field(min_length=1)
    weight: Optional[dict[Text, Weight]] = None
    validation: Validation = Validation(fraction=0.0)
    shuffle: Literal["rows", "global", "none"] = "rows"
    block_rows: Positive = 8192
    window_rows: Positive = 262_144

    @field_validator("features", "label", "weight", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        return in_full(value)

    @field_validator("validation", mode="before")
    @classmethod
    def _not_alone(cls, value: Any) -> Any:
        """Refuse a share or a path without its name, which of the two it is."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise ValueError(f"is {value}; write {{fraction: {value}}}: a share of the rows")
        if isinstance(value, (str, os.PathLike)):
            raise ValueError(f"is {os.fspath(value)!r}; write {{path: {os.fspath(value)!r}}}, or {{fraction: 0.2}}")
        return value

    @field_validator("weight")
    @classmethod
    def _one_weight(cls, value: Optional[dict[str, Weight]]) -> Optional[dict[str, Weight]]:
        if value is not None and len(value) != 1:
            raise ValueError(f"names {len(value)} columns, {list(value)}, but a row has one weight; name one column")
        return value

    @model_validator(mode="after")
    def _distinct(self) -> DataSection:
        named = {"a feature": set(self.features), "a label": set(self.label), "the weight": set(self.weight or ())}
        for one, other in itertools.combinations(named, 2):
            both = sorted(named[one] & named[other])
            if both:
                raise ValueError(f"column {', '.join(both)} is both {one} and {other}; remove it from one of them")
        return self
