"""Tasks that append to a few files: one after the other, at once, killed, failed; and what is said of all of them."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spools
from hypothesis import given
from hypothesis import strategies as st

from mxspark.config import resolve
from mxspark.config.job_config import JobConfig
from mxspark.data.partitions import Partitions
from mxspark.data.rows import ElementReader, RowBlock
from mxspark.data.spool import ColumnSpec, SpooledArray, SpoolReady
from mxspark.data.spool_file import SpoolFile
from mxspark.data.survey import Survey
from mxspark.errors import ClusterError
from mxspark.job.data_record import DataRecord
from mxspark.protocol import codec, commands, frames
from mxspark.protocol.specs import GroupSpec

X = ColumnSpec("x", ("x",), None, "float32")
Y = ColumnSpec("y", ("y",), None, "int32")
ROOT = Path(__file__).resolve().parents[2]


def blocks(rows: Sequence[Any]) -> list[RowBlock]:
    return list(ElementReader([X], [Y]).read(([float(row), row + 0.5], row) for row in rows))


def write(folder: Path, *parts: Sequence[Any]) -> Survey:
    return spools.write(folder, [blocks(part) for part in parts], [X], [Y])


def test_tasks_one_after_the_other_share_a_file_and_tasks_at_once_do_not(tmp_path: Path) -> None:
    survey = write(tmp_path, *([[1, 2, 3]] * 50))
    assert {part.path for part in survey.ready} == {str(tmp_path / "000.rows")}
    with SpoolFile(tmp_path) as one, SpoolFile(tmp_path) as two, SpoolFile(tmp_path) as three:
        names = [file.path.name for file in (one, two, three)]
    assert names == ["000.rows", "001.rows", "002.rows"]
    with SpoolFile(tmp_path) as again:
        assert again.path.name == "000.rows"


KILLED = """
import os, signal, sys
from pathlib import Path
from mxspark.data.spool_file import SpoolFile
file = SpoolFile(Path(sys.argv[1]))
file.begin(12)
file.reserve(12_000)
file.write(memoryview(b"z" * 1001))
file.add_facts(b"half of the fac")
print(file.path.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_task_has_left_is_nobodys(tmp_path: Path) -> None:
    before = write(tmp_path, [1, 2, 3])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    assert (killed.returncode, killed.stdout) == (-9, "000.rows\n"), "its lock goes with it"
    after = write(tmp_path, [4, 5], [], [6])
    assert {part.path for part in after.ready} == {before.ready[0].path}
    assert spools.whole(before, "y") == [1, 2, 3]
    assert spools.whole(after, "y") == [4, 5, 6]
    assert spools.whole(after, "x") == [[4.0, 4.5], [5.0, 5.5], [6.0, 6.5]]
    assert after.ready[0].first > 1000, "behind what was left"


def test_a_task_that_fails_takes_back_what_it_wrote(tmp_path: Path) -> None:
    write(tmp_path, [1, 2, 3])
    size = (tmp_path / "000.rows").stat().st_size
    with pytest.raises(ZeroDivisionError), SpoolFile(tmp_path) as file:
        file.reserve(1000)
        file.write(memoryview(b"z" * 10))
        raise ZeroDivisionError
    assert (tmp_path / "000.rows").stat().st_size == size
    assert spools.whole(write(tmp_path, [4]), "y") == [4]


def test_a_disk_that_refuses_is_a_cluster_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"the spool cannot be written: No such file .*; free or enlarge that disk"):
        SpoolFile(tmp_path / "absent")
    write(tmp_path, [1, 2, 3])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(ClusterError, match=r"the spool cannot be written: File too large \(.*000.rows\); free"):
            write(tmp_path, range(1000))
        with pytest.raises(ClusterError, match="File too large"), SpoolFile(tmp_path) as file:
            file.write(memoryview(bytes(10_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "000.rows").stat().st_size == 36, "never half of it"
    assert spools.whole(write(tmp_path, [4]), "y") == [4]


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "000.rows").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ClusterError, match="the spool cannot be written: Too many levels of symbolic links"):
        SpoolFile(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@given(rows=st.lists(st.integers(-50, 50), min_size=1, max_size=40), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_what_is_said_of_all_rows_does_not_depend_on_how_they_are_cut(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], cuts: list[int]
) -> None:
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    many = write(tmp_path_factory.mktemp("many"), *(rows[a:b] for a, b in zip(edges, edges[1:])))
    one = write(tmp_path_factory.mktemp("one"), rows)
    assert many.arrays == one.arrays
    assert many.rows == one.rows == len(rows)
    assert spools.whole(many, "y") == spools.whole(one, "y") == rows


def test_other_rows_are_told_by_array_and_by_partition(tmp_path: Path) -> None:
    def record(name: str, changed: int) -> DataRecord:
        return DataRecord.of(write(tmp_path / name, [1, 2], [3, changed], []))

    one, other = record("one", 4), record("other", 5)
    assert record("same", 4) == one
    assert [a == b for a, b in zip(one.partitions, other.partitions)] == [True, False, True]
    assert one.checksums.keys() == other.checksums.keys() == {"x", "y"}
    assert all(one.checksums[name] != other.checksums[name] for name in "xy")


def test_problems_of_thousands_of_partitions_are_kept_as_one_of_each_kind(tmp_path: Path) -> None:
    survey = spools.write(tmp_path, [ElementReader([X], [Y]).read([(None, 1), ([1.0], None)])], [X], [Y])
    assert [(found.first.column, found.first.kind, found.count) for found in survey.problems] == [
        ("x", "null", 1),
        ("y", "null", 1),
    ]
    parts = [[(None, 1)], [([1.0, 2.0], 1)], *([[([1.0, 2.0], 1), (None, 1), (None, 2)]] * 2000)]
    survey = spools.write(tmp_path / "many", [ElementReader([X], [Y]).read(part) for part in parts], [X], [Y])
    (found,) = survey.problems
    assert (found.count, found.partitions, found.first.first_row) == (4001, 2001, 0)
    assert found.named == ((0, 1), (2, 2), (3, 2), (4, 2), (5, 2))


def test_workers_are_told_as_little_of_thousands_of_partitions_and_hundreds_of_arrays(tmp_path: Path) -> None:
    """It was all in the frame with which an attempt begins, twice with validation rows, and beyond 16 MiB."""
    names = [f"a_column_with_a_name_of_usual_length_{number}" for number in range(500)]
    arrays = tuple(SpooledArray(name, "float32", (), 0.1, 12345.678) for name in (*names, "y"))
    ready = [
        SpoolReady("h", number, 2, f"/local/mxspark-r/training/{number % 4:03d}.rows", number // 4 * 2, (0, 0))
        for number in range(20_000)
    ]
    spool = Survey(tuple(ready), arrays, {}, (), np.empty(0)).spool(tmp_path / "table")
    job = JobConfig.from_dict(
        {
            "data": {"features": names, "label": "y", "validation": {"fraction": 0.2}},
            "training": {"network": "a:b", "loss": "l2"},
        }
    )
    spec = resolve.worker_spec(
        job,
        run_id="r",
        columns=(job.features(), job.labels()),
        data=resolve.data_sets(job, spool, None),
        restore=None,
        staging="/s",
    )
    group = GroupSpec(1, 1, True, "local", 1, 1)
    frame = frames.Plain().pack(commands.to_wire(commands.Begin(1, group, codec.encode(spec))))
    assert len(frame) < 2**19
    ids = np.array([0, 1, 2, 39_999, 8, 10])
    files, places = Partitions.open(spool).find(ids)
    assert files.tolist() == [0, 0, 1, 3, 0, 1]
    assert places.tolist() == [0, 1, 0, 9_999, 2, 2]
