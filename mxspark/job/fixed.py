"""What of a job is fixed and known only once its network was built: its graph; and the options its user gave."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, Protocol

from mxspark.job.spec import Component
from mxspark.protocol import codec

VERSION = 1
_NOT_SET = "not set"
_SECRET = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|(^|_)(API)?KEY($|_)", re.IGNORECASE)


@dataclass(frozen=True)
class Fixed:
    """What the first run of a job that kept something has fixed, beside the job's record.

    Attributes
    ----------
    graph : tuple of str
        What the network computes, a line an operator; see `mxspark.mx.model.graph`.
    loss : dict
        The options of the loss by their keys, as the user gave them.
    """

    graph: tuple[str, ...]
    loss: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Return the content of ``_fixed.json``."""
        return json.dumps({"version": VERSION, **codec.encode(self)}, indent=1, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Fixed:
        """Build what :meth:`to_bytes` wrote; ValueError says why it cannot be."""
        found = json.loads(data)
        version = found.pop("version", None) if isinstance(found, dict) else None
        if version != VERSION:
            raise ValueError(f"version {version!r} where {VERSION} was expected")
        return codec.decode(Fixed, found)


class Components(Protocol):
    """What is trained, as a user gave it or as a worker is told."""

    @property
    def loss(self) -> Component:
        """What is made less."""

    @property
    def optimizer(self) -> Component:
        """What makes it less."""

    @property
    def schedule(self) -> Optional[Component]:
        """Learning rates over steps."""

    @property
    def initializer(self) -> Component:
        """What the network begins with."""

    @property
    def class_weights(self) -> Any:
        """What the rows of a class count: a mapping or pairs, if any."""

    @property
    def metrics(self) -> tuple[Component, ...]:
        """What is measured."""


def options(training: Components) -> dict[str, Any]:
    """Return every component of a job and every option of it by its key, as the user gave them."""
    given: dict[str, Any] = {}
    for key in ("loss", "optimizer", "schedule", "initializer"):
        component: Optional[Component] = getattr(training, key)
        if component is not None:
            given.update(_of(f"training.{key}", component))
    for place, metric in enumerate(training.metrics):
        given.update(_of(f"training.metrics.{place}", metric))
    given.update(_class_weights(training))
    return {key: codec.encode(value) for key, value in given.items()}


def options_of_loss(training: Components) -> dict[str, Any]:
    """Return the options of a loss by their keys, and what classes count in it; they are fixed, as the loss is."""
    options = {f"training.loss.{option}": codec.encode(value) for option, value in training.loss.options.items()}
    return {**options, **_class_weights(training)}


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the workers by their keys, but for secrets: another one makes no other model.

    >>> environment({"ALPHA": "0.5", "AWS_SECRET_ACCESS_KEY": "x"})
    {'cluster.environment.ALPHA': '0.5'}
    """
    # what is returned is shown, and kept in the job dir
    told = {name: value for name, value in variables.items() if not _SECRET.search(name)}
    return {f"cluster.environment.{name}": value for name, value in sorted(told.items())}


def _class_weights(training: Components) -> dict[str, float]:
    return {f"training.class_weights.{number}": weight for number, weight in dict(training.class_weights or ()).items()}


def _of(key: str, component: Component) -> dict[str, Any]:
    digest = component.function.digest if component.function is not None else ""
    name = f"{component.name} ({digest})" if digest else component.name
    return {key: name, **{f"{key}.{option}": value for option, value in component.options.items()}}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each option that differs.

    >>> changes({"training.optimizer.learning_rate": 0.1}, {"training.optimizer.learning_rate": 0.01})
    ['training.optimizer.learning_rate: 0.1 -> 0.01']
    """
    keys = [*before, *(key for key in now if key not in before)]
    return [
        f"{key}: {_shown(before, key)} -> {_shown(now, key)}"
        for key in keys
        if before.get(key, _NOT_SET) != now.get(key, _NOT_SET)
    ]


def _shown(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key, _NOT_SET)
    return value if isinstance(value, str) else json.dumps(value)


def refusal(network: str, other: str) -> str:
    """Return what is said of a network, by its label, that is not the one that a job began with."""
    return (
        f"the network {network} is another one than this job began with: {other}; give it back its layers to go on, "
        'start over with --fresh (in Python job={"fresh": True}), or set job.dir to another folder'
    )


def other_graph(before: tuple[str, ...], now: tuple[str, ...]) -> Optional[str]:
    """Return in words how a network differs from the one before, None if it does not.

    >>> other_graph(("input data", "relu() of 0"), ("input data", "tanh() of 0"))
    'its part 2 was relu() of 0 and is tanh() of 0 (2 parts then, 2 now)'
    """
    if before == now:
        return None
    place = next((i for i, (old, new) in enumerate(zip(before, now)) if old != new), min(len(before), len(now)))
    old, new = ((lines[place] if place < len(lines) else "nothing") for lines in (before, now))
    return f"its part {place + 1} was {old} and is {new} ({len(before)} parts then, {len(now)} now)"
