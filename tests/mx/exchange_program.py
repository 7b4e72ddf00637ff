"""A worker that only talks to the exchange; prints what came of it as JSON."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys

from mxspark.mx.runtime.importing import import_mxnet

mx = import_mxnet()

import numpy as np  # noqa: E402
from mxnet import gluon  # noqa: E402

from mxspark.errors import InternalError, TrainingCodeError  # noqa: E402
from mxspark.job.spec import Component  # noqa: E402
from mxspark.mx.exchange.hierarchical import HierarchicalExchange  # noqa: E402
from mxspark.mx.exchange.kvstore import KVStoreExchange  # noqa: E402
from mxspark.mx.state.optimizer import Updater  # noqa: E402
from mxspark.protocol import codec  # noqa: E402
from mxspark.protocol.specs import INHERITED, Inherited  # noqa: E402

faulthandler.register(signal.SIGUSR1)
RANK, SIZE = int(os.environ["TEST_RANK"]), int(os.environ["TEST_SIZE"])


def parameter(name, value, **options):
    made = gluon.Parameter(name, shape=np.shape(value), **options)
    made.initialize(mx.init.Constant(mx.nd.array(value)), ctx=mx.cpu())
    return made


def refused(call):
    try:
        call()
    except (InternalError, TrainingCodeError) as error:
        return str(error)
    return "nothing was raised"


class Still(Updater):
    """Leaves values as they are, by all that their types tell."""

    def __init__(self, parameters):
        super().__init__(Component("sgd", {"learning_rate": 1e-30}), None, parameters)


def make():
    if INHERITED in os.environ:
        given = codec.decode(Inherited, json.loads(os.environ[INHERITED]))
        return HierarchicalExchange(RANK, SIZE, given, has_store="DMLC_ROLE" in os.environ)
    return KVStoreExchange(RANK, SIZE)


def main():
    said = {"wrong rank": None}
    exchange = make()
    weight = parameter("weight", np.full((3, 2), 10.0 + RANK))
    half = parameter("half", np.full((2,), 1.5 + RANK), dtype="float16")
    mean = parameter("mean", [1.0 + RANK], grad_req="null")
    big = parameter("big", np.full((1100, 1000), 1.0 + RANK))
    sparse = parameter("sparse", [[1.0]], grad_stype="row_sparse")
    said["sparse"] = refused(lambda: exchange.begin([weight, sparse], Still([weight, sparse])))
    exchange.begin([weight, half, mean, big], Still([weight, half, mean, big]))
    said["broadcast"] = [p.data().asnumpy().ravel()[0].item() for p in (weight, half, mean, big)]
    weight.grad()[:] = 2.0**RANK
    half.grad()[:] = 0.5
    big.grad()[:] = RANK + 1
    sums = exchange.step(1)
    said["gradients"] = [sorted({float(x) for x in total.asnumpy().ravel()}) for total in sums]
    weight.grad()[:] = 2.0
    sums = exchange.step(1)
    said["again"] = sums[0].asnumpy().ravel()[0].item()
    mean.data()[:] = RANK
    exchange.average([mean])
    said["mean"] = mean.data().asnumpy().tolist()
    vector = np.array([[1e16, 1.0, 0.1], [1.0, 1e16, 0.2], [-1e16, -1e16, 0.3]])[RANK % 3]
    said["sum"] = exchange.sum(vector).tolist()
    said["long"] = (
        exchange.sum(np.arange(1000.0) * (RANK + 1)).tolist() == (np.arange(1000.0) * sum(range(1, SIZE + 1))).tolist()
    )
    said["same"] = refused(lambda: exchange.agree("ab" * 32, "here"))
    said["differ"] = refused(lambda: exchange.agree(("0" if RANK == 1 else "f") + "a" * 63, "before the first step"))
    print(json.dumps(said), flush=True)
    exchange.close()
    sys.stdout.flush()
    os._exit(0)


def wrong_rank():
    print(json.dumps(refused(lambda: KVStoreExchange(SIZE - 1 - RANK, SIZE))), flush=True)
    os._exit(3)
