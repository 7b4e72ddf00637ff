"""What goes into an exported network and what comes out: ``signature.json``, beside the network in its folder.

The export of training writes it; loading, scoring and whatever else meets a model later read it, and nothing else.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Optional

from mxspark.data.spool import ColumnSpec
from mxspark.errors import InputError
from mxspark.protocol import codec

FILE = "signature.json"
#: Counts up when a reader of before would misunderstand what is written now.
FORMAT = 1

#: Of an array: None is the number of rows, which is the caller's to choose.
Shape = tuple[Optional[int], ...]


@dataclass(frozen=True)
class Input:
    """One array the network takes.

    Attributes
    ----------
    name : str
        Its variable in the graph: ``data``, or ``data0``, ``data1``, … if there are several.
    array : str
        Its name in the job, under ``data.features``.
    columns : tuple of str
        Source columns, in order.
    shape : tuple of int or None
        With the rows as first axis.
    dtype : str
        numpy name of the element type.
    scale : float
        Factor that the columns' values are multiplied with before the network sees them.
    """

    name: str
    array: str
    columns: tuple[str, ...]
    shape: Shape
    dtype: str
    scale: float


@dataclass(frozen=True)
class Output:
    """One array the network gives."""

    name: str
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Label:
    """One array the loss was given: what the outputs were trained to be; fields as those of `Input`."""

    array: str
    columns: tuple[str, ...]
    shape: Shape
    dtype: str
    scale: float
    classes: Optional[int]


@dataclass(frozen=True)
class Loss:
    """What the network was trained with: a name of the catalog, or the label of the user's function."""

    name: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Signature:
    """All that is known of an exported network without loading it.

    Attributes
    ----------
    format : int
        Of the file.
    kind : str
        ``model`` or ``best``.
    step, epoch : int
        When in training it was written.
    inputs, outputs, labels
        In the order the network and the loss have them.
    mxspark, mxnet : str
        Versions that wrote it.
    """

    format: int
    kind: str
    step: int
    epoch: int
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    labels: tuple[Label, ...]
    loss: Loss
    mxspark: str
    mxnet: str

    def write(self, folder: str) -> None:
        """Write it into the folder of the network."""
        with open(os.path.join(folder, FILE), "w", encoding="utf-8") as file:
            json.dump(codec.encode(self), file, indent=1)

    @classmethod
    def read(cls, folder: str) -> Signature:
        """Read that of a local folder.

        Raises
        ------
        InputError
            If it is not there, is of a later version, or is damaged.
        """
        path = os.path.join(folder, FILE)
        try:
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            if found["format"] > FORMAT:
                raise InputError(
                    f"{path} has format {found['format']} and this version reads up to {FORMAT}: use the version of "
                    f"mxspark that wrote it ({found.get('mxspark')}), or a later one"
                )
            return codec.decode(cls, found)
        except OSError as error:
            raise InputError(
                f"{folder} holds no model that mxspark exported: {path}: {error.strerror}; name the folder `model` or "
                "`model-best` of a job dir"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is damaged: {error}; name another folder, or copy it from the job dir again"
            ) from error


def inputs_of(features: tuple[ColumnSpec, ...]) -> tuple[Input, ...]:
    """Return how a graph takes the features of a job."""
    return tuple(
        Input(name, feature.name, feature.columns, (None, *(feature.shape or ())), feature.dtype, feature.scale)
        for name, feature in zip(input_names(len(features)), features)
    )


def labels_of(labels: tuple[ColumnSpec, ...]) -> tuple[Label, ...]:
    """Return the labels of a job."""
    return tuple(
        Label(label.name, label.columns, (None, *(label.shape or ())), label.dtype, label.scale, label.classes)
        for label in labels
    )


def input_names(inputs: int) -> list[str]:
    """Return the variables of a graph with so many inputs."""
    return ["data"] if inputs == 1 else [f"data{place}" for place in range(inputs)]
