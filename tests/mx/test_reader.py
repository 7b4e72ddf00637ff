"""Spooled rows to batches: every row once, in the plan's order, whoever reads."""

from __future__ import annotations

import os
import resource
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from role_harness import digits, make_spec, split
from spools import write, write_arrays

from mxspark.data.dataset import DataSet
from mxspark.data.dtypes import DTYPES
from mxspark.data.plan import TRAINING, VALIDATION, Plan
from mxspark.data.prefetch import Prefetch
from mxspark.data.reader import Reader, SpooledRows, shared_bytes
from mxspark.data.rows import ArrowReader
from mxspark.data.spool import ColumnSpec
from mxspark.errors import DataError, InternalError


def reader_of(spec, rank=0, size=1):
    return Reader(spec.training_data, spec.features, spec.labels, rank, size)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Seven partitions, two of them empty, one the last."""
    return make_spec(tmp_path_factory.mktemp("uneven"), counts=(5, 0, 40, 1, 33, 16, 0), batch_size=13)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 6), batch_size=st.integers(1, 40), seed=st.integers(0, 99), epoch=st.integers(0, 3))
def test_every_row_is_read_once_an_epoch_with_its_own_values(uneven, size, batch_size, seed, epoch):
    data = replace(uneven.training_data, plan=replace(uneven.training_data.plan, batch_size=batch_size, seed=seed))
    all_rows = digits(95)
    seen = []
    readers = [Reader(data, uneven.features, uneven.labels, rank, size) for rank in range(size)]
    for batches in zip(*(reader.batches(epoch) for reader in readers)):
        assert sum(batch.real_rows for batch in batches) == batches[0].global_rows
        whole = np.concatenate([batch.ids for batch in batches])
        for batch in batches:
            assert len(batch.inputs[0]) == len(batch.labels[0]) == -(-batch_size // size)
            np.testing.assert_array_equal(batch.inputs[0][: batch.real_rows], all_rows["pixels"][batch.ids])
            np.testing.assert_array_equal(batch.labels[0][: batch.real_rows], all_rows["digit"][batch.ids])
            padding = {row.tobytes() for row in batch.inputs[0][batch.real_rows :]}
            assert padding <= {row.tobytes() for row in all_rows["pixels"][whole]}, "padding repeats rows of the batch"
        seen.append(whole)
    assert sorted(np.concatenate(seen)) == list(range(95))
    assert {len(list(reader.batches(epoch))) for reader in readers} == {data.plan.steps}


def test_the_global_batch_does_not_depend_on_the_number_of_readers(uneven):
    alone = [batch.ids.tolist() for batch in reader_of(uneven).batches(1)]
    three = zip(*(reader_of(uneven, rank, 3).batches(1) for rank in range(3)))
    assert alone == [np.concatenate([batch.ids for batch in batches]).tolist() for batches in three]


def test_reading_starts_anywhere(uneven):
    reader = reader_of(uneven, 1, 2)
    whole = [*reader.batches(2), *reader.batches(3)]
    part = list(reader.all_batches(range(2, 4), first_step=5))
    assert [(b.epoch, b.step) for b in part] == [(b.epoch, b.step) for b in whole[5:]]
    for a, b in zip(part, whole[5:]):
        np.testing.assert_array_equal(a.ids, b.ids)


def test_gathered_rows_keep_the_order_asked_for(uneven):
    rows = SpooledRows(uneven.training_data, ["pixels"])
    ids = np.array([94, 0, 45, 5, 94, 46, 44, 3])
    np.testing.assert_array_equal(rows.gather(ids, ["pixels"])["pixels"], digits(95)["pixels"][ids])
    assert rows.gather(ids[:0], ["pixels"])["pixels"].shape == (0, 1, 8, 8)


@pytest.mark.parametrize(("held", "scale"), [("uint8", 1 / 255), ("uint8", -2.0), ("int8", 0.1)])
def test_bytes_are_scaled_when_they_are_read(tmp_path, held, scale):
    column = ColumnSpec("x", ("x",), (4,), "float32", scale=scale, held=held)
    values = np.arange(np.iinfo(held).min, np.iinfo(held).max + 1).reshape(64, 4)
    block = ArrowReader((column,), {"x": 0}).read(pa.record_batch([pa.array(values.tolist())], names=["c0"]))
    survey = write(tmp_path, [[block]], [column])
    (array,) = survey.arrays
    assert (array.dtype, array.scale, array.is_whole) == (held, scale, False)
    assert sorted((values.min() * scale, values.max() * scale)) == [array.minimum, array.maximum], (
        "as the network sees it"
    )
    assert (tmp_path / "000.rows").stat().st_size == 256, "a byte each"
    data = DataSet(survey.spool(tmp_path / "table"), Plan(rows_in_all=64, batch_size=8, seed=7))
    ids = np.arange(64)[::-1]
    found = SpooledRows(data, ["x"]).gather(ids, ["x"])["x"]
    expected = values.astype(np.float32)[ids] * np.float32(scale)
    assert found.dtype == np.float32 and found.tobytes() == expected.tobytes() and found.flags.c_contiguous


def test_mapped_pages_are_let_go_before_they_count_as_much_memory(tmp_path):
    """YARN kills a container by its resident memory, to which mapped files belong."""
    spec = make_spec(tmp_path, counts=(200_000,), batch_size=1000)  # 51 MB
    rows = Reader(spec.training_data, spec.features, spec.labels, 0, 1, mapped_bytes=8 * 2**20)
    before, most = shared_bytes(), 0
    for batch in rows.batches(0):
        most = max(most, shared_bytes() - before)
        assert batch.inputs[0].any()
    assert most < 16 * 2**20


def test_any_number_of_partitions_and_arrays_is_read_through_a_few_maps(tmp_path):
    """As many open files and maps as partitions times arrays, and again for validation rows, were too many."""
    arrays = {f"c{number}": np.arange(number, number + 3000, dtype=np.float32) for number in range(40)}
    spool = write_arrays(tmp_path / "spool", split(arrays, [1, 0, 2] * 1000))
    plan = Plan(3000, 256, seed=7, part=TRAINING, fraction=0.25)
    features = [ColumnSpec(name, (name,), (), "float32") for name in arrays]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files, maps = len(os.listdir("/proc/self/fd")), mapped_files(tmp_path)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files + 20, hard))
    try:
        readers = [
            Reader(DataSet(spool, replace(plan, part=part)), features, [], 0, 1) for part in (TRAINING, VALIDATION)
        ]
        seen = [batch.ids for reader in readers for batch in reader.batches(0) if holds(batch, arrays)]
        assert len(os.listdir("/proc/self/fd")) <= files + 4
        assert (maps, mapped_files(tmp_path)) == (0, 2), "one of the file for each reader"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sorted(np.concatenate(seen)) == list(range(3000))


def mapped_files(folder: Path) -> int:
    return sum(str(folder) in line for line in Path("/proc/self/maps").read_text().splitlines())


def holds(batch, arrays) -> bool:
    """Tell whether a batch has the rows it is said to have."""
    for found, array in zip(batch.inputs, arrays.values()):
        np.testing.assert_array_equal(found[: batch.real_rows], array[batch.ids])
    return True


NAMES = [f"a{number}" for number in range(9)]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_some_arrays_of_rows_are_what_they_are_alone(tmp_path_factory, data):
    """Rows have all arrays side by side, of any type and width; those asked for may lie far apart."""
    shapes = st.sampled_from([(), (1,), (3,), (2, 5), (700,)])
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    counts = data.draw(st.lists(st.integers(0, 7), min_size=1, max_size=4).filter(any))
    arrays = {
        name: (rng.random((sum(counts), *data.draw(shapes))) * 100).astype(data.draw(st.sampled_from(DTYPES)))
        for name in NAMES
    }
    spool = write_arrays(tmp_path_factory.mktemp("p"), split(arrays, counts))
    rows = SpooledRows(DataSet(spool, Plan(sum(counts), 4, seed=1)), NAMES)
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    ids = np.array(data.draw(st.lists(st.integers(0, sum(counts) - 1), max_size=9)), dtype=np.int64)
    found = rows.gather(ids, names)
    assert found.keys() == set(names)
    for name, array in found.items():
        assert array.dtype == arrays[name].dtype and array.flags.c_contiguous and array.flags.aligned
        np.testing.assert_array_equal(array, arrays[name][ids])


def test_a_truncated_file_is_named(tmp_path):
    spec = make_spec(tmp_path, counts=(10, 20))
    path = Path(spec.training_data.spool.files[0])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"of 2 partitions are damaged: .*000.rows has 7799 bytes, they need 7800"):
        reader_of(spec)


def test_a_missing_file_is_named(tmp_path):
    spec = make_spec(tmp_path, counts=(10, 20))
    Path(spec.training_data.spool.files[0]).unlink()
    with pytest.raises(DataError, match=r"of 2 partitions cannot be read: .*000.rows: No such file.*spark.local.dir"):
        reader_of(spec)


def test_a_missing_table_is_named(tmp_path):
    spec = make_spec(tmp_path, counts=(10, 20))
    Path(spec.training_data.spool.table).unlink()
    with pytest.raises(DataError, match=r"list of the spooled partitions cannot be read: .*: No such file.*TMPDIR"):
        reader_of(spec)


def test_a_plan_of_other_rows_is_refused(uneven):
    other = replace(uneven.training_data.plan, rows_in_all=96)
    with pytest.raises(InternalError, match="the plan counts 96 rows, the spool holds 95"):
        Reader(DataSet(uneven.training_data.spool, other), uneven.features, uneven.labels, 0, 1)


def test_rows_are_mapped_not_loaded(tmp_path):
    rows = {"pixels": np.ones((4000, 64, 64), np.float32), "digit": np.zeros(4000, np.int32)}
    spec = make_spec(tmp_path, counts=(4000,), arrays=rows)
    before = _anonymous_bytes()
    reader = reader_of(spec)
    assert sum(len(batch.ids) for batch in reader.batches(0)) == 4000
    assert _anonymous_bytes() - before < 8e6, "64 MB of rows were read"


def _anonymous_bytes() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def test_one_batch_is_read_ahead_and_no_more(uneven):
    read = []
    ahead = threading.Semaphore(0)

    def batches():
        for batch in reader_of(uneven).batches(0):
            read.append(batch.step)
            ahead.release()
            yield batch

    with Prefetch(batches()) as prefetch:
        stream = iter(prefetch)
        assert next(stream).step == 0
        for _ in range(3):  # one taken, one in the queue, one waiting for room
            assert ahead.acquire(timeout=120)
        assert not ahead.acquire(timeout=0.3)
        assert read == [0, 1, 2]
        assert [batch.step for batch in stream] == list(range(1, 8))
    assert "mxspark-reader" not in {thread.name for thread in threading.enumerate()}


def test_an_exception_of_the_reading_thread_is_raised_where_batches_are_taken(uneven):
    def batches():
        yield from list(reader_of(uneven).batches(0))[:2]
        raise OSError("the disk is gone")

    with Prefetch(batches()) as prefetch:
        stream = iter(prefetch)
        assert [next(stream).step, next(stream).step] == [0, 1]
        with pytest.raises(OSError, match="the disk is gone"):
            next(stream)


def test_stopping_in_the_middle_leaves_no_thread(uneven):
    prefetch = Prefetch(reader_of(uneven).all_batches(range(10**6)))
    assert next(iter(prefetch)).step == 0
    prefetch.close()
    assert "mxspark-reader" not in {thread.name for thread in threading.enumerate()}


def test_waiting_for_data_is_measured(uneven):
    def slow():
        for batch in reader_of(uneven).batches(0):
            threading.Event().wait(0.02)
            yield batch

    with Prefetch(slow()) as prefetch:
        assert len(list(prefetch)) == 8
        assert 0.1 < prefetch.waited_s < 5
