"""Spooled rows to batches: every row once, in the plan's order, whoever reads."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from role_harness import digits, make_spec

from mxspark.data.dataset import DataSet
from mxspark.data.prefetch import Prefetch
from mxspark.data.reader import Reader, SpooledRows, shared_bytes
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


def test_mapped_pages_are_let_go_before_they_count_as_much_memory(tmp_path):
    """YARN kills a container by its resident memory, to which mapped files belong."""
    spec = make_spec(tmp_path, counts=(200_000,), batch_size=1000)  # 51 MB
    rows = Reader(spec.training_data, spec.features, spec.labels, 0, 1, mapped_bytes=8 * 2**20)
    before, most = shared_bytes(), 0
    for batch in rows.batches(0):
        most = max(most, shared_bytes() - before)
        assert batch.inputs[0].any()
    assert most < 16 * 2**20


def test_a_truncated_file_is_named(tmp_path):
    spec = make_spec(tmp_path, counts=(10, 20))
    path = Path(spec.training_data.spools[1].path) / "pixels.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"partition 1 are damaged: .*pixels.bin has 5119 bytes, 20 rows need 5120"):
        reader_of(spec)


def test_a_missing_file_is_named(tmp_path):
    spec = make_spec(tmp_path, counts=(10, 20))
    (Path(spec.training_data.spools[0].path) / "digit.bin").unlink()
    with pytest.raises(DataError, match=r"partition 0 cannot be read: .*digit.bin: No such file.*spark.local.dir"):
        reader_of(spec)


def test_a_plan_of_other_counts_is_refused(uneven):
    other = replace(uneven.training_data.plan, counts=(95,))
    with pytest.raises(InternalError, match="the plan counts"):
        Reader(DataSet(uneven.training_data.spools, other), uneven.features, uneven.labels, 0, 1)


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
