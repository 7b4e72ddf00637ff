"""Everything that travels round-trips through JSON, and says what is wrong where it does not."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import pickle
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

import mxspark
from mxspark import errors
from mxspark.errors import cause as failure
from mxspark.errors import kinds
from mxspark.job import spec
from mxspark.protocol import codec, commands, events, link

PACKAGE = Path(mxspark.__file__).parent
#: Texts that are names of kinds of failures, and no others are taken.
NAMED = {(failure.Cause, "kind"), (events.Raised, "who")}


def make(kind: Any, rng: random.Random) -> Any:
    """Return some value of a type, every field filled."""
    if kind is Any:
        return rng.choice([None, True, 3, "text", [1, "two"], {"key": [0.5, {}]}])
    if kind in PLAIN:
        return rng.choice(PLAIN[kind])
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        fields = {field.name: make(hints[field.name], rng) for field in dataclasses.fields(kind)}
        fields.update((name, rng.choice(sorted(kinds.KINDS))) for of, name in NAMED if of is kind)
        return kind(**fields)  # type: ignore[operator]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Union:
        return make(rng.choice(inner), rng)
    if origin is tuple and inner[-1] is Ellipsis:
        return tuple(make(inner[0], rng) for _ in range(rng.randrange(3)))
    if origin is tuple:
        return tuple(make(part, rng) for part in inner)
    if origin in (dict, Mapping):
        return {make(inner[0], rng): make(inner[1], rng) for _ in range(rng.randrange(3))}
    raise TypeError(f"nothing is known of values of {kind}")


PLAIN: dict[Any, list[Any]] = {
    type(None): [None],
    int: [0, -1, 3, 2**60],
    float: [0.0, -0.5, 1e300, 5e-324],
    str: ["", "text", "two\nlines", "über \U0001f600 \x00"],
    bool: [True, False],
}


def sent(value: Any) -> Any:
    """Return what arrives of a value as JSON."""
    return codec.decode(type(value), json.loads(json.dumps(codec.encode(value))))


def decoded(path: Path) -> Iterator[Any]:
    """Yield the types that a file of the package decodes by name; those of tables are in `ROOTS` themselves."""
    tree = ast.parse(path.read_text())
    here = ".".join(("mxspark", *path.relative_to(PACKAGE).with_suffix("").parts))
    homes = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            homes.update({alias.asname or alias.name: node.module or "" for alias in node.names})
        elif isinstance(node, ast.ClassDef):
            homes[node.name] = here
            for name in _decoded_in(node, {"cls": node.name}):
                yield getattr(importlib.import_module(here), name)
    for name in _decoded_in(tree, {}):
        if name not in ("cls", "kind"):  # of the class around it, and of a table of events or commands
            yield getattr(importlib.import_module(homes[name]), name)


def _decoded_in(node: ast.AST, known: Mapping[str, str]) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and ast.unparse(part.func).endswith("codec.decode"):
            name = ast.unparse(part.args[0])
            if not known or name in known:
                yield known.get(name, name)


def parts(kind: Any) -> Iterator[Any]:
    """Yield a type and every dataclass inside it."""
    if dataclasses.is_dataclass(kind):
        yield kind
        for hint in get_type_hints(kind).values():
            yield from parts(hint)
    for inner in get_args(kind):
        yield from parts(inner)


TABLES = (events.KINDS, commands.KINDS, link.KINDS)
ROOTS = [
    *(kind for table in TABLES for kind in table.values()),
    *(k for p in PACKAGE.rglob("*.py") for k in decoded(p)),
]
TRAVEL = sorted({part for root in ROOTS for part in parts(root)}, key=lambda kind: str(kind.__name__))


@pytest.mark.parametrize("kind", TRAVEL, ids=lambda kind: kind.__name__)
def test_round_trip(kind: Any) -> None:
    for seed in range(50):
        value = make(kind, random.Random(seed))
        assert sent(value) == value
    assert kind.__dataclass_params__.frozen, "what travels does not change"


def test_every_type_that_travels_is_found() -> None:
    """Fifteen of them were not, when the list was kept by hand."""
    names = {kind.__name__ for kind in TRAVEL}
    assert names >= {
        "RoleSpec", "Meeting", "Inherited", "Limits", "AgentSpec", "DriverAgentSpec", "JobRecord", "JobSettings",
        "DataRecord", "RunInfo", "Manifest", "Probe", "Disk", "ProbeOrder", "WorkerSpec", "Begin", "Cause",
    }  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ByRank:
    """What does not come back as it went: keys of an object in JSON are text."""

    hosts: dict[int, str]


def test_a_type_that_does_not_round_trip_is_found_out() -> None:
    with pytest.raises(AssertionError):
        test_round_trip(ByRank)


@pytest.mark.parametrize("kind", commands.KINDS.values(), ids=lambda kind: kind.__name__)
def test_commands_name_themselves(kind: Any) -> None:
    command = sample(kind)
    assert commands.from_wire(json.loads(json.dumps(commands.to_wire(command)))) == command


def test_an_unknown_command_is_the_same_error_everywhere() -> None:
    """Whether nobody knows it, or only the one who got it does not."""
    done: list[Any] = []
    table: commands.Table = {commands.Stop: done.append}
    commands.carry_out({"do": "Stop", "why": "test"}, "somebody", table)
    assert done == [commands.Stop("test")]
    for frame in ({"do": "Dance"}, {"beat": 1}, {"do": "Finish"}):
        with pytest.raises(commands.UnknownCommand, match=r"(somebody|mxspark) knows no command"):
            commands.carry_out(frame, "somebody", table)
    with pytest.raises(ValueError, match=r"Stop: missing keys \['why'\]"):
        commands.carry_out({"do": "Stop"}, "somebody", table)


def sample(kind: Any) -> Any:
    """Return one value of a type."""
    return make(kind, random.Random(7))


@pytest.mark.parametrize("kind", events.KINDS.values(), ids=lambda kind: kind.__name__)
def test_events_name_themselves(kind: type) -> None:
    event = sample(kind)
    assert events.from_wire(json.loads(json.dumps(events.to_wire(event)))) == event


@pytest.mark.parametrize("kind", link.KINDS.values(), ids=lambda kind: kind.__name__)
def test_what_a_link_is_told_and_says_names_itself(kind: type) -> None:
    message = sample(kind)
    assert link.from_wire(json.loads(json.dumps(link.to_wire(message)))) == message
    with pytest.raises(ValueError, match="no message of a link is called 'Dance'"):
        link.from_wire({"link": "Dance"})


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
