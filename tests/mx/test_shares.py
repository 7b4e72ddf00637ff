"""Workers that each update their share of the values of a host: the bits of one that updates all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon
from role_harness import make_spec, run_group
from test_gluon_loop import SGD
from test_optimizer import OPTIMIZERS, ROWS, SCHEDULES, feed, label, parameters, values

from mxspark.job import catalog
from mxspark.job.spec import Component, Function
from mxspark.mx.exchange.shared_memory import ALIGNMENT, Layout
from mxspark.mx.exchange.shared_values import Plan, SharedValues, kinds
from mxspark.mx.exchange.shares import Trained, pieces
from mxspark.mx.state.division import Division
from mxspark.mx.state.kernels import PlainSGD
from mxspark.mx.state.optimizer import Updater
from mxspark.protocol import events

DIVIDED = [one for one in OPTIMIZERS if one.name not in ("nadam", "lars")]


class Host:
    """The workers of a host in one process: each has an updater and parameters of its own, all share the memory."""

    def __init__(self, component: Component, schedule: Any, size: int, dtype: str, restored: Any = None) -> None:
        self.params = [parameters(dtype) for _ in range(size)]
        self.updaters = [Updater(component, schedule, params) for params in self.params]
        trained = [{i: p for i, p in enumerate(params) if p.grad_req != "null"} for params in self.params]
        self.layout = Layout.of(self.params[0])
        index_of = {parameter.name: index for index, parameter in trained[0].items()}
        plan = Plan.of(self.layout, kinds(self.updaters[0], self.layout, index_of))
        self.memory = bytearray(plan.nbytes + ALIGNMENT)
        self.shared = [SharedValues(self.layout, plan, self.memory, one) for one in trained]
        if restored is not None:
            for params, updater in zip(self.params, self.updaters):
                for param, value in zip(params, restored[0]):
                    param.set_data(mx.nd.array(value, dtype=value.dtype))
                updater.restore(restored[1], restored[2])
        every = [one.pieces(updater, rank, size) for rank, (one, updater) in enumerate(zip(self.shared, self.updaters))]
        self.shared[0].write(self.updaters[0])
        for one in self.shared:
            one.move()
        for one, updater, mine in zip(self.shared, self.updaters, every):
            one.divide(updater, mine)
        mx.nd.waitall()

    def run(self, steps: range) -> None:
        for step in steps:
            feed(self.params[0], step)
            for parameter in self.params[0]:
                if parameter.grad_req != "null":
                    total = self.layout.places[parameter.name].view(self.memory)
                    total[...] = parameter.grad().asnumpy()
            for updater in self.updaters:
                updater.update(ROWS)
            mx.nd.waitall()


def whole(component: Component, schedule: Any, dtype: str) -> tuple[Updater, list[gluon.Parameter]]:
    params = parameters(dtype)
    return Updater(component, schedule, params), params


def run(updater: Updater, params: list[gluon.Parameter], steps: range) -> None:
    for step in steps:
        feed(params, step)
        updater.update(ROWS)
    mx.nd.waitall()


def saved(updater: Updater) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays, meta = updater.state()
    return {name: array.asnumpy() for name, array in arrays.items()}, meta


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert list(one) == list(other)
    for name in one:
        assert (one[name].dtype, one[name].shape) == (other[name].dtype, other[name].shape)
        assert one[name].tobytes() == other[name].tobytes(), name


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("component", DIVIDED, ids=label)
def test_shares_have_the_bits_of_the_whole(component: Component, size: int) -> None:
    updater, params = whole(component, SCHEDULES[1], "float32")
    host = Host(component, SCHEDULES[1], size, "float32")
    run(updater, params, range(9))
    host.run(range(9))
    for mine in host.params:
        assert [value.tobytes() for value in values(mine)] == [value.tobytes() for value in values(params)]
    assert_same(saved(host.updaters[0])[0], saved(updater)[0])
    assert saved(host.updaters[0])[1] == saved(updater)[1]
    assert {one.learning_rate for one in host.updaters} == {updater.learning_rate}


@pytest.mark.parametrize("component", [one for one in DIVIDED if not one.options], ids=label)
def test_a_checkpoint_of_a_whole_one_goes_on_in_shares_and_back(component: Component) -> None:
    updater, params = whole(component, None, "float32")
    run(updater, params, range(4))
    host = Host(component, None, 3, "float32", restored=(values(params), *updater.state()))
    run(updater, params, range(4, 8))
    host.run(range(4, 8))
    assert [value.tobytes() for value in values(host.params[2])] == [value.tobytes() for value in values(params)]
    assert_same(saved(host.updaters[0])[0], saved(updater)[0])
    again, others = whole(component, None, "float32")
    for param, value in zip(others, values(host.params[0])):
        param.set_data(mx.nd.array(value))
    again.restore(*host.updaters[0].state())
    run(again, others, range(8, 12))
    run(updater, params, range(8, 12))
    assert [value.tobytes() for value in values(others)] == [value.tobytes() for value in values(params)]


@pytest.mark.filterwarnings("ignore:Accumulating with float16")
@pytest.mark.parametrize("options", [{"multi_precision": True, "momentum": 0.9}, {"momentum": 0.9}, {}])
def test_half_precision_with_and_without_a_master_copy(options: dict[str, Any]) -> None:
    component = Component("sgd", {"learning_rate": 0.1, **options})
    updater, params = whole(component, None, "float16")
    host = Host(component, None, 3, "float16")
    run(updater, params, range(6))
    host.run(range(6))
    assert [value.tobytes() for value in values(host.params[1])] == [value.tobytes() for value in values(params)]
    assert_same(saved(host.updaters[0])[0], saved(updater)[0])


def test_every_optimizer_of_the_catalog_is_divided_but_for_those_that_cannot_be() -> None:
    found = {name: Updater(Component(name), None, parameters()).division for name in catalog.OPTIMIZERS}
    assert {name for name, kind in found.items() if kind is Division.NOTHING} == {"nadam", "lars"}
    assert {name for name, kind in found.items() if kind is Division.TENSORS} == {"lamb"}


class Derived(PlainSGD):
    """SGD by another name: of a class of the user's nothing is known."""


