"""The job dir: preflight, the record, terms, taking over."""

from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from job_records import CHECKSUMS, RECORD, SETTINGS, a_run, data_record

from mxspark.data.spool import ColumnSpec, SpooledArray, SpoolReady
from mxspark.data.spool_facts import PartFacts
from mxspark.data.survey import Survey
from mxspark.errors import JobDirError
from mxspark.job.data_record import DataRecord
from mxspark.job.record import JobRecord, differences, job_id, other_data
from mxspark.jobdir.layout import JobDir, preflight
from mxspark.jobdir.ownership import Claim
from mxspark.jobdir.record_file import read as read_record
from mxspark.protocol import codec
from mxspark.storage.local import LocalStorage
from mxspark.storage.memory import InMemoryStorage

LOCAL = LocalStorage()
TESTS = Path(__file__).resolve().parents[1]


def test_preflight_makes_the_folder_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "job"
    assert preflight(LOCAL, str(path), SETTINGS) == f"file://{path}"
    assert preflight(LOCAL, str(path), SETTINGS) == f"file://{path}"
    assert [entry.name for entry in path.iterdir()] == ["_tmp"]
    assert list((path / "_tmp").iterdir()) == []


def test_preflight_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "job").write_text("mine")
    for path in (tmp_path / "job", tmp_path / "job" / "below"):
        with pytest.raises(JobDirError, match=r"job\.dir .* is a file, or lies below one; set job\.dir to a folder"):
            preflight(LOCAL, str(path))
    assert (tmp_path / "job").read_text() == "mine"


def test_preflight_refuses_a_place_where_no_folder_can_be_made() -> None:
    with pytest.raises(JobDirError, match=r"job\.dir file:///proc/none cannot be made .*; set job\.dir to another"):
        preflight(LOCAL, "/proc/none")


