"""The updater: MXNet's arithmetic, and progress that resumes bit for bit."""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import replace
from typing import Any, Optional

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from mxspark.errors import InputError, InternalError, TrainingCodeError
from mxspark.job import catalog
from mxspark.job.spec import Component, Function
from mxspark.mx.state.optimizer import Updater

ROWS = 7
OPTIMIZERS = [
    *(Component(name) for name in sorted(catalog.OPTIMIZERS)),
    Component("sgd", {"momentum": 0.9, "wd": 0.01, "clip_gradient": 0.05, "learning_rate": 0.3}),
    Component("nag", {"momentum": 0.9, "wd": 0.01, "clip_gradient": 0.05, "learning_rate": 0.3}),
    Component("adam", {"wd": 0.01, "clip_gradient": 0.05, "beta1": 0.8, "epsilon": 1e-6}),
    Component("rmsprop", {"centered": True, "gamma2": 0.8, "clip_weights": 0.4}),
    Component("signum", {"momentum": 0.5, "wd_lh": 0.01}),
    Component("lamb", {"bias_correction": False, "upper_bound": 5.0, "wd": 0.01}),
    Component("lars", {"momentum": 0.9, "wd": 0.01, "eta": 0.1}),
    Component("adamax", {"wd": 0.01, "clip_gradient": 0.05}),
]
SCHEDULES: list[Optional[Component]] = [
    None,
    Component("factor", {"step": 3, "factor": 0.7}),
    Component("multifactor", {"step": [4, 9, 13], "factor": 0.5}),
    Component("poly", {"max_update": 12, "pwr": 2, "final_lr": 0.0001}),
    Component("cosine", {"max_update": 9, "final_lr": 0.0003, "warmup_steps": 3}),
]


def label(component: Optional[Component]) -> str:
    return "none" if component is None else f"{component.name}-{'-'.join(component.options)}"


def parameters(dtype: str = "float32", seed: int = 1) -> list[gluon.Parameter]:
    """Two layers' worth, more than one group of the aggregated kernels; one is frozen, two have factors."""
    shapes = [(6, 5), (6,), (4, 6), (4,), (3, 4), (3,)]
    rng = np.random.RandomState(seed)
    made = []
    for place, shape in enumerate(shapes):
        param = gluon.Parameter(f"p{place}_weight", shape=shape, dtype=dtype, wd_mult=0.5 if place == 1 else 1.0)
        param.initialize(mx.init.Constant(0))
        param.set_data(mx.nd.array(rng.randn(*shape) * 0.3, dtype=dtype))
        made.append(param)
    made[2].lr_mult = 0.3
    made[3].grad_req = "null"
    return made


def feed(params: list[gluon.Parameter], step: int) -> None:
    """Give every parameter the gradient of a step; it depends on the weights, so that an error grows."""
    rng = np.random.RandomState(1000 + step)
    for param in params:
        if param.grad_req != "null":
            noise = mx.nd.array(rng.randn(*param.shape), dtype=param.dtype)
            param.grad()[:] = noise + param.data() * 2


def run(updater: Updater, params: list[gluon.Parameter], steps: range) -> None:
    for step in steps:
        feed(params, step)
        updater.update(ROWS)


def values(params: list[gluon.Parameter]) -> list[Any]:
    return [param.data().asnumpy() for param in params]


def stock(
    component: Component, schedule: Optional[Component], params: list[gluon.Parameter], steps: int
) -> list[float]:
    """Train with gluon.Trainer alone and return the rates it had."""
    options = dict(component.options)
    if schedule is not None:
        rate = options.get("learning_rate", mx.optimizer.create(component.name).lr)
        kind = getattr(mx.lr_scheduler, catalog.SCHEDULES[schedule.name].target)
        options["lr_scheduler"] = kind(base_lr=rate, **schedule.options)
    trainer = gluon.Trainer(params, component.name, options, kvstore=None)
    rates = []
    for step in range(steps):
        feed(params, step)
        for param in params:
            if param.grad_req != "null":
                param.data()._fresh_grad = True  # what a backward pass would have set
        trainer.step(ROWS)
        rates.append(trainer.learning_rate)
    return rates


@pytest.mark.parametrize("schedule", [None, SCHEDULES[1]], ids=label)
@pytest.mark.parametrize("component", OPTIMIZERS, ids=label)
def test_agrees_with_the_stock_trainer(component: Component, schedule: Optional[Component]) -> None:
    ours, theirs = parameters(), parameters()
    start = values(ours)
    updater = Updater(component, schedule, ours)
    run(updater, ours, range(20))
    stock(component, schedule, theirs, 20)
    for place, (mine, his, first) in enumerate(zip(values(ours), values(theirs), start)):
        np.testing.assert_allclose(mine, his, rtol=2e-6, atol=2e-7)
        assert (mine != first).any() == (place != 3), "only the frozen parameter stays"
    assert updater.learning_rate == mx_rate(component, schedule)


