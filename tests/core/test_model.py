"""A model is a path and a way to it: copied, pickled, and used where nothing of its run is left."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from mxspark.data.signature import FORMAT, Input, Label, Loss, Output, Signature
from mxspark.errors import InputError
from mxspark.model import Model
from mxspark.protocol import codec
from mxspark.storage.local import LocalStorage
from mxspark.storage.memory import InMemoryStorage

SIGNATURE = Signature(
    format=FORMAT,
    kind="best",
    step=12,
    epoch=2,
    inputs=(Input("data", "pixels", ("a", "b"), (None, 2), "float32", 0.5),),
    outputs=(Output("dense0_fwd_output", (None, 10), "float32"),),
    labels=(Label("digit", ("digit",), (None,), "int32", 1.0, None),),
    loss=Loss("softmax_cross_entropy", {"axis": -1}),
    mxspark="0.1.0",
    mxnet="1.9.1",
)
#: As the first models have it; what reads signatures must go on reading these.
WRITTEN = """{
 "format": 1,
 "kind": "best",
 "step": 12,
 "epoch": 2,
 "inputs": [
  {
   "name": "data",
   "array": "pixels",
   "columns": [
    "a",
    "b"
   ],
   "shape": [
    null,
    2
   ],
   "dtype": "float32",
   "scale": 0.5
  }
 ],
 "outputs": [
  {
   "name": "dense0_fwd_output",
   "shape": [
    null,
    10
   ],
   "dtype": "float32"
  }
 ],
 "labels": [
  {
   "array": "digit",
   "columns": [
    "digit"
   ],
   "shape": [
    null
   ],
   "dtype": "int32",
   "scale": 1.0,
   "classes": null
  }
 ],
 "loss": {
  "name": "softmax_cross_entropy",
  "options": {
   "axis": -1
  }
 },
 "mxspark": "0.1.0",
 "mxnet": "1.9.1"
}"""


def test_the_signature_is_the_file_it_always_was(tmp_path: Path) -> None:
    SIGNATURE.write(str(tmp_path))
    assert (tmp_path / "signature.json").read_text() == WRITTEN
    assert Signature.read(str(tmp_path)) == SIGNATURE


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "holds no model that mxspark exported: .*signature.json: No such file"),
        ("{", "signature.json is damaged: .*; name another folder"),
        ("[]", "signature.json is damaged"),
        ('{"format": 1}', "signature.json is damaged"),
        (json.dumps({"format": FORMAT + 1, "mxspark": "9.9"}), r"reads up to 1: use the version .* wrote it \(9.9\)"),
    ],
)
def test_what_is_no_signature_is_said(tmp_path: Path, content: str, says: str) -> None:
    if content is not None:
        (tmp_path / "signature.json").write_text(content)
    with pytest.raises(InputError, match=says):
        Signature.read(str(tmp_path))


def test_a_model_can_be_copied_and_pickled(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "signature.json").write_text(WRITTEN)
    storage = LocalStorage()
    model = Model(storage.qualify(str(tmp_path / "model")), storage.opener())
    for number, other in enumerate((copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model)))):
        assert other == model and other.path == model.path
        for _ in range(2):
            assert Signature.read(other.fetch(str(tmp_path / f"copy{number}"))) == SIGNATURE
    assert storage.opener() is LocalStorage, "nothing of the run travels"


def test_another_process_needs_nothing_but_the_handle(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "signature.json").write_text(WRITTEN)
    (tmp_path / "handle").write_bytes(pickle.dumps(Model(str(tmp_path / "model"))))
    code = (
        "import pickle, sys; model = pickle.load(open(sys.argv[1], 'rb')); model.fetch(sys.argv[2]); "
        "print([name for name in ('pyspark', 'mxnet') if name in sys.modules])"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "handle"), str(tmp_path / "there")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
    assert Signature.read(str(tmp_path / "there")) == SIGNATURE


def test_the_fake_storage_opens_itself(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    storage.make_folder("/job/model", parents=True)
    storage.create("/job/model/signature.json", json.dumps(codec.encode(SIGNATURE)).encode())
    assert Signature.read(Model("/job/model", storage.opener()).fetch(str(tmp_path / "m"))) == SIGNATURE
