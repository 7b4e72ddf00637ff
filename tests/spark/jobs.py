"""Small jobs on the handwritten digits, shared by the tests that train for real."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import mxspark
from mxspark.config.job_file import merge, read_yaml

ROOT = Path(__file__).resolve().parents[2]
DIGITS = str(ROOT / "examples/digits/digits.parquet")


#: Of a job whose subject is not that there are several: half the processor time.
ALONE: dict[str, Any] = {"num_workers": 1, "num_servers": 0}


def mlp() -> Any:
    """Return a network that does not depend on how a batch is divided."""
    from mxnet import gluon

    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dense(32, activation="relu"), gluon.nn.Dense(10))
    return net


def digits(folder: Path, **sections: dict[str, Any]) -> dict[str, Any]:
    """Return the digits job in `folder`, two epochs of an MLP with SGD, changed by `sections`."""
    job = read_yaml(str(ROOT / "conf/digits.yaml"))
    small: dict[str, Any] = {
        "job": {"dir": str(folder)},
        "data": {"path": DIGITS, "features": {"pixels": {"shape": [64]}}},
        "training": {"network": mlp, "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}, "epochs": 2},
        "failure": {"start_s": 240.0, "hang_s": 240.0},
        "report": {"progress": "off"},
    }
    job["training"]["optimizer"] = {}
    return merge(merge(job, small), sections)


def train(folder: Path, df: Any = None, validation_df: Any = None, **sections: dict[str, Any]) -> mxspark.Result:
    """Train that job."""
    return mxspark.train(df, digits(folder, **sections), validation_df=validation_df)


def parameters(result: mxspark.Result, into: Path) -> dict[str, Any]:
    """Return the hash of the trained parameters, as MXNet wrote them, and the folder they were fetched into."""
    assert result.model is not None
    folder = Path(result.model.fetch(str(into)))
    return {"sha256": hashlib.sha256((folder / "model-0000.params").read_bytes()).hexdigest(), "folder": folder}