class Clipping(mx.optimizer.SGD):
    """Clips in place, as optimizers of users do."""

    def update_multi_precision(self, indices: Any, weights: Any, grads: Any, states: Any) -> None:
        for grad in grads:
            mx.nd.clip(grad, -0.01, 0.01, out=grad)
        super().update_multi_precision(indices, weights, grads, states)


@pytest.mark.parametrize(
    "component", [*OPTIMIZERS, Component("own", function=Function.ship(lambda: Clipping()))], ids=label
)
def test_gradients_stay_as_they_are(component: Component) -> None:
    """Sums lie in memory that the workers of a host share: who changes them there changes those of the others."""
    params = parameters()
    feed(params, 0)
    before = [param.grad().asnumpy() for param in params if param.grad_req != "null"]
    Updater(component, None, params).update(ROWS)
    after = [param.grad().asnumpy() for param in params if param.grad_req != "null"]
    for was, now in zip(before, after):
        np.testing.assert_array_equal(was, now)


def mx_rate(component: Component, schedule: Optional[Component]) -> float:
    return stock(component, schedule, parameters(), 20)[-1]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=label)
@pytest.mark.parametrize("component", OPTIMIZERS, ids=label)
def test_a_restored_run_equals_the_uninterrupted_one(component: Component, schedule: Optional[Component]) -> None:
    whole, first, second = parameters(), parameters(), parameters(seed=2)
    run(Updater(component, schedule, whole), whole, range(16))
    before = Updater(component, schedule, first)
    run(before, first, range(10))
    arrays, meta = saved(before)
    for here, there in zip(second, first):
        here.set_data(there.data())
    after = Updater(component, schedule, second)
    after.restore(arrays, meta)
    assert after.learning_rate == before.learning_rate
    run(after, second, range(10, 16))
    for mine, his in zip(values(second), values(whole)):
        np.testing.assert_array_equal(mine, his)


def saved(updater: Updater) -> tuple[dict[str, mx.nd.NDArray], dict[str, Any]]:
    """Take the state as a file would hold it."""
    arrays, meta = updater.state()
    return {name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(meta))


@pytest.mark.parametrize("name", ["sgd", "nag", "adam", "lamb", "lars", "rmsprop"])
@pytest.mark.parametrize("momentum", [{}, {"momentum": 0.9}])
def test_half_precision_weights_with_full_precision_updates(name: str, momentum: dict[str, Any]) -> None:
    options = {**(momentum if "momentum" in catalog.OPTIMIZERS[name].options else {}), "multi_precision": True}
    component = Component(name, options)
    ours, theirs, again = parameters("float16"), parameters("float16"), parameters("float16", seed=2)
    updater = Updater(component, None, ours)
    run(updater, ours, range(10))
    arrays, meta = saved(updater)
    assert any(array.dtype == np.float32 for array in arrays.values())
    for here, there in zip(again, ours):
        here.set_data(there.data())
    run(updater, ours, range(10, 20))
    stock(component, None, theirs, 20)
    resumed = Updater(component, None, again)
    resumed.restore(arrays, meta)
    run(resumed, again, range(10, 20))
    for mine, his, third in zip(values(ours), values(theirs), values(again)):
        assert mine.dtype == np.float16
        np.testing.assert_allclose(mine, his, rtol=2e-3, atol=1e-4)
        np.testing.assert_array_equal(mine, third)


def test_sgd_runs_plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    kernel = mx.nd.sgd_mom_update

    def counted(*arrays: Any, **options: Any) -> Any:
        calls.append(options)
        return kernel(*arrays, **options)

    monkeypatch.setattr(mx.nd, "sgd_mom_update", counted)
    params = parameters()
    run(Updater(Component("sgd", {"momentum": 0.9}), None, params), params, range(2))
    assert len(calls) == 2 * 5


def test_adamax_leaves_a_weight_without_gradient_alone() -> None:
    (param,) = parameters()[:1]
    before = param.data().asnumpy()
    updater = Updater(Component("adamax"), None, [param])
    for _ in range(3):
        param.grad()[:] = 0
        param.grad()[0] = 1
        updater.update(1)
    np.testing.assert_array_equal(param.data().asnumpy()[1:], before[1:])
    assert (param.data().asnumpy()[0] < before[0]).all()


