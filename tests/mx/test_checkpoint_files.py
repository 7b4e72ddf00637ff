"""Checkpoint content: what is written comes back bit for bit, and what must not be written is not."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Callable

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from mxnet.gluon import nn

from mxspark.errors import InputError, TrainingCodeError
from mxspark.job.spec import Component
from mxspark.mx.runtime.attribution import Blamed
from mxspark.mx.state import checkpoint_files
from mxspark.mx.state.checkpoint_writer import CheckpointWriter
from mxspark.mx.state.optimizer import Updater
from mxspark.protocol import events

META = {
    "step": 4,
    "epoch": 1,
    "step_in_epoch": 2,
    "seed": 7,
    "best": {"value": None, "epoch": None},
    "sums": ["0x1p-3"],
}
X = mx.nd.array(np.random.RandomState(0).randn(8, 1, 8, 8))
Y = mx.nd.array(np.arange(8) % 3)


def network(units: int = 6, dtype: str = "float32", extra: bool = False) -> Any:
    mx.random.seed(1)
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3), nn.BatchNorm(), nn.Dense(units), nn.Dense(3))
    if extra:
        net.add(nn.Dense(3))
    net.initialize()
    net.cast(dtype)
    net.hybridize()
    with autograd.record():
        net(X.astype(dtype))
    return net


def params(net: Any) -> dict[str, gluon.Parameter]:
    found: dict[str, gluon.Parameter] = net._collect_params_with_prefix()
    return found


def train(net: Any, updater: Updater, steps: int) -> None:
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    for _ in range(steps):
        with autograd.record():
            value = loss(net(X), Y)
        value.backward()
        updater.update(len(X))


def updater_of(net: Any, name: str = "adam") -> Updater:
    return Updater(Component(name), Component("factor", {"step": 2, "factor": 0.5}), list(params(net).values()))


def stage(tmp_path: Path, given: dict[str, gluon.Parameter], updater: Updater, meta: dict[str, Any]) -> events.Staged:
    return checkpoint_files.snapshot(given, updater, meta).write(str(tmp_path / "c"))


def test_a_snapshot_is_of_its_moment_whatever_is_trained_while_it_is_written(tmp_path: Path) -> None:
    net = network()
    updater = updater_of(net)
    train(net, updater, 2)
    before = checkpoint_files.digest(params(net))
    copy = checkpoint_files.snapshot(params(net), updater, META)
    train(net, updater, 3)
    staged = copy.write(str(tmp_path / "c"))
    other = network()
    again = updater_of(other)
    checkpoint_files.apply(checkpoint_files.restore_checkpoint(staged.path), params(other), again)
    assert checkpoint_files.digest(params(other)) == before != checkpoint_files.digest(params(net))
    train(other, again, 3)
    assert checkpoint_files.digest(params(other)) == checkpoint_files.digest(params(net))


def test_the_writer_tells_what_it_wrote_and_raises_in_the_loop_what_went_wrong(tmp_path: Path) -> None:
    net, said, beats = network(), [], []
    updater = updater_of(net)
    train(net, updater, 1)
    writer = CheckpointWriter(said.append)
    writer.begin(str(tmp_path / "a"), checkpoint_files.snapshot(params(net), updater, META))
    writer.wait(lambda: beats.append(1))
    assert [event.path for event in said] == [str(tmp_path / "a")]
    params(net)["2.bias"].data()[0] = float("nan")
    writer.begin(str(tmp_path / "b"), checkpoint_files.snapshot(params(net), updater, META))
    with pytest.raises(TrainingCodeError, match="not finite"):
        writer.wait(lambda: beats.append(1))
    with pytest.raises(TrainingCodeError, match="not finite"):
        writer.check()
    assert len(said) == 1 and not (tmp_path / "b").exists()


def test_a_full_disk_in_the_thread_is_told_as_one_in_the_loop_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    net = network()
    writer = CheckpointWriter(lambda _event: None)
    writer.begin(str(tmp_path / "file" / "below"), checkpoint_files.snapshot(params(net), updater_of(net), META))
    with pytest.raises(Blamed) as caught:
        writer.wait(lambda: None)
    assert isinstance(caught.value.error, NotADirectoryError)


@pytest.mark.parametrize("name", ["adam", "nadam", "sgd"])
def test_a_resumed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, name: str) -> None:
    net = network()
    updater = updater_of(net, name)
    train(net, updater, 4)
    staged = stage(tmp_path, params(net), updater, META)
    train(net, updater, 3)

    checkpoint = checkpoint_files.restore_checkpoint(staged.path)
    other = network()
    resumed = updater_of(other, name)
    checkpoint_files.apply(checkpoint, params(other), resumed)
    assert {key: checkpoint.state[key] for key in META} == META
    train(other, resumed, 3)
    assert checkpoint_files.digest(params(other)) == checkpoint_files.digest(params(net))
    assert "1.running_mean" in checkpoint.params and "2.weight" in checkpoint.params
    assert np.abs(checkpoint.params["1.running_mean"].asnumpy()).sum() > 0


def test_what_is_staged_is_described_exactly_and_holds_no_pickle(tmp_path: Path) -> None:
    net = network()
    updater = updater_of(net)
    train(net, updater, 1)
    staged = stage(tmp_path, params(net), updater, META)
    assert (staged.kind, staged.step, staged.epoch, staged.meta) == ("checkpoint", 4, 1, META)
    assert [file.name for file in staged.files] == ["optimizer.params", "parameters.params", "state.json"]
    for file in staged.files:
        data = (tmp_path / "c" / file.name).read_bytes()
        assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert file.name == "state.json" or data.startswith((0x112).to_bytes(8, "little")), "MXNet's own array file"
    state = json.loads((tmp_path / "c" / "state.json").read_text())
    assert state["mxnet"] == mx.__version__ and state["version"] == checkpoint_files.VERSION
    assert state["parameters"]["0.weight"] == [[4, 1, 3, 3], "float32"]
    assert state["optimizer"]["num_update"] == 1


def test_an_optimizer_without_state_writes_no_file_of_it(tmp_path: Path) -> None:
    net = network()
    updater = updater_of(net, "sgd")
    train(net, updater, 1)
    staged = stage(tmp_path, params(net), updater, META)
    assert [file.name for file in staged.files] == ["parameters.params", "state.json"]
    assert checkpoint_files.restore_checkpoint(staged.path).optimizer == {}


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (
            {"units": 5},
            r"parameter 2\.weight: the checkpoint has \(6, 144\) float32, the network \(5, 144\) float32: use",
        ),
        (
            {"dtype": "float64"},
            r"parameter 0\.weight: the checkpoint has \(4, 1, 3, 3\) float32, the network .* float64",
        ),
        ({"extra": True}, r"parameter 4\.weight: the checkpoint has no such parameter, the network \(3, 3\) float32"),
    ],
)
def test_another_network_is_refused_by_its_first_difference(tmp_path: Path, other: dict[str, Any], says: str) -> None:
    net = network()
    staged = stage(tmp_path, params(net), updater_of(net), META)
    different = network(**other)
    before = checkpoint_files.digest(params(different))
    with pytest.raises(InputError, match=says):
        checkpoint_files.apply(
            checkpoint_files.restore_checkpoint(staged.path), params(different), updater_of(different)
        )
    assert checkpoint_files.digest(params(different)) == before


def test_a_network_with_less_or_in_another_order_is_refused_too(tmp_path: Path) -> None:
    large, small = network(extra=True), network()
    staged = stage(tmp_path, params(large), updater_of(large), META)
    checkpoint = checkpoint_files.restore_checkpoint(staged.path)
    with pytest.raises(InputError, match=r"parameter 4\.weight: the checkpoint has .*, the network no such parameter"):
        checkpoint_files.apply(checkpoint, params(small), updater_of(small))
    turned = dict(reversed(list(params(large).items())))
    with pytest.raises(InputError, match="the same parameters in another order"):
        checkpoint_files.apply(checkpoint, turned, updater_of(large))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["parameter", "optimizer state"])
def test_what_is_not_finite_is_never_written(tmp_path: Path, value: float, where: str) -> None:
    net = network()
    updater = updater_of(net)
    train(net, updater, 1)
    name, array = "2.bias", params(net)["2.bias"].data()
    if where == "optimizer state":
        name, array = next(iter(updater.state()[0].items()))
    array[-1] = value
    with pytest.raises(
        TrainingCodeError, match=f"step 4 or before it: {where} {name} is not finite, at the learning rate"
    ):
        stage(tmp_path, params(net), updater, META)
    assert not (tmp_path / "c").exists()


def test_large_but_finite_values_are_written(tmp_path: Path) -> None:
    net = network()
    params(net)["2.weight"].set_data(mx.nd.full((6, 144), 3e38))
    staged = stage(tmp_path, params(net), updater_of(net), META)
    assert (mx.nd.load(f"{staged.path}/parameters.params")["2.weight"] == 3e38).asnumpy().all()


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    net = network()
    staged = stage(tmp_path, params(net), updater_of(net), META)
    path = Path(staged.path, "state.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    with pytest.raises(InputError, match="has format 99 and this version reads up to 1"):
        checkpoint_files.restore_checkpoint(staged.path)


def test_the_digest_sees_every_bit_name_shape_and_type() -> None:
    net = network()
    same, first = network(), checkpoint_files.digest(params(net))
    assert checkpoint_files.digest(params(same)) == first
    assert checkpoint_files.digest(dict(reversed(list(params(net).items())))) == first, "order does not matter"
    renamed = {("x" + name if name == "3.bias" else name): param for name, param in params(net).items()}
    halved = dict(params(net))
    del halved["3.bias"]
    weight = params(same)["2.weight"].data()
    weight[0, 0] = np.nextafter(weight[0, 0].asscalar(), np.float32(9))
    changed = [checkpoint_files.digest(p) for p in (renamed, halved, params(same), params(network(dtype="float64")))]
    assert len({first, *changed}) == 5


def calls(work: Callable[[], Any]) -> int:
    """Count the calls that Python makes in some work, those of C functions too."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("what", ["digest", "stage"])
def test_the_work_in_python_does_not_grow_with_the_values(tmp_path: Path, what: str) -> None:
    """They are copied and hashed in pieces of megabytes: two million take milliseconds, a billion no hours."""
    counts = []
    for units in (8, 1024):
        net = nn.HybridSequential()
        net.add(nn.Dense(units, in_units=784), nn.Dense(units, in_units=units), nn.Dense(10, in_units=units))
        net.initialize()
        updater = updater_of(net, "adam")
        works: dict[str, Callable[[], Any]] = {
            "digest": lambda net=net: checkpoint_files.digest(params(net)),
            "stage": lambda net=net, updater=updater: stage(tmp_path, params(net), updater, META),
        }
        works[what]()
        counts.append(calls(works[what]))
    assert counts[1] < counts[0] + 200, "1.86 million values, and 3.7 million more in the optimizer"
