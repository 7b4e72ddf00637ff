"""Training state that survives: commit by one rename, newest good one, retention."""

from __future__ import annotations

import logging
import re
import shutil
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from mxspark.errors import ClusterError, JobDirError, MXSparkError
from mxspark.job.spec import Restore
from mxspark.jobdir import manifest as manifests
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.manifest import Damaged, Manifest
from mxspark.jobdir.publish import explain, upload
from mxspark.protocol.events import Staged
from mxspark.storage.base import join

log = logging.getLogger(__name__)

_NAME = re.compile(r"s(\d{8,})-t(\d{6,})")
_BAD = "_bad-"


@dataclass(frozen=True)
class Committed:
    """A checkpoint that is published: its name, path, step, bytes of its files, and how long the commit took."""

    name: str
    path: str
    step: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class NewestCheckpoint:
    """The newest good checkpoint.

    Attributes
    ----------
    restore : Restore
        For the workers: a verified local copy.
    manifest : Manifest
        What it holds.
    name : str
        Its folder's name.
    warnings : tuple of str
        One line for each newer one that was damaged and set aside.
    """

    restore: Restore
    manifest: Manifest
    name: str
    warnings: tuple[str, ...]


def name_of(step: int, term: int) -> str:
    """Return the name of a checkpoint.

    >>> name_of(1200, 7)
    's00001200-t000007'
    """
    return f"s{step:08d}-t{term:06d}"


def in_order(names: Collection[str]) -> list[str]:
    """Return those that are names of checkpoints, newest first: by term, then by step.

    >>> in_order(["s00000900-t000001", "s00000300-t000002", "lost+found"])
    ['s00000300-t000002', 's00000900-t000001']
    """
    matches = [match for match in map(_NAME.fullmatch, names) if match]
    matches.sort(key=lambda match: (int(match.group(2)), int(match.group(1))), reverse=True)
    return [match.group() for match in matches]


def ends_best_epoch(manifest: Manifest) -> bool:
    """Tell whether a checkpoint was made right after the epoch that was the best so far.

    Its meta says which epoch that was: ``best: {value, epoch}``, counted from 0; its own epoch is the next to train.
    """
    best = manifest.meta.get("best")
    return isinstance(best, dict) and best.get("epoch") == manifest.epoch - 1 and manifest.step_in_epoch == 0


