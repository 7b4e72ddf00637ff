"""The exported model: plain MXNet reads it where mxspark cannot be imported, and training is not disturbed by it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from mxnet.gluon import nn

import mxspark
from mxspark.data.dataset import DataSet
from mxspark.data.plan import Plan
from mxspark.data.spool import ColumnSpec, Spool
from mxspark.errors import TrainingCodeError
from mxspark.job.spec import BestBy, CheckpointSpec, Component, Function, TrainingSpec, WorkerSpec
from mxspark.mx.model.export import stage_model, trace
from mxspark.mx.state import checkpoint_files
from mxspark.mx.state.optimizer import Updater

READER = """
import sys, json
sys.modules["mxspark"] = None
try:
    import mxspark
except ImportError:
    pass
else:
    sys.exit("mxspark can be imported here")
import numpy
numpy.bool = bool
import mxnet as mx
for folder in sys.argv[1:]:
    names = [each["name"] for each in json.load(open(folder + "/signature.json"))["inputs"]]
    given = numpy.load(folder + "-given.npz")
    arrays = [mx.nd.array(given[name], dtype=given[name].dtype) for name in names]
    block = mx.gluon.SymbolBlock.imports(folder + "/model-symbol.json", names, folder + "/model-0000.params")
    out = block(*arrays)
    gluon = [o.asnumpy() for o in (out if isinstance(out, list) else [out])]
    symbol, arguments, auxiliary = mx.model.load_checkpoint(folder + "/model", 0)
    module = mx.mod.Module(symbol, data_names=names, label_names=None)
    module.bind([(name, array.shape) for name, array in zip(names, arrays)], for_training=False)
    module.set_params(arguments, auxiliary)
    module.forward(mx.io.DataBatch(arrays), is_train=False)
    numpy.savez(folder + "-found.npz", *gluon, *[o.asnumpy() for o in module.get_outputs()])
