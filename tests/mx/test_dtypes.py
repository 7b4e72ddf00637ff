"""One list of element types: each goes the whole way, every other is refused with one message."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
from alone import Alone
from mxnet.gluon import nn
from role_harness import make_spec

from mxspark.data import columns
from mxspark.data.convert import Target
from mxspark.data.dtypes import DTYPES, refusal
from mxspark.data.spool import ColumnSpec
from mxspark.errors import ConfigError
from mxspark.mx.loop.gluon import GluonTrainable
from mxspark.mx.model.export import load_model

ROWS = 12
VALUES = (np.arange(ROWS * 4) % 5).reshape(ROWS, 4)


class Cast(nn.HybridSequential):
    """Takes whatever it is given as float32."""

    def hybrid_forward(self, F, x, *args):
        return super().hybrid_forward(F, F.cast(x, "float32"), *args)


def cast():
    net = Cast()
    net.add(nn.Dense(3))
    return net


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_is_accepted_spooled_trained_on_and_exported(tmp_path, dtype):
    converted = Target(dtype, 1.0, None, label=False).convert(VALUES.astype(np.float64))
    assert converted is not None and converted.values.dtype == dtype
    arrays = {"pixels": converted.values, "digit": (np.arange(ROWS) % 3).astype(dtype)}
    spec = make_spec(tmp_path, counts=(ROWS,), arrays=arrays, batch_size=4, network=cast, epochs=1)
    assert not columns.check((*spec.features, *spec.labels), None)
    trained = GluonTrainable(spec, Alone())
    trained.broadcast()
    before = trained.digest()
    for batch in trained.batches(range(1), 0):
        assert batch.inputs[0].dtype == np.dtype(dtype) and batch.labels[0].dtype == np.dtype(dtype)
        trained.step(batch)
    trained.settle()
    assert trained.done == 3 and trained.digest() != before
    trained.gather()
    assert 0 <= trained.end_epoch(lambda _doing: None)["training"]["accuracy"] <= 1
    trained.write_model(str(tmp_path / "model"), "model", 3, 1)
    outputs = load_model(str(tmp_path / "model"))(mx.nd.array(converted.values, dtype=dtype))
    assert outputs.shape == (ROWS, 3) and np.isfinite(outputs.asnumpy()).all()


@pytest.mark.parametrize(
    "dtype", ["bool", "uint16", "uint32", "uint64", "int16", "bfloat16", "complex64", "object", "O"]
)
def test_every_other_is_refused_with_one_message(tmp_path, dtype):
    reason = refusal(dtype)
    assert reason is not None and reason.startswith(f"dtype '{dtype}' cannot be trained on; ")
    assert columns.check([ColumnSpec("x", ("x",), None, dtype)], None) == [f"array 'x': {reason}"]
    with pytest.raises(ConfigError) as caught:
        make_spec(tmp_path, arrays={"pixels": VALUES, "digit": VALUES[:, 0]}, counts=(ROWS,), dtype=dtype)
    assert reason in str(caught.value)