class CheckpointStore:
    """The checkpoints of a job dir this run owns.

    Parameters
    ----------
    job_dir : JobDir
        Owned by this run.
    keep : int
        How many of the newest stay; beside them that of the best epoch and the one restored from.
    """

    def __init__(self, job_dir: JobDir, keep: int) -> None:
        self._job_dir = job_dir
        self._storage = job_dir.storage
        self._keep = keep
        self._restored: Optional[str] = None
        self._best: dict[str, bool] = {}

    def commit(self, staged: Staged) -> Committed:
        """Publish a staged folder as a checkpoint, remove the local folder, then remove what is not kept.

        Raises
        ------
        JobDirError
            If another run took the job dir over, this step is committed already, or the storage refuses.
        ClusterError
            If the storage failed: nothing is published, the staged folder is still there, and trying again is safe.
        """
        start = time.monotonic()
        folder, manifest = upload(self._job_dir, staged)
        name = name_of(staged.step, self._job_dir.term)
        path = join(self._job_dir.checkpoints, name)
        try:
            # as late as can be; who takes over after this line renames our folder away, and the rename fails
            self._job_dir.check_owner()
            self._publish(folder, path, manifest)
            manifests.check_sizes(manifest.files, self._storage.list(path))
        except FileExistsError as error:
            self._job_dir.discard(folder)
            raise JobDirError(
                f"step {staged.step} is committed already by this run, as {path}, with other content; start "
                "the same command again: a step is committed once a term, and it goes on from there"
            ) from error
        except (OSError, MXSparkError, Damaged) as error:
            self._job_dir.discard(folder)
            raise explain(self._job_dir, error, "publish", path) from error
        # only now: until the commit stands the staged folder is what it is tried again from
        shutil.rmtree(staged.path)
        self._best[name] = ends_best_epoch(manifest)
        self._retain()
        size = sum(file.bytes for file in staged.files)
        return Committed(name, path, staged.step, size, time.monotonic() - start)

    def newest(self, into: Path) -> Optional[NewestCheckpoint]:
        """Copy the newest good checkpoint below the local folder `into`; None if there was never one.

        Damaged ones that are newer are set aside as ``_bad-…``.

        Raises
        ------
        JobDirError
            If there are checkpoints and none is good: a fresh start would hide the loss. Or if the job dir is gone.
        """
        try:
            return self._newest(into)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise explain(self._job_dir, error, "read", self._job_dir.checkpoints) from error

    def _newest(self, into: Path) -> Optional[NewestCheckpoint]:
        names = {entry.name for entry in self._storage.list(self._job_dir.checkpoints)}
        bad: list[tuple[str, str]] = []
        for name in in_order(names):
            local = into / name
            try:
                manifest = self._fetch(name, local)
            except Damaged as error:
                bad.append((name, str(error)))
                shutil.rmtree(local, ignore_errors=True)
                continue
            # set aside only once there is a good one: where all are bad the user may still want to look at each
            for damaged, _ in bad:
                self._set_aside(damaged)
            self._restored = name
            restore = Restore(str(local), manifest.step, manifest.epoch, manifest.step_in_epoch)
            warnings = tuple(f"checkpoint {damaged} is damaged and set aside: {reason}" for damaged, reason in bad)
            return NewestCheckpoint(restore, manifest, name, warnings)
        bad += [(name, "set aside before") for name in sorted(names) if name.startswith(_BAD)]
        if bad:
            self._job_dir.check_owner()  # they may be missing only because the whole job dir is
            raise self._none_is_good(bad)
        return None

    def _publish(self, folder: str, path: str, manifest: Manifest) -> None:
        try:
            self._storage.rename(folder, path)
        except (ClusterError, FileExistsError):
            # it may have happened and only the answer be lost, of this rename or of one before it
            if not self._holds(path, manifest):
                raise
            self._job_dir.discard(folder)

    def _holds(self, path: str, manifest: Manifest) -> bool:
        try:
            return manifests.read(self._storage, path).to_bytes() == manifest.to_bytes()
        except Damaged:
            return False

    def _fetch(self, name: str, local: Path) -> Manifest:
        manifest = manifests.fetch(self._storage, join(self._job_dir.checkpoints, name), local)
        if name_of(manifest.step, manifest.term) != name:
            raise Damaged(f"its manifest is that of {name_of(manifest.step, manifest.term)}")
        return manifest

    def _set_aside(self, name: str) -> None:
        source = join(self._job_dir.checkpoints, name)
        try:
            self._storage.rename(source, join(self._job_dir.checkpoints, _BAD + name))
        except FileExistsError:
            self._storage.rename(source, join(self._job_dir.checkpoints, f"{_BAD}{name}-{uuid.uuid4().hex[:8]}"))

    def _none_is_good(self, bad: Sequence[tuple[str, str]]) -> JobDirError:
        lines = "".join(f"  - {name}: {reason}\n" for name, reason in bad)
        return JobDirError(
            f"{self._job_dir.checkpoints} holds checkpoints, but none is good:\n{lines}restore one from a copy, or "
            "remove them all to start from the beginning, or set job.dir to another folder"
        )

    def _retain(self) -> None:
        """Remove what is not kept; a failure is only told, as the next commit tries again."""
        try:
            names = in_order({entry.name for entry in self._storage.list(self._job_dir.checkpoints)})
            for name in self._to_remove(names):
                gone = join(self._job_dir.tmp, f"gone-{name}")
                # by way of our own folder: it is gone if another run took over, and nobody sees half a checkpoint
                self._storage.rename(join(self._job_dir.checkpoints, name), gone)
                self._job_dir.discard(gone)
        except (OSError, MXSparkError) as error:
            log.warning("old checkpoints of %s are left for the next commit to remove: %s", self._job_dir.path, error)

    def _to_remove(self, names: Sequence[str]) -> list[str]:
        """Return all but the newest, the one of the best epoch and the one restored from; `names` are newest first."""
        best = next((name for name in names if self._is_best(name)), None) if len(names) > self._keep else None
        return [name for name in names[self._keep :] if name not in (best, self._restored)]

    def _is_best(self, name: str) -> bool:
        if name not in self._best:
            try:
                found = manifests.read(self._storage, join(self._job_dir.checkpoints, name))
                self._best[name] = ends_best_epoch(found)
            except Damaged:
                self._best[name] = False
        return self._best[name]
