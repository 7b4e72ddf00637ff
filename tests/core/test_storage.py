"""The storage seam on local disk and in memory."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from storage_contract import Place, StorageContract

from mxspark.errors import ClusterError, JobDirError
from mxspark.jobdir.layout import preflight
from mxspark.storage import open_storage
from mxspark.storage.base import Storage, join
from mxspark.storage.local import LocalStorage, border
from mxspark.storage.memory import Fault, InMemoryStorage, Killed


class TestLocal(StorageContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        (tmp_path / "root").mkdir()
        return LocalStorage(), str(tmp_path / "root")

    def test_relative_path_starts_at_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert LocalStorage().qualify("runs/digits") == f"file://{tmp_path}/runs/digits"
        assert LocalStorage().qualify(f"file:{tmp_path}/runs/../runs/digits") == f"file://{tmp_path}/runs/digits"

    def test_host_in_a_file_uri_is_refused(self) -> None:
        with pytest.raises(JobDirError, match="write it as file:///absolute/path"):
            LocalStorage().qualify("file://otherhost/jobs")

    def test_of_racing_creators_and_renamers_one_wins(self, tmp_path: Path) -> None:
        """Eight processes at once, fifty times."""
        program = """
import sys
from mxspark.storage.local import LocalStorage
storage, root, me = LocalStorage(), sys.argv[1], sys.argv[2]
for number in range(50):
    sys.stdin.readline()
    won = []
    storage.make_folder(f"{root}/draft{number}-{me}")
    for how in ("create", "rename"):
        try:
            if how == "create":
                storage.create(f"{root}/file{number}", me.encode())
            else:
                storage.rename(f"{root}/draft{number}-{me}", f"{root}/folder{number}")
            won.append(how)
        except FileExistsError:
            pass
    print(",".join(won), flush=True)
"""
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(tmp_path), str(me)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for me in range(8)
        ]
        try:
            for number in range(50):
                for racer in racers:
                    assert racer.stdin is not None
                    racer.stdin.write("go\n")
                    racer.stdin.flush()
                won = [racer.stdout.readline().strip().split(",") for racer in racers if racer.stdout]
                assert sum("create" in each for each in won) == 1, number
                assert sum("rename" in each for each in won) == 1, number
        finally:
            for racer in racers:
                racer.communicate(timeout=300)
        assert [racer.returncode for racer in racers] == [0] * 8


class TestInMemory(StorageContract):
    @pytest.fixture
    def place(self) -> Place:
        storage = InMemoryStorage()
        storage.make_folder("/root")
        return storage, "/root"

    @pytest.mark.parametrize(("how", "left"), [("before", None), ("after", b"data"), ("torn", b"da")])
    def test_fault_at_the_second_write(self, how: str, left: bytes | None) -> None:
        storage = InMemoryStorage(Fault(at=2, how=how))
        storage.make_folder("/root")
        with pytest.raises(ClusterError, match="could not write"):
            storage.create("/root/file", b"data")
        assert (storage.read("/root/file", 9) if storage.stat("/root/file") else None) == left
        storage.create("/root/other", b"")

    def test_killed_stays_dead(self) -> None:
        storage = InMemoryStorage(Fault(at=1, kill=True))
        for use in (lambda: storage.make_folder("/root"), lambda: storage.list("/")):
            with pytest.raises(Killed, match=r"^$"):
                use()
        storage.fault = None
        assert storage.list("/") == ()


def hadoop_must_not_be_asked() -> Storage:
    raise AssertionError("Hadoop was asked for a local path")


@pytest.mark.parametrize("path", ["runs/digits", "/runs/digits", "file:///runs/digits", "FILE:/runs"])
def test_local_paths_need_no_hadoop(path: str) -> None:
    assert isinstance(open_storage(path, hadoop_must_not_be_asked), LocalStorage)


def test_other_schemes_and_plain_paths_on_a_cluster_are_hadoops() -> None:
    hadoop = InMemoryStorage()
    assert open_storage("hdfs://host/jobs", lambda: hadoop) is hadoop
    assert open_storage("runs/digits", lambda: hadoop, local_run=False) is hadoop
    with pytest.raises(JobDirError, match="hdfs://host/jobs needs Hadoop, and there is no Spark session"):
        open_storage("hdfs://host/jobs")


@pytest.mark.parametrize("path", ["s3a://bucket/jobs", "gs://bucket/jobs", "abfss://c@a/jobs", "WASB://c@a/jobs"])
def test_object_stores_are_refused_with_the_reason(path: str) -> None:
    with pytest.raises(JobDirError, match=r"is on the object store .* renames a folder file by file.*Set job.dir"):
        open_storage(path, InMemoryStorage)


def test_empty_path_is_refused() -> None:
    with pytest.raises(JobDirError, match=r"job\.dir is empty"):
        open_storage("")


def test_missing_rights_name_user_path_and_remedy(tmp_path: Path) -> None:
    """In a child without root's powers, for root may write everywhere."""
    program = """
import os, sys
from mxspark.errors import JobDirError
from mxspark.storage.local import LocalStorage
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for what in (lambda: LocalStorage().create(sys.argv[1] + "/file", b""),
             lambda: LocalStorage().make_folder(sys.argv[1] + "/folder"),
             lambda: LocalStorage().list(sys.argv[1] + "/closed")):
    try:
        what()
        print("allowed")
    except JobDirError as error:
        print(error)
"""
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed").chmod(0)
    tmp_path.chmod(0o555)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=300)
    tmp_path.chmod(0o755)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    for line, doing in zip(lines, ("create", "make", "list")):
        assert f"may not {doing} {tmp_path}/" in line
        assert "(Permission denied); give that user write access, or set job.dir" in line


def test_full_disk_says_so() -> None:
    """What every write of the local storage goes through, on the device that is always full."""
    no_space = pytest.raises(JobDirError, match=r"no room to write .*No space left on device.*checkpoint\.keep")
    with no_space, border("write", "/dev/full"), open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


def test_filesystem_without_exclusive_rename_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's answer on such a filesystem, as no test machine is sure to have one."""

    class OldLibrary:
        @staticmethod
        def renameat2(*_: object) -> int:
            ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: OldLibrary)
    storage = LocalStorage()
    storage.make_folder(join(str(tmp_path), "draft"))
    with pytest.raises(JobDirError, match=r"RENAME_NOREPLACE: Invalid argument.*ext4 or xfs, or on hdfs://"):
        storage.rename(join(str(tmp_path), "draft"), join(str(tmp_path), "published"))


def test_a_name_that_is_too_long_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(JobDirError, match=r"could not make .*: File name too long; set job.dir, or a shorter job.name"):
        preflight(LocalStorage(), str(tmp_path / ("a" + "日" * 99)))
