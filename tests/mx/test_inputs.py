"""A network that does not take its features is told so in words of the job, not in MXNet's."""

from __future__ import annotations

import re
from typing import Any

import mxnet as mx
import pytest
from mxnet import gluon, npx

from mxspark.data.spool import ColumnSpec
from mxspark.errors import InputError, TrainingCodeError
from mxspark.job.spec import BestBy, Component, Function, TrainingSpec
from mxspark.mx.model import network

NUMBERS = ("a", "b", "c")


def features(*names: str, shape: tuple[int, ...] = (), dtype: str = "float32") -> list[ColumnSpec]:
    return [ColumnSpec(name, (name,), shape, dtype) for name in names]


def prepare(build: Any, given: list[ColumnSpec], initializer: str = "zeros") -> network.Network:
    component = Component("l2")
    training = TrainingSpec(
        Function.ship(build), component, Component("sgd"), None, Component(initializer), (),
        BestBy("loss", "validation", "min"), 1, 0,
    )  # fmt: skip
    return network.prepare(training, [(4, *(spec.shape or ())) for spec in given], given)


def layers() -> Any:
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dense(4), gluon.nn.Dense(2))
    return net


class Sum(gluon.HybridBlock):  # type: ignore[misc]
    """Takes two arrays, and a third if it is there; has a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = gluon.nn.Dense(1)
        self.alpha = self.params.get("alpha", shape=(1,))

    def hybrid_forward(self, F: Any, x: Any, z: Any, mask: Any = None, *, alpha: Any) -> Any:
        """Add them."""
        return F.broadcast_mul(self.dense(x) + self.dense(z), alpha)


@pytest.mark.parametrize("build", [layers, lambda: gluon.nn.Dense(2), lambda: gluon.nn.Dense(2, use_bias=False)])
def test_a_list_of_numbers_is_offered_as_one_array(build: Any) -> None:
    advice = (
        r"takes 1 array \(x\), and data.features has 3 \(a, b, c\): write data.features: {x: {columns: \[a, b, c\]}}"
    )
    with pytest.raises(InputError, match=advice):
        prepare(build, features(*NUMBERS))
    prepare(build, [ColumnSpec("x", NUMBERS, (3,), "float32")])  # as advised


def test_more_or_fewer_arrays_than_a_network_takes() -> None:
    with pytest.raises(
        InputError, match=r"takes 1 array \(x\), and data.features has 2 \(a, b\): name as many, or let"
    ):
        prepare(layers, features("a", "b", shape=(3,)))
    with pytest.raises(InputError, match=r"takes 2 arrays \(x, z\), and data.features has 1 \(a\): name as many"):
        prepare(Sum, features("a", shape=(3,)))
    with pytest.raises(InputError, match=r"takes 2 arrays \(x, z\), and data.features has 4"):
        prepare(Sum, features("a", "b", "c", "d", shape=(3,)))
    for names in ("ab", "abc"):
        prepare(Sum, features(*names, shape=(3,)))


class Rating(gluon.HybridBlock):  # type: ignore[misc]
    """Takes two arrays that nothing but their names tells apart."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = gluon.nn.Dense(1)

    def hybrid_forward(self, F: Any, user: Any, item: Any, mask: Any = None) -> Any:
        """Take their difference."""
        return self.dense(user - item)


def test_features_that_go_by_place_where_names_say_otherwise_are_refused() -> None:
    for names, taken, given in (
        (("item", "user"), "user", "item"),
        (("user", "thing", "item"), "item", "thing"),
        (("user", "mask"), "mask", "nothing"),
    ):
        says = rf"takes \(user, item, mask\), and data.features has \({', '.join(names)}\), so that {taken} would be "
        with pytest.raises(InputError, match=f"{says}given {given}: features go by place; bring both into one order"):
            prepare(Rating, features(*names, shape=(3,)))
    for good in (("user", "item"), ("user", "item", "mask"), ("a", "b"), ("user", "b")):
        prepare(Rating, features(*good, shape=(3,)))


def test_a_graph_that_is_loaded_says_by_its_names_what_it_takes() -> None:
    def build() -> Any:
        user, item = (mx.sym.var(name, dtype="float32") for name in ("user", "item"))
        return gluon.SymbolBlock(mx.sym.FullyConnected(user - item, num_hidden=1), [user, item])

    with pytest.raises(InputError, match="so that user would be given item"):
        prepare(build, features("item", "user", shape=(3,)))
    prepare(build, features("user", "item", shape=(3,)))


