"""Everything that travels round-trips through JSON, and says what is wrong where it does not."""

from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from mxspark import errors
from mxspark.data import plan, spool
from mxspark.errors import cause as failure
from mxspark.job import spec
from mxspark.protocol import codec, commands, events, specs

#: Texts that are names of kinds of failures, and no others are taken.
KINDS_OF_FAILURE = {(failure.Cause, "kind"): "role", (events.Raised, "who"): "training"}


def sample(kind: Any) -> Any:
    """Build a value of a type, every field filled."""
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind)]
        return kind(**{name: KINDS_OF_FAILURE.get((kind, name)) or sample(hints[name]) for name in names})  # type: ignore[operator]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Union:
        return sample(inner[0])
    if origin is tuple:
        return (sample(inner[0]),) if inner[-1] is Ellipsis else tuple(map(sample, inner))
    if origin is dict:
        return {"key": 1 if inner[1] is Any else sample(inner[1])}
    if kind is Any:
        return "anything"
    return {int: 3, float: 0.5, str: "text", bool: True}[kind]


TRAVEL = [
    kind
    for module in (spec, specs, events, commands, failure, plan, spool)
    for kind in vars(module).values()
    if dataclasses.is_dataclass(kind)
    and isinstance(kind, type)
    and kind.__module__ == module.__name__
    and kind is not events.Reported
]


@pytest.mark.parametrize("kind", TRAVEL, ids=lambda kind: kind.__name__)
def test_round_trip(kind: type) -> None:
    value = sample(kind)
    wire = json.loads(json.dumps(codec.encode(value)))
    assert codec.decode(kind, wire) == value


@pytest.mark.parametrize("kind", events.KINDS.values(), ids=lambda kind: kind.__name__)
def test_events_name_themselves(kind: type) -> None:
    event = sample(kind)
    assert events.from_wire(json.loads(json.dumps(events.to_wire(event)))) == event


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        ({"seconds": 1, "more": 2}, r"Loaded: unknown keys \['more'\]"),
        ({}, r"Loaded: missing keys \['seconds'\]"),
        ({"seconds": "1"}, "Loaded.seconds: expected float, found '1'"),
        ({"seconds": True}, "Loaded.seconds: expected float, found True"),
        ([], "Loaded: expected dict"),
    ],
)
def test_what_does_not_fit_is_named(wire: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        codec.decode(events.Loaded, wire)


def test_only_plain_values_travel() -> None:
    with pytest.raises(TypeError, match="a set cannot travel"):
        codec.encode({"a": {1, 2}})


def test_errors_survive_pickling_with_their_cause() -> None:
    cause = sample(failure.Cause)
    error = pickle.loads(pickle.dumps(errors.RoleDied("worker 1 died", cause)))
    assert (type(error), str(error), error.cause) == (errors.RoleDied, "worker 1 died", cause)


def test_exit_codes_tell_whose_turn_it_is() -> None:
    codes = {
        e.__name__: e.exit_code
        for e in (errors.InputError, errors.TrainingCodeError, errors.ClusterError, errors.InternalError)
    }
    assert codes == {"InputError": 2, "TrainingCodeError": 3, "ClusterError": 4, "InternalError": 70}


def test_a_function_travels_by_path_or_by_value() -> None:
    assert spec.Function("x", path="os.path:join").load()("a", "b") == "a/b"
    factor = 3
    shipped = spec.Function.ship(lambda value: value * factor)
    again = codec.decode(spec.Function, json.loads(json.dumps(codec.encode(shipped))))
    assert again.load()(5) == 15
