"""Validation rows that were trained on are found among others, and rows that are alike by chance are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spools import write_arrays

from mxspark.data import overlap
from mxspark.data.dataset import DataSet
from mxspark.data.plan import Plan

ROWS = 3000


def data(folder: Path, x: np.ndarray[Any, Any]) -> DataSet:
    parts = [{"x": half, "y": half[:, 0].astype(np.int32)} for half in np.array_split(x, 2)]
    return DataSet(write_arrays(folder, parts), Plan(rows_in_all=len(x), batch_size=10, seed=1))


@pytest.mark.parametrize(
    ("part", "width", "looked_at", "low", "high"),
    [(1.0, 3, None, 1, 1), (0.3, 3, None, 0.3, 0.3), (0.0, 3, None, 0, 0), (0.5, 3, 16 * 800, 0.35, 0.65)],
)
def test_rows_of_both_are_counted_by_all_their_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: float, width: int, looked_at: Any, low: float, high: float
) -> None:
    if looked_at is not None:  # a quarter of the training rows
        monkeypatch.setattr(overlap, "_LOOKED_AT_BYTES", looked_at)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, width)).astype(np.float32)
    other = rng.normal(size=(1000, width)).astype(np.float32)
    other[: int(part * 1000)] = rng.permutation(x)[: int(part * 1000)]
    training, validation = data(tmp_path / "one", x), data(tmp_path / "other", rng.permutation(other))
    assert low <= overlap.share_of_training(training, validation, ["x", "y"]) <= high


def test_of_flags_and_of_a_few_rows_nothing_is_known(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    flags = rng.integers(0, 2, (ROWS, 4)).astype(np.float32)
    few = rng.normal(size=(15, 4)).astype(np.float32)
    for number, rows in enumerate((flags, few)):
        one, same = data(tmp_path / f"{number}a", rows), data(tmp_path / f"{number}b", rows)
        assert overlap.share_of_training(one, same, ["x", "y"]) == 0