"""


class TwoIn(gluon.HybridBlock):  # type: ignore[misc]
    """Two inputs, two outputs, a constant."""

    def __init__(self) -> None:
        super().__init__()
        with self.name_scope():
            self.image, self.number, self.out = nn.Conv2D(3, 3), nn.Dense(4), nn.Dense(2)
            self.shift = self.params.get_constant("shift", mx.nd.array([[1.0, 2.0]]))

    def hybrid_forward(self, F: Any, image: Any, number: Any, shift: Any) -> Any:
        """Return scores and a feature map."""
        seen = self.image(image)
        return F.broadcast_add(self.out(F.concat(seen.flatten(), self.number(number), dim=1)), shift), seen


def one_in() -> Any:
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3), nn.BatchNorm(), nn.Activation("relu"), nn.Dropout(0.3), nn.Dense(5))
    return net


IMAGE = ColumnSpec("pixels", ("pixels",), (1, 8, 8), "float32", scale=0.0625)
NUMBERS = ColumnSpec("sizes", ("width", "height"), (2,), "float32")
LABEL = ColumnSpec("digit", ("digit",), (), "int32", classes=5)


BY_LOSS = BestBy("loss", "validation", "min")


def spec(features: tuple[ColumnSpec, ...]) -> WorkerSpec:
    loss = Component("softmax_cross_entropy", {"axis": -1})
    training = TrainingSpec(
        Function("n", path="m:n"), loss, Component("adam"), None, Component("default"), (), BY_LOSS, 3, 7
    )
    return WorkerSpec(
        run_id="r",
        size=1,
        features=features,
        labels=(LABEL,),
        training_data=DataSet(Spool(0, (), (), "/nowhere"), Plan(rows_in_all=0, batch_size=4, seed=7)),
        validation_data=None,
        training=training,
        checkpoint=CheckpointSpec(1, None),
        restore=None,
        staging="/nowhere",
        exchange="kvstore",
    )


def batch(features: tuple[ColumnSpec, ...], rows: int, seed: int = 0) -> list[Any]:
    rng = np.random.RandomState(seed)
    return [rng.randn(rows, *(feature.shape or ())).astype(feature.dtype) for feature in features]


CASES = {"one input": (one_in, (IMAGE,)), "two inputs": (TwoIn, (IMAGE, NUMBERS))}


def trainer(make: Any, features: tuple[ColumnSpec, ...], hybrid: bool = True) -> Any:
    """Return a network and a function that trains it by some steps."""
    mx.random.seed(3)
    net = make()
    net.initialize()
    if hybrid:
        net.hybridize(static_alloc=True, static_shape=True)
    inputs, labels = [mx.nd.array(each) for each in batch(features, 8)], mx.nd.array(np.arange(8) % 2)
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    with autograd.record():
        net(*inputs)
    updater = Updater(Component("adam", {"learning_rate": 0.01}), None, list(net.collect_params().values()))

    def train(steps: int) -> None:
        for _ in range(steps):
            with autograd.record():
                out = net(*inputs)
                value = loss(out[0] if isinstance(out, (list, tuple)) else out, labels)
            value.backward()
            updater.update(8)

    return net, train


def test_plain_mxnet_reads_it_without_mxspark_and_gives_the_same_numbers(tmp_path: Path) -> None:
    expected: dict[str, list[Any]] = {}
    for case, (make, features) in CASES.items():
        for hybrid in (True, False):
            folder = str(tmp_path / f"{case}-{hybrid}")
            net, train = trainer(make, features, hybrid)
            train(5)
            stage_model(folder, net, spec(features), "model", step=5, epoch=2)
            given, names = batch(features, 3, seed=1), ["data"] if len(features) == 1 else ["data0", "data1"]
            np.savez(folder + "-given.npz", **dict(zip(names, given)))
            out = net(*(mx.nd.array(each) for each in given))
            expected[folder] = [each.asnumpy() for each in (out if isinstance(out, (list, tuple)) else [out])]
    command = [sys.executable, "-I", "-W", "ignore", "-c", READER, *expected]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for folder, wanted in expected.items():
        with np.load(folder + "-found.npz") as found:
            assert len(found.files) == 2 * len(wanted), "once by SymbolBlock, once by Module"
            for place, name in enumerate(found.files):
                np.testing.assert_allclose(found[name], wanted[place % len(wanted)], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_training_goes_on_with_the_same_bits(tmp_path: Path, case: str) -> None:
    digests = []
    for export in (False, True):
        net, train = trainer(*CASES[case])
        train(3)
        if export:
            stage_model(str(tmp_path / "model"), net, spec(CASES[case][1]), "best", step=3, epoch=1)
        train(3)
        digests.append(checkpoint_files.digest(net._collect_params_with_prefix()))
    assert digests[0] == digests[1]


def test_the_signature_says_what_goes_in_and_what_comes_out(tmp_path: Path) -> None:
    net, _ = trainer(*CASES["two inputs"])
    staged = stage_model(str(tmp_path / "model"), net, spec((IMAGE, NUMBERS)), "best", step=12, epoch=2)
    assert (staged.kind, staged.step, staged.epoch) == ("best", 12, 2)
    assert [file.name for file in staged.files] == ["model-0000.params", "model-symbol.json", "signature.json"]
    assert staged.files == checkpoint_files.staged("best", staged.path, 12, 2, {}).files
    signature = json.loads((tmp_path / "model" / "signature.json").read_text())
    outputs = signature.pop("outputs")
    assert [(each["shape"], each["dtype"]) for each in outputs] == [
        ([None, 2], "float32"),
        ([None, 3, 6, 6], "float32"),
    ]
    symbol = mx.sym.load(str(tmp_path / "model" / "model-symbol.json"))
    assert [each["name"] for each in outputs] == symbol.list_outputs()
    assert signature == {
        "format": 1,
        "kind": "best",
        "step": 12,
        "epoch": 2,
        "inputs": [
            {
                "name": "data0",
                "array": "pixels",
                "columns": ["pixels"],
                "shape": [None, 1, 8, 8],
                "dtype": "float32",
                "scale": 0.0625,
            },
            {
                "name": "data1",
                "array": "sizes",
                "columns": ["width", "height"],
                "shape": [None, 2],
                "dtype": "float32",
                "scale": 1.0,
            },
        ],
        "labels": [
            {"array": "digit", "columns": ["digit"], "shape": [None], "dtype": "int32", "scale": 1.0, "classes": 5}
        ],
        "loss": {"name": "softmax_cross_entropy", "options": {"axis": -1}},
        "mxspark": mxspark.__version__,
        "mxnet": mx.__version__,
    }


def test_the_graph_is_that_of_mxnets_own_export(tmp_path: Path) -> None:
    net, train = trainer(*CASES["one input"])
    train(2)
    stage_model(str(tmp_path / "ours"), net, spec((IMAGE,)), "model", step=2, epoch=1)
    net.export(str(tmp_path / "theirs"))
    ours = mx.nd.load(str(tmp_path / "ours" / "model-0000.params"))
    theirs = mx.nd.load(str(tmp_path / "theirs-0000.params"))
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        np.testing.assert_array_equal(array.asnumpy(), theirs[name].asnumpy())
    graphs = [mx.sym.load(str(tmp_path / name)) for name in ("ours/model-symbol.json", "theirs-symbol.json")]
    assert graphs[0].list_inputs() == graphs[1].list_inputs()


class Dynamic(gluon.HybridBlock):  # type: ignore[misc]
    """Looks at the shape of its input."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Return the input as a matrix."""
        return x.reshape((x.shape[0], -1))


def test_a_network_that_is_no_graph_is_refused() -> None:
    with pytest.raises(TrainingCodeError, match=r"cannot be exported: tracing it without data raised .*: .* use F"):
        trace(Dynamic(), 1)


@pytest.mark.parametrize("name", ["lenet", "mlp"])
def test_the_networks_of_spark_jobs(name: str) -> None:
    from spark_jobs import networks

    net = getattr(networks, name)()
    net.initialize()
    assert net(mx.nd.zeros((2, 1, 8, 8))).shape == (2, 10)
    if name == "lenet":
        wide = networks.lenet(classes=3)
        wide.initialize()
        assert wide(mx.nd.zeros((2, 3, 28, 28))).shape == (2, 3)


def test_the_driver_finds_the_networks_without_mxnet() -> None:
    code = "import sys, spark_jobs.networks as n; n.lenet, n.mlp; print('mxnet' in sys.modules)"
    root = Path(mxspark.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout == "False\n"
