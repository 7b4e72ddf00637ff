"""What every storage must do. A subclass gives the fixture `place`: the storage and an empty folder on it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from job_records import RECORD, a_run, stage

from mxspark.errors import JobDirRemoved, MXSparkError
from mxspark.jobdir.checkpoints import CheckpointStore
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.lease import Lease
from mxspark.jobdir.publish import publish_model
from mxspark.storage.base import Entry, Storage, join

Place = tuple[Storage, str]


class StorageContract:
    def test_create_never_overwrites(self, place: Place) -> None:
        storage, root = place
        storage.create(join(root, "term"), b"first")
        with pytest.raises(FileExistsError, match="term"):
            storage.create(join(root, "term"), b"second")
        storage.make_folder(join(root, "folder"))
        with pytest.raises(FileExistsError, match="folder"):
            storage.create(join(root, "folder"), b"second")
        assert storage.read(join(root, "term"), 100) == b"first"

    def test_touch_is_seen(self, place: Place) -> None:
        storage, root = place
        with pytest.raises(FileNotFoundError, match="term"):
            storage.touch(join(root, "term"))
        storage.create(join(root, "term"), b"mine")
        seen = set()
        for _ in range(3):
            (entry,) = storage.list(root)
            seen.add(entry.changed)
            storage.touch(join(root, "term"))
        assert len(seen) == 3
        assert storage.read(join(root, "term"), 100) == b"mine"

    def test_nothing_makes_the_folder_above(self, place: Place, tmp_path: Path) -> None:
        storage, root = place
        local = tmp_path / "local"
        local.write_bytes(b"part")
        with pytest.raises(FileNotFoundError, match="gone"):
            storage.create(join(root, "gone", "file"), b"x")
        with pytest.raises(FileNotFoundError, match="gone"):
            storage.put(local, join(root, "gone", "file"))
        with pytest.raises(FileNotFoundError, match="gone"):
            storage.make_folder(join(root, "gone", "folder"))
        assert storage.stat(join(root, "gone")) is None

    def test_what_opens_it_again_finds_what_is_there(self, place: Place) -> None:
        storage, root = place
        storage.create(join(root, "file"), b"mine")
        assert storage.opener()().read(join(root, "file"), 100) == b"mine"

    def test_folders(self, place: Place) -> None:
        storage, root = place
        storage.make_folder(join(root, "a", "b", "c"), parents=True)
        storage.make_folder(join(root, "a", "b", "c"), parents=True)
        storage.make_folder(join(root, "a", "b"))
        storage.create(join(root, "a", "file"), b"")
        with pytest.raises(FileExistsError, match="file"):
            storage.make_folder(join(root, "a", "file"))
        with pytest.raises((NotADirectoryError, FileExistsError)):
            storage.make_folder(join(root, "a", "file", "below"), parents=True)
        assert storage.list(join(root, "a")) == (Entry("b", 0, True), Entry("file", 0, False))

    def test_list_and_stat(self, place: Place) -> None:
        storage, root = place
        assert storage.list(root) == ()
        storage.create(join(root, "two"), b"22")
        storage.create(join(root, "one"), b"1")
        storage.make_folder(join(root, "zero"))
        assert storage.list(root) == (Entry("one", 1, False), Entry("two", 2, False), Entry("zero", 0, True))
        assert storage.stat(join(root, "two")) == Entry("two", 2, False)
        assert storage.stat(join(root, "zero")) == Entry("zero", 0, True)
        assert storage.stat(join(root, "three")) is None
        assert storage.stat(join(root, "two", "below")) is None
        with pytest.raises(FileNotFoundError, match="three"):
            storage.list(join(root, "three"))
        with pytest.raises(NotADirectoryError, match="two"):
            storage.list(join(root, "two"))

    def test_read_has_a_limit(self, place: Place) -> None:
        storage, root = place
        storage.create(join(root, "file"), bytes(range(256)))
        assert storage.read(join(root, "file"), 256) == bytes(range(256))
        with pytest.raises(ValueError, match="longer than 255 bytes"):
            storage.read(join(root, "file"), 255)
        storage.make_folder(join(root, "folder"))
        for name in ("none", "folder"):
            with pytest.raises(FileNotFoundError, match=name):
                storage.read(join(root, name), 1)

    def test_put_and_get_keep_every_byte(self, place: Place, tmp_path: Path) -> None:
        storage, root = place
        content = os.urandom(3_000_001)
        (tmp_path / "out").write_bytes(content)
        storage.put(tmp_path / "out", join(root, "file"))
        with pytest.raises(FileExistsError, match="file"):
            storage.put(tmp_path / "out", join(root, "file"))
        assert storage.list(root) == (Entry("file", len(content), False),)
        storage.get(join(root, "file"), str(tmp_path / "back"))
        assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".crc")]
        assert hashlib.sha256((tmp_path / "back").read_bytes()).digest() == hashlib.sha256(content).digest()
        storage.make_folder(join(root, "folder"))
        for name in ("none", "folder"):
            with pytest.raises(FileNotFoundError, match=name):
                storage.get(join(root, name), tmp_path / name)

    def test_rename_moves_a_whole_folder(self, place: Place) -> None:
        storage, root = place
        storage.make_folder(join(root, "draft", "deep"), parents=True)
        storage.create(join(root, "draft", "deep", "file"), b"content")
        storage.rename(join(root, "draft"), join(root, "published"))
        assert storage.stat(join(root, "draft")) is None
        assert storage.read(join(root, "published", "deep", "file"), 100) == b"content"

    @pytest.mark.parametrize("what", ["file", "empty", "full"])
    def test_rename_never_replaces(self, place: Place, what: str) -> None:
        storage, root = place
        for name in ("draft", "empty", "full"):
            storage.make_folder(join(root, name))
        storage.create(join(root, "full", "file"), b"theirs")
        storage.create(join(root, "file"), b"theirs")
        with pytest.raises(FileExistsError, match=what):
            storage.rename(join(root, "draft"), join(root, what))
        assert [entry.name for entry in storage.list(root)] == ["draft", "empty", "file", "full"]
        assert storage.list(join(root, "empty")) == ()
        assert storage.read(join(root, "full", "file"), 100) == b"theirs"

    def test_rename_of_a_file_never_replaces(self, place: Place) -> None:
        storage, root = place
        storage.create(join(root, "mine"), b"mine")
        storage.create(join(root, "theirs"), b"theirs")
        with pytest.raises(FileExistsError, match="theirs"):
            storage.rename(join(root, "mine"), join(root, "theirs"))
        storage.rename(join(root, "mine"), join(root, "free"))
        assert storage.read(join(root, "free"), 100) == b"mine"
        assert storage.read(join(root, "theirs"), 100) == b"theirs"

    def test_rename_needs_the_source_and_the_folder_above_the_target(self, place: Place) -> None:
        storage, root = place
        storage.make_folder(join(root, "draft"))
        with pytest.raises(FileNotFoundError, match="none"):
            storage.rename(join(root, "none"), join(root, "published"))
        with pytest.raises(FileNotFoundError, match="gone"):
            storage.rename(join(root, "draft"), join(root, "gone", "published"))
        assert [entry.name for entry in storage.list(root)] == ["draft"]

    def test_remove(self, place: Place) -> None:
        storage, root = place
        storage.make_folder(join(root, "folder", "deep"), parents=True)
        storage.create(join(root, "folder", "deep", "file"), b"")
        with pytest.raises(MXSparkError, match="empty"):
            storage.remove(join(root, "folder"))
        storage.remove(join(root, "folder", "deep", "file"))
        storage.remove(join(root, "folder", "deep"))
        storage.create(join(root, "folder", "file"), b"")
        storage.remove(join(root, "folder"), recursive=True)
        storage.remove(join(root, "folder"), recursive=True)
        storage.remove(join(root, "folder"))
        assert storage.list(root) == ()

    def test_qualified_path_is_stable_and_usable(self, place: Place) -> None:
        storage, root = place
        qualified = storage.qualify(root)
        assert "://" in qualified
        assert storage.qualify(qualified) == qualified
        assert storage.qualify(qualified + "/") == qualified
        storage.create(join(qualified, "file"), b"")
        assert storage.list(root) == storage.list(qualified) != ()

    def test_a_job_dir_that_is_removed_under_a_run_is_known_to_be_gone_and_not_made_again(
        self, place: Place, tmp_path: Path
    ) -> None:
        storage, root = place
        owned = JobDir.acquire(storage, join(root, "job"), RECORD, a_run(lease_s=0.6))
        store = CheckpointStore(owned, 3)
        store.commit(stage(tmp_path / "staged", 10))
        words = rf"the job dir {owned.path} was removed or moved away while this run was at work in it; by whom is not "
        with Lease(owned) as held:
            held.sleep(0.3)
            owned.check_owner()
            storage.remove(owned.path, recursive=True)
            for attempt in (
                owned.check_owner,
                lambda: store.commit(stage(tmp_path / "staged", 20)),
                lambda: publish_model(owned, stage(tmp_path / "staged", 20, kind="model")),
                lambda: store.newest(tmp_path / "into"),
                lambda: held.sleep(10),
            ):
                with pytest.raises(JobDirRemoved, match=words + r"known\. Its checkpoints and models went.*\.Trash"):
                    attempt()
        assert storage.list(root) == ()
