"""Whose failure an exception of a worker is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mxnet as mx
import pytest
from mxnet import gluon

from mxspark.errors import ClusterError, DataError, InternalError, TrainingCodeError
from mxspark.errors.kinds import KINDS
from mxspark.mx.exchange.peers import PeerGone
from mxspark.mx.model import export
from mxspark.mx.runtime.attribution import Blamed, raised, whole
from mxspark.mx.state.kernels import PlainSGD

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("error", "kind", "heals"),
    [
        (ClusterError("no commit in time; look at the storage"), "role", True),
        (PeerGone("worker 1 is gone"), "role", True),
        (DataError("a row is missing; mend it"), "input", False),
        (TrainingCodeError("the loss has no number a row; return one"), "training", False),
        (mx.base.MXNetError("shapes differ"), "training", False),
        (Blamed("training", KeyError("x")), "training", False),
        (InternalError("a promise did not hold; please report it"), "internal", False),
        (ZeroDivisionError("ours"), "internal", False),
    ],
)
def test_whose_failure_it_is_says_whether_it_may_heal(error: BaseException, kind: str, heals: bool) -> None:
    said = raised(error, 3)
    assert (said.who, KINDS[said.who].heals, said.step) == (kind, heals, 3)


class Broken(gluon.HybridBlock):  # type: ignore[misc]
    """Cannot be traced, and has MXNet's frames above the user's."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Ask for what a symbol has not."""
        return x.reshape((x.shape[0], -1))


def test_a_refusal_of_ours_has_our_words_and_no_frames() -> None:
    told = raised(TrainingCodeError("the loss has no number a row; return one"), None)
    assert (told.type, told.message, told.traceback) == ("", "the loss has no number a row; return one", "")


def test_a_refusal_because_the_users_code_raised_shows_their_frames_alone() -> None:
    with pytest.raises(TrainingCodeError) as caught:
        export.trace(Broken(), 1)
    told = raised(caught.value, None)
    assert told.message.startswith("the network cannot be exported") and not told.type
    lines = told.traceback.splitlines()
    assert [line for line in lines if line.startswith("  File")] == [line for line in lines if __file__ in line]
    assert "in hybrid_forward" in told.traceback and lines[-1].startswith("AttributeError")
    assert "block.py" in whole(caught.value), "the log has them all"


def test_code_of_the_users_that_ours_and_mxnet_call_is_shown_without_them() -> None:
    def schedule(step: int) -> float:
        raise KeyError("x")

    with pytest.raises(KeyError) as caught:
        PlainSGD(lr_scheduler=schedule).update(0, *[mx.nd.ones((2,))] * 2, None)
    told = raised(Blamed("training", caught.value), 3)
    assert told.type == "KeyError" and "raise KeyError" in told.traceback
    assert "optimizer.py" in whole(caught.value) and "optimizer.py" not in told.traceback


def test_a_mistake_of_ours_has_all_frames() -> None:
    with pytest.raises(InternalError) as caught:
        raise InternalError("a promise did not hold; please report it")
    told = raised(caught.value, None)
    assert told.type.endswith("InternalError") and "Traceback" in told.traceback


def test_a_package_that_is_not_there_is_told_with_where_to_put_it() -> None:
    error = ModuleNotFoundError("No module named 'torch'", name="torch")
    told = raised(Blamed("training", error), 3).message
    assert told.startswith(f"No module named 'torch'; workers run in {sys.prefix}: install it there")
    assert "--requirements FILE" in told and "--py-files" in told
    assert raised(error, None).message == "No module named 'torch'", "of what we import ourselves it would not help"


def test_a_session_that_cannot_be_made_is_told_as_that(tmp_path: Path) -> None:
    """In a worker, Spark is nowhere, and pyspark says `SystemExit: -1` or that there is no such file."""
    (tmp_path / "common.py").write_text(
        "from pyspark.sql import SparkSession\n\nspark = SparkSession.builder.getOrCreate()\n"
    )
    # in a process of its own: in this one there may be a session, which would be given
    code = (
        "import json, runpy; from mxspark.mx.runtime.attribution import *\n"
        "try:\n    with training_code():\n        runpy.run_path('common.py')\n"
        "except Blamed as error:\n    told = raised(error, None)\n"
        "    print(json.dumps([told.who, told.type, told.message, told.traceback]))"
    )
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "SPARK_HOME": str(tmp_path), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    who, kind, message, trace = json.loads(done.stdout.splitlines()[-1])
    assert (who, kind) == ("training", "")
    assert message.startswith(("common.py", f"{tmp_path}/common.py")) and ", line 3, makes a Spark session" in message
    assert "and a worker has no Spark" in message
    assert "spark = SparkSession.builder.getOrCreate()" in trace and "java_gateway" not in trace


class Joined(gluon.HybridBlock):  # type: ignore[misc]
    """A BatchNorm directly behind a concatenation of three."""

    def __init__(self) -> None:
        super().__init__()
        with self.name_scope():
            self.norm = gluon.nn.BatchNorm()

    def hybrid_forward(self, F: Any, *parts: Any) -> Any:
        return self.norm(F.concat(*parts, dim=1))


def test_a_mistake_of_onednn_is_told_with_the_way_round_it() -> None:
    net = Joined()
    net.initialize()
    with pytest.raises(mx.MXNetError) as caught:
        with mx.autograd.record():
            made = net(*(mx.nd.ones((9, width)) for width in (1, 8, 6)))
        made.backward()
        mx.nd.waitall()
    told = raised(caught.value, None).message
    assert told.startswith("Check failed: !is_view; oneDNN in MXNet fails where"), told
    assert 'set cluster.environment: {MXNET_MKLDNN_ENABLED: "0"}, or put another layer between' in told


def test_words_of_mxnet_come_without_their_place_in_its_source() -> None:
    text = "Error in operator fc: [06:15:00] ../src/io/../operator/elemwise.h:134: Check failed: expected float64"
    assert raised(mx.base.MXNetError(text), None).message == "Error in operator fc: Check failed: expected float64"