@pytest.mark.parametrize("schedule", [None, *SCHEDULES[1:3]], ids=label)
def test_another_learning_rate_takes_effect_on_resume(schedule: Optional[Component]) -> None:
    params = parameters()
    slow = Updater(Component("sgd", {"momentum": 0.9, "learning_rate": 0.1}), schedule, params)
    run(slow, params, range(10))
    fast = Updater(Component("sgd", {"momentum": 0.9, "learning_rate": 0.2}), schedule, params)
    fast.restore(*saved(slow))
    assert fast.learning_rate == pytest.approx(2 * slow.learning_rate)


def test_a_poly_schedule_resumed_after_its_end_stays_at_its_end() -> None:
    params = parameters()
    schedule = Component("poly", {"max_update": 5, "final_lr": 0.001})
    updater = Updater(Component("sgd"), schedule, params)
    run(updater, params, range(8))
    resumed = Updater(Component("sgd"), schedule, params)
    resumed.restore(*saved(updater))
    assert resumed.learning_rate == updater.learning_rate == pytest.approx(0.001)


def test_momentum_that_was_not_there_starts_anew(caplog: pytest.LogCaptureFixture) -> None:
    params = parameters()
    updater = Updater(Component("sgd"), None, params)
    run(updater, params, range(2))
    resumed = Updater(Component("sgd", {"momentum": 0.9}), None, params)
    with caplog.at_level(logging.WARNING):
        resumed.restore(*saved(updater))
    assert "5 arrays start anew and 0 stored ones are left out" in caplog.text
    run(resumed, params, range(2, 4))


def test_the_state_of_another_optimizer_or_shape_is_refused() -> None:
    params = parameters()
    updater = Updater(Component("adam"), None, params)
    run(updater, params, range(2))
    arrays, meta = saved(updater)
    with pytest.raises(InputError, match="made by the optimizer Adam and the job now asks for SGD: change it back"):
        Updater(Component("sgd"), None, params).restore(arrays, meta)
    arrays["2.1"] = mx.nd.zeros((1, 2))
    with pytest.raises(
        InputError, match=r"p2_weight: the checkpoint holds \(1, 2\) float32, this network needs \(4, 6\)"
    ):
        Updater(Component("adam"), None, params).restore(arrays, meta)


