"""What the sections of a job's configuration are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mxspark.config.yaml12 import written
from mxspark.data.dtypes import refusal


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"is {str(value).lower()}; give a number")
    return value


# pydantic takes true for 1
Whole = Annotated[int, BeforeValidator(_no_switch)]
Number = Annotated[float, BeforeValidator(_no_switch)]
Positive = Annotated[Whole, Field(gt=0)]
Seconds = Annotated[Number, Field(gt=0)]
# a number is the text it is written as: a column 007, a version 1.10
Text = Annotated[str, BeforeValidator(written)]
NotEmpty = Annotated[str, Field(min_length=1), BeforeValidator(written)]
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