def test_types_that_the_network_does_not_compute_with_are_named_by_their_keys() -> None:
    for dtype in ("float64", "int32", "uint8"):
        said = rf"data.features.x is {dtype}, and its parameters are float32: set the dtype to float32, or cast"
        with pytest.raises(InputError, match=said) as caught:
            prepare(layers, features("x", shape=(3,), dtype=dtype))
        assert "MXNetError" not in str(caught.value)

    def looked_up() -> Any:
        net = gluon.nn.HybridSequential()
        net.add(gluon.nn.Embedding(10, 3), gluon.nn.Dense(1))
        return net

    def of_doubles() -> Any:
        net = layers()
        net.cast("float64")
        return net

    prepare(looked_up, features("x", shape=(3,), dtype="int64"))
    prepare(of_doubles, features("x", shape=(3,), dtype="float64"))
    with pytest.raises(InputError, match="is float32, and its parameters are float64: set the dtype to float64"):
        prepare(of_doubles, features("x", shape=(3,)))


class Headed(gluon.HybridBlock):  # type: ignore[misc]
    """A base and a head, as in fine-tuning."""

    def __init__(self, units: int, head: str) -> None:
        super().__init__(prefix="")
        self.base = gluon.nn.Dense(3, prefix="dense0_")
        self.base.collect_params().setattr("grad_req", "null")
        self.head = gluon.nn.Dense(units, prefix=head)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Return what the head makes of the base."""
        return self.head(self.base(x))


@pytest.mark.parametrize("units", [2, 3])
def test_two_parameters_of_one_name_are_no_network_without_parameters(units: int) -> None:
    with pytest.raises(
        TrainingCodeError, match=r"called dense0_weight, base.weight and head.weight, .* prefix='head_'"
    ):
        prepare(lambda: Headed(units, "dense0_"), features("x", shape=(3,)))
    made = prepare(lambda: Headed(units, "head_"), features("x", shape=(3,)))  # as advised
    assert made.trained_names == ("head.weight", "head.bias")


def test_layers_may_share_a_parameter() -> None:
    def build() -> Any:
        net = gluon.nn.HybridSequential()
        net.add(gluon.nn.Dense(3, in_units=3))
        net.add(gluon.nn.Dense(3, in_units=3, params=net[0].params), gluon.nn.Dense(1))
        return net

    assert prepare(build, features("x", shape=(3,))).trained_names[:2] == ("0.weight", "0.bias")


class OfNumpy(gluon.HybridBlock):  # type: ignore[misc]
    """Calls the numpy interface."""

    def __init__(self, operator: str) -> None:
        super().__init__()
        self.dense = gluon.nn.Dense(2)
        self._operator = operator

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Return something of it."""
        return {"np": F.np.exp, "npx": F.npx.softmax}[self._operator](self.dense(x))


@pytest.mark.parametrize("operator", ["np", "npx"])
def test_the_numpy_interface_is_refused_with_what_to_write(operator: str) -> None:
    def switched() -> Any:
        npx.set_np()
        return OfNumpy(operator)

    for build in (lambda: OfNumpy(operator), switched):
        try:
            with pytest.raises(
                TrainingCodeError, match=r"numpy interface .*: remove the call of npx.set_np\(\), and write"
            ):
                prepare(build, features("x", shape=(3,)))
        finally:
            npx.reset_np()


def test_a_vector_takes_the_default_initializer() -> None:
    made = prepare(Sum, features("a", "b", shape=(3,)), initializer="xavier")
    assert made.parameters["alpha"].data().asnumpy().any()


def test_shapes_that_do_not_fit_are_told_without_a_place_in_the_source_of_mxnet() -> None:
    with pytest.raises(
        TrainingCodeError, match=r"batches of shape \(4, 3\): .*should be 4D.*; set data.features"
    ) as told:
        prepare(lambda: gluon.nn.Conv2D(2, 3), features("x", shape=(3,)))
    assert not re.search(r"\.cc:\d+", str(told.value))
    assert isinstance(told.value.__cause__, mx.MXNetError)
