"""Whose failure an exception of a worker is."""

from __future__ import annotations

import mxnet as mx
import pytest

from mxspark.errors import ClusterError, DataError, InternalError, TrainingCodeError
from mxspark.errors.kinds import KINDS
from mxspark.mx.exchange.peers import PeerGone
from mxspark.mx.runtime.attribution import Blamed, raised


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
