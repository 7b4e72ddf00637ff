"""Components built in the worker; and the driver's tables of names held against MXNet itself."""

from __future__ import annotations

import inspect
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from mxspark.errors import InputError, TrainingCodeError
from mxspark.job import catalog
from mxspark.job.spec import BestBy, Component, Function, TrainingSpec
from mxspark.mx.model import components

MODULES = {"loss": gluon.loss, "optimizer": mx.optimizer, "schedule": mx.lr_scheduler, "initializer": mx.init}
NAMED = [(kind, name) for kind in MODULES for name in catalog.TABLES[kind]]


def option(kind: catalog.Option) -> Any:
    if kind.choices:
        return kind.choices[-1]
    return {"number": 0.5, "integer": 30, "boolean": True, "integers": [2, 5]}[kind.kind]


def needed(known: catalog.Known) -> dict[str, Any]:
    return {key: option(kind) for key, kind in known.options.items() if kind.required}


@pytest.mark.parametrize(("kind", "name"), NAMED)
def test_mxnet_takes_every_option_of_the_tables_and_no_other(kind: str, name: str) -> None:
    known = catalog.TABLES[kind][name]
    target = getattr(MODULES[kind], known.target)
    for key, each in known.options.items():
        extra = {"base_lr": 1.0} if kind == "schedule" else {}
        made = target(**{**needed(known), **extra, key: option(each)})
        if kind == "optimizer":
            attribute = {"learning_rate": "learning_rate", "eps": "eps" if name == "lars" else "float_stable_eps"}
            assert getattr(made, attribute.get(key, key)) == option(each), "an option that is dropped is no option"
    with pytest.raises(TypeError, match="unexpected keyword argument 'no_such_option'"):
        target(**needed(known), no_such_option=1)


def row_loss(pred: Any, label: Any) -> Any:
    return (pred - label).abs().sum(axis=1)


def make_row_loss() -> Any:
    return row_loss


def test_the_tables_miss_nothing_that_mxnet_has_by_accident() -> None:
    have = {kind.__name__ for kind in mx.optimizer.Optimizer.opt_registry.values()}
    left_out = {"SGLD", "DCASGD", "LBSGD", "ccSGD", "Test", "GroupAdaGrad"}
    assert {known.target for known in catalog.OPTIMIZERS.values()} == {name for name in have if name not in left_out}
    schedules = {name for name, kind in vars(mx.lr_scheduler).items() if inspect.isclass(kind)} - {"LRScheduler"}
    assert {known.target for known in catalog.SCHEDULES.values()} == schedules


LABELS = {"softmax_cross_entropy": np.array([1, 0, 2, 1]), "kl_div": np.full((4, 3), 0.25)}


@pytest.mark.parametrize("name", sorted(set(catalog.LOSSES) - {"ctc"}))
@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("hybrid", [False, True])
def test_every_loss_gives_one_value_a_row_whatever_the_dtype_of_the_label(name: str, dtype: str, hybrid: bool) -> None:
    rng = np.random.RandomState(0)
    pred = mx.nd.array(rng.randn(4, 3))
    label = mx.nd.array(LABELS.get(name, rng.randint(0, 2, (4, 3))), dtype=dtype)
    loss = components.build_loss(Component(name))
    if hybrid:
        loss.hybridize(static_alloc=True, static_shape=True)  # type: ignore[attr-defined]
    pred.attach_grad()
    with mx.autograd.record():
        value = loss(pred, label)
    value.backward()
    assert value.shape == (4,) and value.dtype == np.float32
    stock = getattr(gluon.loss, catalog.LOSSES[name].target)()
    np.testing.assert_array_equal(value.asnumpy(), stock(pred, label.astype("float32")).asnumpy())
    if name != "kl_div":
        assert np.abs(pred.grad.asnumpy()).sum() > 0


def test_ctc_gives_one_value_a_row() -> None:
    loss = components.build_loss(Component("ctc", {"weight": 2.0}))
    assert loss(mx.nd.ones((2, 20, 4)), mx.nd.array([[1, 0, -1, -1], [2, 1, 1, -1]])).shape == (2,)


def test_loss_options_reach_mxnet() -> None:
    pred, label = mx.nd.array([[3.0]]), mx.nd.array([[0.0]])
    assert components.build_loss(Component("l1", {"weight": 2.0}))(pred, label).asscalar() == 6.0
    assert components.build_loss(Component("huber", {"rho": 2.0}))(pred, label).asscalar() == 2.0


@pytest.mark.parametrize("given", [row_loss, make_row_loss, gluon.loss.L1Loss, gluon.loss.L1Loss()])
def test_a_loss_of_the_user(given: Any) -> None:
    function = Function("mine", pickle=Function.ship(given).pickle) if callable(given) else given
    loss = components.build_loss(Component("mine", function=function))
    assert loss(mx.nd.ones((4, 2)), mx.nd.zeros((4, 2))).shape == (4,)