def test_preflight_refuses_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(JobDirError, match=r"not empty and not a job dir: it holds thesis\.tex, but no _job\.json"):
        preflight(LOCAL, str(tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_preflight_refuses_a_folder_it_may_not_write(tmp_path: Path) -> None:
    """In a child without root's powers, for root may write everywhere."""
    program = """
import os, sys
from mxspark.errors import JobDirError
from mxspark.jobdir.layout import preflight
from mxspark.storage.local import LocalStorage
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    print("allowed", preflight(LocalStorage(), sys.argv[1]))
except JobDirError as error:
    print(error)
"""
    tmp_path.chmod(0o555)
    for folder in tmp_path.parents:
        if "pytest" in folder.name:
            folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=300)
    tmp_path.chmod(0o755)
    assert "may not make" in done.stdout, done.stderr
    assert "give that user write access, or set job.dir to a folder it can write to" in done.stdout


def test_preflight_refuses_a_filesystem_that_renames_onto_folders() -> None:
    class Nesting(InMemoryStorage):
        def rename(self, source: str, target: str) -> None:
            self.remove(target, recursive=True)
            super().rename(source, target)

    with pytest.raises(JobDirError, match="renames a folder onto another"):
        preflight(Nesting(), "/job")


def training(**changes: str) -> dict[str, str]:
    """Return what fixes the training of the record, changed."""
    return {**SETTINGS.training, **changes}


@pytest.mark.parametrize("version", [1, 2])
def test_a_job_dir_of_an_earlier_version_is_recognised(version: int) -> None:
    """Its record had a checksum of each array in each partition; the first had no loops either, only Gluon's."""
    storage = InMemoryStorage()
    JobDir.acquire(storage, "/job", RECORD, a_run())
    found = json.loads(RECORD.to_bytes("job"))
    found["record"]["data"] = {"rows": [3, 4, 5], "checksums": CHECKSUMS}
    if version == 1:
        labels = found["record"]["settings"].pop("training")
        assert labels.pop("loop") == "gluon"
        found["record"]["settings"].update(labels)
    before = json.dumps({**found, "version": version}, sort_keys=True).encode()
    assert JobRecord.from_bytes(before) == RECORD
    storage.remove("/job/_job.json")
    storage.create("/job/_job.json", before)
    assert JobDir.acquire(storage, "/job", RECORD, a_run()).term == 2
    other = dataclasses.replace(RECORD, settings=dataclasses.replace(SETTINGS, training=training(loss="l2")))
    with pytest.raises(JobDirError, match=r'training.loss: was "softmax_cross_entropy", now "l2"'):
        JobDir.acquire(storage, "/job", other, a_run())
    missing = "settings" if version == 1 else "data"
    with pytest.raises(ValueError, match=f"version {version} without '{missing}'"):
        JobRecord.from_bytes(b'{"version": %d, "record": {}}' % version)


def test_first_run_writes_the_record_and_the_next_goes_on() -> None:
    storage = InMemoryStorage()
    first = JobDir.acquire(storage, "/job", RECORD, a_run())
    second = JobDir.acquire(storage, "/job", RECORD, a_run())
    assert (first.term, second.term) == (1, 2)
    assert read_record(storage, "/job") == RECORD
    names = [entry.name for entry in storage.list("/job")]
    assert names == ["_job.json", "_terms", "_tmp", "checkpoints", "runs"]
    assert [entry.name for entry in storage.list("/job/_tmp")] == ["t000002"]
    assert [entry.name for entry in storage.list("/job/runs")] == [first.run.run_id, second.run.run_id]


def test_other_network_data_and_seed_are_all_named() -> None:
    storage = InMemoryStorage()
    JobDir.acquire(storage, "/job", RECORD, a_run())
    pixels = dataclasses.replace(SETTINGS.features[0], scale=1.0)
    other = JobRecord(
        dataclasses.replace(SETTINGS, training=training(network="nets:mlp"), seed=8, features=(pixels,)),
        data_record((3, 4, 6), {"pixels": (11, 12, 99), "digit": (21, 22, 23)}),
    )
    with pytest.raises(JobDirError) as caught:
        JobDir.acquire(storage, "/job", other, a_run())
    assert str(caught.value).splitlines() == [
        "job.dir memory:///job belongs to a job that differs from this one:",
        '  - training.network: was "nets:lenet", now "nets:mlp"',
        "  - training.seed: was 7, now 8",
        "  - data.features.pixels.scale: was 0.0625, now 1.0",
        "  - data.rows: was 12, now 13",
        "set job.dir to another folder to start afresh, or start over in this one with --fresh (in Python "
        'job={"fresh": True}), or '
        "give these their old values to go on; nothing is kept in it "
        "yet: unless a run is at work there, it may be removed",
    ]
    storage.make_folder("/job/checkpoints/s00000001-t000001")
    with pytest.raises(JobDirError, match=r"give these their old values to go on$"):
        JobDir.acquire(storage, "/job", other, a_run())
    assert [entry.name for entry in storage.list("/job/_terms")] == ["t000001"], "the rightful owner was fenced"


def test_every_key_of_the_record_is_compared() -> None:
    keys = {
        "training": "training", "batch_size": "training.batch_size", "seed": "training.seed",
        "features": "data.features", "labels": "data.label", "validation_fraction": "data.validation.fraction",
        "shuffle": "data.shuffle", "block_rows": "data.block_rows", "window_blocks": "data.window_rows",
        "weight": "data.weight",
    }  # fmt: skip
    changes = {
        "training": {}, "batch_size": 1, "seed": 1, "features": (), "labels": (),
        "validation_fraction": 0.5, "shuffle": False, "block_rows": 1, "window_blocks": 1,
        "weight": ColumnSpec("w", ("w",), (), "float32", is_weight=True),
    }  # fmt: skip
    assert set(changes) == {field.name for field in dataclasses.fields(SETTINGS)}
    for key, value in changes.items():
        lines = differences(SETTINGS, dataclasses.replace(SETTINGS, **{key: value}))  # type: ignore[arg-type]
        assert lines and lines[0].startswith(keys[key])
        assert len(lines) == 1 or key in ("training", "block_rows")  # of other blocks the same number is another window
    assert differences(SETTINGS, SETTINGS) == []


@pytest.mark.parametrize(
    ("rows", "pixels", "line"),
    [
        ((3, 4, 6), (11, 12, 13), "data.rows: was 12, now 13"),
        ((3, 4, 5), (11, 12, 99), "data: the values of column pixels are others, or in another order in 1 of 3 "
         "partitions, first in number 2"),
        ((4, 3, 5), (11, 12, 99), "data.rows: as many, cut into other partitions"),
        ((7, 5), (11, 12), "data.rows: as many, cut into other partitions"),
    ],
)  # fmt: skip
def test_other_rows_are_told_in_words_of_the_users(rows: tuple[int, ...], pixels: tuple[int, ...], line: str) -> None:
    now = data_record(rows, {"pixels": pixels, "digit": (21, 22, 23)[: len(rows)]})
    found = other_data(RECORD, dataclasses.replace(RECORD, data=now))
    assert found[0] == line and len(found) == 1 + (len(rows) != 3)
    assert other_data(RECORD, RECORD) == []
    (validation,) = other_data(RECORD, dataclasses.replace(RECORD, validation_data=RECORD.data))
    assert validation == "data.validation.rows: was none, now 12"
    one = data_record((1797,), {"digit": (1,), "pixels": (2,)})
    both = data_record((1797,), {"digit": (3,), "pixels": (4,)})
    assert other_data(dataclasses.replace(RECORD, data=one), dataclasses.replace(RECORD, data=both)) == [
        "data: the values of columns digit, pixels are others, or in another order"
    ]


def test_preflight_compares_what_is_known_before_the_spool() -> None:
    storage = InMemoryStorage()
    JobDir.acquire(storage, "/job", RECORD, a_run())
    unknown_shape = dataclasses.replace(SETTINGS.features[0], shape=None)
    preflight(storage, "/job", dataclasses.replace(SETTINGS, features=(unknown_shape,)))
    with pytest.raises(JobDirError, match=r'optimizer: was "adam", now "sgd"'):
        preflight(storage, "/job", dataclasses.replace(SETTINGS, training=training(optimizer="sgd")))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": 2}', b'{"version": 1}', b'{"version": 3}', b"\xff\xfe", b"[" * 9999]
)
def test_damaged_record_is_an_error_not_a_new_job(content: bytes) -> None:
    storage = InMemoryStorage()
    storage.make_folder("/job")
    storage.create("/job/_job.json", content)
    with pytest.raises(JobDirError, match=r"_job\.json cannot be read .*damaged or of another version"):
        JobDir.acquire(storage, "/job", RECORD, a_run())


def test_a_folder_in_place_of_the_record_is_an_error_of_the_users() -> None:
    storage = InMemoryStorage()
    storage.make_folder("/job/_job.json", parents=True)
    with pytest.raises(JobDirError, match=r"_job\.json cannot be read .*it is a folder"):
        JobDir.acquire(storage, "/job", RECORD, a_run())


@pytest.mark.parametrize("name", ["_tmp", "checkpoints", "runs", "_terms"])
def test_a_file_in_place_of_a_folder_is_an_error_before_anything_is_begun(name: str, tmp_path: Path) -> None:
    for storage, root in ((InMemoryStorage(), "/job"), (LocalStorage(), str(tmp_path / "job"))):
        JobDir.acquire(storage, root, RECORD, a_run())
        storage.remove(f"{root}/{name}", recursive=True)
        storage.create(f"{root}/{name}", b"")
        with pytest.raises(JobDirError, match=rf"damaged: {name} is a file .*set job\.dir to a new folder"):
            preflight(storage, root)


def test_records_round_trip() -> None:
    for value in (RECORD, dataclasses.replace(RECORD, validation_data=RECORD.data), a_run()):
        assert codec.decode(type(value), json.loads(json.dumps(codec.encode(value)))) == value


def test_data_record_is_in_order_of_partitions() -> None:
    def answer(number: int, rows: int) -> SpoolReady:
        facts = PartFacts((SpooledArray("pixels", "float32", (), 0.0, 1.0),), (100 + number,)).to_bytes()
        return SpoolReady("h", number, rows, "/x", 0, (0, 0), base64.b64encode(facts).decode())

    survey = Survey.of([answer(2, 5), answer(0, 3), answer(1, 4)], [ColumnSpec("pixels", ("pixels",), (), "float32")])
    assert DataRecord.of(survey) == data_record((3, 4, 5), {"pixels": (100, 101, 102)})


def test_job_id_is_stable() -> None:
    assert job_id("file:///runs/digits", "ann") == job_id("file:///runs/digits", "ann")
    assert job_id("file:///runs/digits", "ann") != job_id("file:///runs/digits", "bob")


def test_older_owner_may_not_publish_and_is_told_who_may() -> None:
    storage = InMemoryStorage()
    old = JobDir.acquire(storage, "/job", RECORD, a_run())
    old.check_owner()
    new = JobDir.acquire(storage, "/job", RECORD, a_run())
    with pytest.raises(JobDirError) as caught:
        old.check_owner()
    for part in ("another run owns", "term 2", new.run.run_id, "of ann on here, pid 123", "this run had term 1"):
        assert part in str(caught.value)
    new.check_owner()


def test_owner_overtaken_before_it_has_its_folder_notices() -> None:
    """The order of events in which the newer owner does not see the older one's folder."""
    storage = InMemoryStorage()
    JobDir.acquire(storage, "/job", RECORD, a_run())

    class Overtaken(InMemoryStorage):
        def make_folder(self, path: str, parents: bool = False) -> None:
            if path.endswith("_tmp/t000002"):
                Claim(storage, "/job", a_run()).acquire()
            super().make_folder(path, parents)

    slow = Overtaken()
    slow._tree = storage._tree
    with pytest.raises(JobDirError, match="another run owns the job dir"):
        JobDir.acquire(slow, "/job", RECORD, a_run())


def test_of_racing_owners_each_term_has_one(tmp_path: Path) -> None:
    """Six processes take twenty-five terms each at once, on a real disk."""
    program = """
import sys
from job_records import a_run
from mxspark.storage.local import LocalStorage
from mxspark.jobdir.ownership import Claim
sys.stdin.readline()
print(*[Claim(LocalStorage(), sys.argv[1], a_run()).acquire() for _ in range(25)])
"""
    (tmp_path / "_terms").mkdir()
    command = [sys.executable, "-c", f"import sys; sys.path.append({str(TESTS)!r})\n{program}", str(tmp_path)]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    taken = [int(word) for racer in racers for word in racer_output(racers, racer).split()]
    assert sorted(taken) == list(range(1, 151))


def racer_output(racers: list[subprocess.Popen[str]], racer: subprocess.Popen[str]) -> str:
    """Start all racers at once and return what one of them said."""
    if racer is racers[0]:
        for each in racers:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
    return racer.communicate(timeout=300)[0]


def test_of_racing_takeovers_the_newest_owns(tmp_path: Path) -> None:
    """Whole take-overs at once: some are overtaken and say so, exactly one owns the job dir in the end."""
    program = """
import sys
from job_records import RECORD, a_run
from mxspark.errors import JobDirError
from mxspark.jobdir.layout import JobDir
from mxspark.storage.local import LocalStorage
for _ in range(10):
    sys.stdin.readline()
    try:
        print(JobDir.acquire(LocalStorage(), sys.argv[1], RECORD, a_run()).term, flush=True)
    except JobDirError as error:
        print("overtaken" if "another run owns" in str(error) else error, flush=True)
"""
    command = [sys.executable, "-c", f"import sys; sys.path.append({str(TESTS)!r})\n{program}", str(tmp_path / "job")]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        for number in range(1, 11):
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write("go\n")
                racer.stdin.flush()
            said = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
            owners = [int(word) for word in said if word != "overtaken"]
            assert len(set(owners)) == len(owners)
            assert max(owners) == 4 * number, said
            folders = {path.name for path in (tmp_path / "job" / "_tmp").iterdir()}
            assert f"t{4 * number:06d}" in folders
    finally:
        for racer in racers:
            racer.communicate(timeout=300)
    assert [racer.returncode for racer in racers] == [0] * 4


def test_run_files_are_replaced() -> None:
    storage = InMemoryStorage()
    job_dir = JobDir.acquire(storage, "/job", RECORD, a_run())
    job_dir.write_run_file("result.json", b"one")
    path = job_dir.write_run_file("result.json", b"two")
    assert storage.read(path, 9) == b"two"
    assert path == f"memory:///job/runs/{job_dir.run.run_id}/result.json"
    assert storage.read(job_dir.put_run_file(Path(__file__), "log"), 1 << 20) == Path(__file__).read_bytes()
