"""What the sections of a job's configuration are made of."""

from __future__ import annotations

import os
from typing import Annotated, Any, Union

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mxspark.config.yaml12 import written
from mxspark.data.dtypes import refusal


def _no_other(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"is {str(value).lower()}; give a number")
    meant = _number_in(value) if isinstance(value, str) else None
    if meant is not None:
        raise ValueError(f"is the text {value!r}; write the number, without quotes: {meant}")
    return value


def _number_in(text: str) -> Union[int, float, None]:
    """Return the number that a text says, None if it says none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _path(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


# pydantic takes true for 1, and "2" for 2, which no option of an optimizer is taken for
Whole = Annotated[int, BeforeValidator(_no_other)]
Number = Annotated[float, BeforeValidator(_no_other)]
Positive = Annotated[Whole, Field(gt=0)]
Seconds = Annotated[Number, Field(gt=0)]
# a number is the text it is written as: a column 007, a version 1.10
Text = Annotated[str, BeforeValidator(written)]
NotEmpty = Annotated[str, Field(min_length=1), BeforeValidator(written)]
PathText = Annotated[NotEmpty, BeforeValidator(_path)]
# of an option of Spark's a boolean too, in the words of Spark
SparkText = Annotated[Text, BeforeValidator(lambda value: str(value).lower() if isinstance(value, bool) else value)]
Shape = tuple[Positive, ...]


def _known_dtype(name: str) -> str:
    if reason := refusal(name):
        raise ValueError(reason)
    return name


Dtype = Annotated[Text, AfterValidator(_known_dtype)]


class Section(BaseModel):
    """A part of the configuration: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