def test_a_loss_by_dotted_path() -> None:
    component = Component("mine", function=Function("L1", path="mxnet.gluon.loss:L1Loss"))
    assert isinstance(components.build_loss(component), gluon.loss.L1Loss)


def spec(network: Any) -> TrainingSpec:
    default = Component("default")
    return TrainingSpec(
        Function.ship(network), default, default, None, default, (), BestBy("loss", "validation", "min"), 1, 0
    )


class OldNet(gluon.Block):  # type: ignore[misc]
    """A network that cannot be a graph."""


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (lambda: None, r"returned None where a gluon HybridBlock is needed: end the function with `return net`"),
        (lambda: gluon.nn.Dense, r"returned the class Dense itself .*: return an instance"),
        (lambda: OldNet(), r"OldNet where a gluon HybridBlock is needed: derive it from gluon\.HybridBlock"),
        (lambda: mx.sym.var("data"), r"mxnet\.symbol\.symbol\.Symbol .*SymbolBlock"),
        (lambda: 3, r"returned builtins\.int where"),
    ],
)
def test_what_is_no_network_is_named(network: Any, says: str) -> None:
    with pytest.raises(TrainingCodeError, match=says):
        components.build_network(spec(network))


def test_a_network_and_an_exception_of_the_users_pass_through() -> None:
    assert isinstance(components.build_network(spec(lambda: gluon.nn.Dense(3))), gluon.nn.Dense)

    def broken() -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        components.build_network(spec(broken))


@pytest.mark.parametrize("name", sorted(catalog.INITIALIZERS))
def test_every_initializer_fills_a_weight(name: str) -> None:
    made = components.build_initializer(Component(name, needed(catalog.INITIALIZERS[name])))
    net = gluon.nn.Conv2D(4, 3, in_channels=2)
    net.initialize(made)
    values = net.weight.data().asnumpy()
    assert np.isfinite(values).all() and (values.std() > 0) == (name not in ("zeros", "ones", "constant"))


@pytest.mark.parametrize("name", ["xavier", "msra_prelu", "orthogonal"])
def test_a_vector_is_filled_as_gluon_fills_it_by_default(name: str) -> None:
    drawn = []
    for init in ([], [components.build_initializer(Component(name))]):
        mx.random.seed(3)
        vector = gluon.Parameter("alpha", shape=(3,))
        vector.initialize(*init)
        drawn.append(vector.data().asnumpy())
    np.testing.assert_array_equal(*drawn)


def test_an_initializer_as_the_object_it_is() -> None:
    made = components.build_initializer(Component("mine", function=Function.ship(mx.init.Constant(3.0))))
    weight = gluon.Parameter("weight", shape=(2, 2))
    weight.initialize(made)
    np.testing.assert_array_equal(weight.data().asnumpy(), np.full((2, 2), 3.0))


def test_the_default_initializer_is_gluons() -> None:
    drawn = []
    for init in ([], [components.build_initializer(Component("default"))]):
        mx.random.seed(3)
        net = gluon.nn.Dense(4, in_units=3)
        net.initialize(*init)
        drawn.append(net.weight.data().asnumpy())
    np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize("name", sorted(catalog.SCHEDULES))
def test_every_schedule_starts_from_the_optimizers_rate(name: str) -> None:
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in needed(catalog.SCHEDULES[name]).items()}
    schedule = components.build_schedule(Component(name, options), 0.25)
    assert schedule is not None and schedule(0) == pytest.approx(0.25)


def test_a_warm_up_that_starts_above_the_rate_is_refused() -> None:
    options = {"max_update": 9, "warmup_steps": 2, "warmup_begin_lr": 0.5}
    with pytest.raises(InputError, match=r"warmup_begin_lr is 0\.5, .* learning_rate, which is 0\.25"):
        components.build_schedule(Component("cosine", options), 0.25)