def derived() -> Any:
    return Derived(learning_rate=0.02, momentum=0.9, wd=1e-4)


def test_classes_and_schedules_of_the_users_update_all_of_it_on_every_worker() -> None:
    own = Component("own", function=Function.ship(derived))
    assert Updater(own, None, parameters()).division is Division.NOTHING
    schedule = Component("mine", function=Function.ship(lambda step: 0.1))
    assert Updater(Component("sgd"), schedule, parameters()).division is Division.NOTHING


@pytest.mark.parametrize("division", [Division.ELEMENTS, Division.TENSORS])
@pytest.mark.parametrize("of", [1, 2, 3, 7, 64])
def test_every_value_is_in_one_piece(division: Division, of: int) -> None:
    params = [
        gluon.Parameter(f"w{place}", shape=shape, dtype=dtype)
        for place, (shape, dtype) in enumerate([((5, 7), "float32"), ((1,), "float16"), ((300,), "float32")] * 3)
    ]
    layout = Layout.of(params)
    trained = [Trained(index, layout.places[one.name], 1.0 if index < 4 else 0.5) for index, one in enumerate(params)]
    seen = np.zeros(layout.nbytes, dtype=int)
    for place in range(of):
        mine = pieces(trained, layout.trained, division, place, of)
        assert len({piece.index for piece in mine}) == len(mine), "the optimizer tells them apart by their numbers"
        for piece in mine:
            seen[piece.run.start : piece.run.stop] += 1
            inside = [one for one in trained if piece.run.start < one.stop and one.place.offset < piece.run.stop]
            assert len({one.factors for one in inside}) == 1
            assert {one.place.dtype for one in inside} == {piece.place.dtype}
    for one in trained:
        assert (seen[one.place.offset : one.place.offset + one.place.nbytes] == 1).all()
    assert seen.max() == 1


@pytest.mark.parametrize(("size", "network"), [(2, "lenet"), (4, "mlp"), (3, "with_batch_norm")])
def test_a_run_has_the_bits_of_one_in_which_each_worker_updates_all(tmp_path: Any, size: int, network: str) -> None:
    """With passes over validation rows in between, in which oneDNN lays weights out anew, and checkpoints."""
    job = {"network": network, "epochs": 3, "fraction": 0.3, "every_steps": 3, "every_epochs": 1}
    one = run_group(make_spec(tmp_path / "one", optimizer=SGD, **job), size, hosts=1)
    other = run_group(
        make_spec(tmp_path / "other", optimizer=Component("own", function=Function.ship(derived)), **job), size, hosts=1
    )
    assert one.of(events.Done)[0].digest == other.of(events.Done)[0].digest
    ends = [[(end.training, end.validation) for end in outcome.of(events.EpochEnd)] for outcome in (one, other)]
    assert ends[0] == ends[1]


def test_a_worker_that_dies_in_the_middle_of_its_update_leaves_a_checkpoint_to_go_on_from(tmp_path: Any) -> None:
    job = {"optimizer": SGD, "epochs": 3, "every_steps": 4, "every_epochs": 1}
    spec = make_spec(tmp_path, counts=(90, 57), network="dies_in_its_update", **job)
    dead = run_group(spec, 3, hosts=1)
    assert dead.returncodes[1] == -9 and not dead.of(events.Done)
    network = replace(spec.training, network=make_spec(tmp_path / "mlp", network="mlp").training.network)
    resumed = run_group(replace(spec, training=network, restore=dead.restore(8)), 3, hosts=1)
    undisturbed = run_group(make_spec(tmp_path / "whole", counts=(90, 57), network="mlp", **job), 3, hosts=1)
    assert resumed.of(events.Started)[0].step == 8
    assert resumed.of(events.Done)[0].digest == undisturbed.of(events.Done)[0].digest


def test_code_of_the_users_that_writes_to_shared_values_is_told_so(tmp_path: Any) -> None:
    spec = make_spec(tmp_path, network="kept", loss="role_jobs:clipping")
    (raised, *_) = run_group(spec, 2, hosts=1).of(events.Raised)
    assert raised.who == "training" and "sets the values of a parameter, which all" in raised.message