class Decaying(mx.optimizer.Optimizer):  # type: ignore[misc]
    """An optimizer of the user with a scalar that moves, counted by parameter."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.factor = 1.0
        self.seen: dict[int, int] = {}
        self.pair = (1, 2)

    def create_state(self, index: int, weight: Any) -> Any:
        return [mx.nd.zeros(weight.shape), (None, mx.nd.zeros((1,)))]

    def update(self, index: int, weight: Any, grad: Any, state: Any) -> None:
        self._update_count(index)
        self.factor *= 0.97
        self.seen[index] = self.seen.get(index, 0) + 1
        assert isinstance(self.pair, tuple), "restored as what it was"
        self.pair = (self.pair[1], self.pair[0] + 1)
        state[0][:] += grad * self.rescale_grad
        state[1][1][:] += 1
        weight[:] -= self._get_lr(index) * self.factor * (state[0] / state[1][1] + self.seen[index] * 0.01)


class Wave(mx.lr_scheduler.LRScheduler):  # type: ignore[misc]
    """A schedule of the user with memory."""

    def __init__(self, base_lr: float) -> None:
        super().__init__(base_lr)
        self.last = 0

    def __call__(self, num_update: int) -> float:
        if self.last < num_update:
            self.last = num_update
            self.base_lr *= 0.9
        return float(self.base_lr)


def test_an_optimizer_and_a_schedule_of_the_user_resume_too() -> None:
    component = Component("mine", {"learning_rate": 0.1}, Function.ship(Decaying))
    test_a_restored_run_equals_the_uninterrupted_one(component, Component("mine", {}, Function.ship(Wave)))
    test_a_restored_run_equals_the_uninterrupted_one(
        component, Component("mine", {}, Function.ship(lambda base_lr: lambda n: base_lr / (1 + n)))
    )


class Hoarding(Decaying):
    """Keeps what JSON cannot hold."""

    def update(self, index: int, weight: Any, grad: Any, state: Any) -> None:
        self.previous = grad
        super().update(index, weight, grad, state)


def test_what_a_checkpoint_cannot_hold_is_named() -> None:
    params = parameters()
    updater = Updater(Component("mine", function=Function.ship(Hoarding)), None, params)
    run(updater, params, range(1))
    with pytest.raises(TrainingCodeError, match="optimizer mine keeps a NDArray in its attribute 'previous'"):
        updater.state()
    with pytest.raises(TrainingCodeError, match="returned None: return an mxnet"):
        Updater(Component("mine", function=Function.ship(lambda: None)), None, params)


@pytest.mark.parametrize(
    ("rate", "told"),
    [
        ("x", "'x'"), (None, "None"), (float("nan"), "nan"), (-0.1, "-0.1"), (float("inf"), "inf"),
        (np.array([0.1, 0.2]), "numpy.ndarray"), (mx.nd.ones(1), "mxnet.ndarray.ndarray.NDArray"),
        ([0.1], "builtins.list"),
    ],
)  # fmt: skip
def test_what_is_no_learning_rate_is_told_with_its_step(rate: Any, told: str) -> None:
    def mine(step: int) -> Any:
        return 0.1 if step < 3 else rate

    params = parameters()
    shipped = replace(Function.ship(mine), label="net:mine")
    updater = Updater(Component("sgd"), Component("net:mine", function=shipped), params)
    run(updater, params, range(2))
    with pytest.raises(TrainingCodeError) as caught:
        run(updater, params, range(1))
    said = (
        f"training.schedule net:mine returned {told} for step 3: return the learning rate, a number that is 0 or more"
    )
    assert caught.value.message == said


def test_whatever_kind_of_number_a_schedule_returns_is_a_learning_rate() -> None:
    for rate in (0, 0.0, 1, np.float32(0.1), np.float64(0.1), np.int64(1)):
        params, mine = parameters(), Function.ship(lambda step, rate=rate: rate)
        updater = Updater(Component("sgd"), Component("mine", function=mine), params)
        run(updater, params, range(1))
        assert updater.learning_rate == pytest.approx(float(rate))


def test_the_schedule_of_a_users_optimizer_is_kept_and_its_scale_too() -> None:
    def make() -> Any:
        return mx.optimizer.SGD(lr_scheduler=mx.lr_scheduler.FactorScheduler(1, 0.5, base_lr=0.4), rescale_grad=2.0)

    params = parameters()[:1]
    before = params[0].data().asnumpy()
    updater = Updater(Component("mine", function=Function.ship(make)), None, params)
    params[0].grad()[:] = 1
    updater.update(4)
    np.testing.assert_allclose(params[0].data().asnumpy(), before - 0.4 * 2 / 4, rtol=1e-6)
    params[0].grad()[:] = 0
    updater.update(4)
    assert updater.learning_rate == pytest.approx(0.2)


def with_factors(factor: str, given: Any) -> Any:
    made = mx.optimizer.SGD()
    getattr(made, f"set_{factor}")(given)
    return made


@pytest.mark.parametrize(
    ("make", "factor"),
    [
        (lambda: with_factors("lr_mult", {"p0_weight": 0.0}), "lr_mult"),
        (lambda: with_factors("lr_mult", {0: 0.0}), "lr_mult"),
        (lambda: with_factors("wd_mult", {"p0_weight": 0.0}), "wd_mult"),
        (lambda: mx.optimizer.SGD(param_idx2name={0: "p0_bias"}), "wd_mult"),
    ],
)
def test_factors_that_would_have_no_effect_are_refused(make: Any, factor: str) -> None:
    says = rf"has the factors {factor} .*: set these in the network's function, net\[0\].weight.{factor} = 0.1"
    with pytest.raises(TrainingCodeError, match=says):
        Updater(Component("mine", function=Function.ship(make)), None, parameters())
    Updater(Component("mine", function=Function.ship(lambda: with_factors(factor, {}))), None, parameters())


def test_a_schedule_beside_that_of_the_optimizer_is_refused() -> None:
    make = Function.ship(lambda: mx.optimizer.SGD(lr_scheduler=mx.lr_scheduler.FactorScheduler(1)))
    with pytest.raises(
        InputError, match=r"schedule is factor, and training\.optimizer brings a FactorScheduler of its"
    ):
        Updater(Component("mine", function=make), SCHEDULES[1], parameters())


def test_nothing_is_divided_by_no_rows() -> None:
    with pytest.raises(InternalError, match="over 0 rows"):
        Updater(Component("sgd"), None, parameters()).update(0)


def test_a_fresh_updater_has_an_empty_state_that_can_be_restored() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        params = parameters()
        arrays, meta = saved(Updater(Component("adam"), None, params))
        assert arrays == {}
        other = Updater(Component("adam"), None, params)
        other.restore(arrays, meta)
        run(other, params, range(1))