def test_a_schedule_of_the_user_may_ask_for_the_base_rate() -> None:
    def halving(base_lr: float, every: int = 2) -> Any:
        return lambda updates: base_lr * 0.5 ** (updates // every)

    schedule = components.build_schedule(Component("mine", {"every": 3}, Function.ship(halving)), 0.8)
    assert schedule is not None and [schedule(n) for n in (1, 3)] == [0.8, 0.4]


@pytest.mark.parametrize(
    "given", [lambda step: 0.8 / step, mx.lr_scheduler.FactorScheduler(1, factor=0.5, base_lr=0.8)]
)
def test_a_schedule_of_the_user_may_be_the_schedule_itself(given: Any) -> None:
    schedule = components.build_schedule(Component("mine", function=Function.ship(given)), 0.8)
    assert schedule is not None and [schedule(n) for n in (1, 2)] == [0.8, 0.4]


def test_a_schedule_of_the_user_may_take_options() -> None:
    def decaying(step: int, factor: float = 0.9) -> float:
        return 0.8 * factor ** (step - 1)

    def made(every: int) -> Any:
        return lambda step: 0.8 / every

    for options, rates in (({"factor": 0.5}, [0.8, 0.4]), ({}, [0.8, 0.72])):
        schedule = components.build_schedule(Component("mine", options, Function.ship(decaying)), 0.8)
        assert schedule is not None and [schedule(n) for n in (1, 2)] == pytest.approx(rates)
    schedule = components.build_schedule(Component("mine", {"every": 2}, Function.ship(made)), 0.8)
    assert schedule is not None and schedule(5) == 0.4, "nothing is left to be the number of updates"


def test_a_schedule_that_starts_from_another_rate_is_refused() -> None:
    component = Component("mine", function=Function.ship(mx.lr_scheduler.FactorScheduler(10)))
    with pytest.raises(InputError, match=r"FactorScheduler that starts from base_lr 0\.01, .*learning_rate 0\.8: make"):
        components.build_schedule(component, 0.8)


def with_classes(count: int) -> Any:
    return lambda build: lambda classes, depth: build


@with_classes(10)
def decorated() -> None:
    """What it takes is known when it has been imported."""


def test_what_cannot_be_called_is_named_with_its_key() -> None:
    function = Function("nets:decorated", path="test_components:decorated")
    with pytest.raises(
        InputError, match=r"^training.loss: nets:decorated takes \(classes\); give a function loss\(output"
    ):
        components.load("loss", Function("nets:decorated", pickle=Function.ship(lambda classes: None).pickle))
    with pytest.raises(
        InputError, match=r"^training.network: nets:decorated takes \(classes, depth\); give a function"
    ):
        components.load("network", function)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda c: components.build_loss(c), "training.loss .* returned builtins.int: return a gluon loss"),
        (lambda c: components.build_initializer(c), "training.initializer .* returned builtins.int: return an"),
        (lambda c: components.build_schedule(c, 0.1), "training.schedule .* returned builtins.int: return an"),
    ],
)
def test_what_a_function_returned_is_named(build: Any, says: str) -> None:
    with pytest.raises(TrainingCodeError, match=says):
        build(Component("mine", function=Function.ship(lambda: 3)))


@pytest.mark.parametrize(
    ("given", "options", "refused"),
    [
        (lambda epoch: 0.1, {}, True),
        (lambda num_epochs, low=0.1: low, {}, True),
        (lambda: lambda epoch: 0.1, {}, True),
        (lambda epochs: lambda step: 0.1 / epochs, {"epochs": 2}, False),
        (lambda step: 0.1, {}, False),
    ],
)
def test_a_schedule_that_says_it_counts_epochs_is_refused(given: Any, options: Any, refused: bool) -> None:
    component = Component("mine", options, Function.ship(given))
    if not refused:
        assert components.build_schedule(component, 0.8) is not None
        return
    with pytest.raises(InputError, match="but a schedule gets the number of updates so far, counted from 1 over all"):
        components.build_schedule(component, 0.8)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (lambda step=1: 0.1 / step, "it takes the number of updates: remove the default of step"),
        (lambda base_lr: base_lr / 2, "what is called base_lr is given the optimizer's learning rate, once"),
        (lambda: 0.1, "it takes the number of updates, as \\(step\\)"),
    ],
)
def test_a_schedule_that_returns_a_rate_is_told_what_it_takes(given: Any, hint: str) -> None:
    with pytest.raises(TrainingCodeError, match=f"learning rate; .*{hint}"):
        components.build_schedule(Component("mine", function=Function.ship(given)), 0.8)


def test_a_name_the_driver_would_refuse_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'l2'"):
        components.build_loss(Component("L2Loss"))


def test_a_loss_of_gluon_is_told_from_another_by_its_options() -> None:
    made = [
        Function.ship(gluon.loss.HuberLoss(rho=rho, weight=weight)) for rho, weight in ((1, 1.0), (3, 1.0), (1, 2.0))
    ]
    assert len({function.digest for function in made}) == 3
    assert Function.ship(gluon.loss.HuberLoss(rho=3, weight=1.0)).digest == made[1].digest, "whatever its name is"
    values = [mx.nd.array([1, last]) for last in (2, 2, 3)]
    arrays = [Function.ship(lambda output, label, by=value: output * by) for value in values]
    assert [function.digest == arrays[0].digest for function in arrays] == [True, True, False]
