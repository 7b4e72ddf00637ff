"""Staged folders into the job dir: upload under ``_tmp``, then one rename."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Optional

from mxspark.errors import InternalError, MXSparkError
from mxspark.jobdir import manifest as manifests
from mxspark.jobdir.layout import REPLACED, JobDir
from mxspark.jobdir.manifest import MANIFEST, Damaged, Manifest
from mxspark.jobdir.record_file import MODELS
from mxspark.protocol.events import Staged
from mxspark.storage.base import failed, join


def upload(job_dir: JobDir, staged: Staged) -> tuple[str, Manifest]:
    """Copy a staged folder and its manifest into a new folder below ``_tmp``, ready to be renamed to its place.

    Returns
    -------
    folder : str
        The new folder.
    manifest : Manifest
        What it holds.

    Raises
    ------
    JobDirError
        If another run took the job dir over, it is gone, or this run may not write or has no room.
    ClusterError
        If the storage failed; nothing is published.
    """
    storage, manifest = job_dir.storage, describe(job_dir, staged)
    folder = join(job_dir.tmp, uuid.uuid4().hex)
    try:
        storage.make_folder(folder)
        for file in staged.files:
            storage.put(Path(staged.path) / file.name, join(folder, file.name))
        # the manifest last: a folder that has one is whole
        manifests.check_sizes(manifest.files, storage.list(folder))
        storage.create(join(folder, MANIFEST), manifest.to_bytes())
    except (OSError, MXSparkError, Damaged) as error:
        job_dir.discard(folder)
        raise explain(job_dir, error, "write", folder) from error
    return folder, manifest


def explain(job_dir: JobDir, error: Exception, doing: str, path: str) -> MXSparkError:
    """Return what to raise for `error`: that the job dir is another's or gone if it is, else it as one of ours."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        job_dir.check_owner()
    return error if isinstance(error, MXSparkError) else failed(doing, path, f"{type(error).__name__}: {error}")


def describe(job_dir: JobDir, staged: Staged) -> Manifest:
    """Return the manifest of a staged folder."""
    try:
        manifests.check_names(staged.files)
        step_in_epoch = staged.meta["step_in_epoch"] if staged.kind == "checkpoint" else 0
    except (Damaged, KeyError) as error:
        raise InternalError(f"the staged folder {staged.path} cannot be published: {error}") from error
    return Manifest(
        version=manifests.VERSION,
        kind=staged.kind,
        run_id=job_dir.run.run_id,
        term=job_dir.term,
        step=staged.step,
        epoch=staged.epoch,
        step_in_epoch=step_in_epoch,
        files=staged.files,
        meta=staged.meta,
    )


def publish_model(job_dir: JobDir, staged: Staged, name: str = "model") -> str:
    """Replace the folder `name` of the job dir by a staged one, and remove the staged one.

    A crash in between leaves the old folder below ``_tmp``, where the next owner finds it and puts it back.

    Returns
    -------
    str
        Path of the published folder.

    Raises
    ------
    JobDirError, ClusterError
        As :func:`upload` does; the old folder is in its place then.
    """
    if name not in MODELS:
        raise InternalError(f"{name!r} is none of the model folders {MODELS}")
    storage = job_dir.storage
    target = join(job_dir.path, name)
    old = join(job_dir.tmp, REPLACED + name)
    folder, _ = upload(job_dir, staged)
    try:
        job_dir.check_owner()
        job_dir.put_back()  # of a replacement that failed half-way, which would be in the way of this one
        # nothing is renamed onto another, so for a moment there is no model; who dies here leaves the old one in `old`,
        # which `put_back` finds
        if storage.stat(target) is not None:
            storage.rename(target, old)
        storage.rename(folder, target)
    except (OSError, MXSparkError) as error:
        job_dir.put_back()
        job_dir.discard(folder)
        raise explain(job_dir, error, "publish", target) from error
    job_dir.discard(old)
    shutil.rmtree(staged.path)
    return target


def read_model(job_dir: JobDir, name: str = "model") -> Optional[Manifest]:
    """Return the manifest of a published model, None if there is no such folder or its manifest is damaged."""
    try:
        return manifests.read(job_dir.storage, join(job_dir.path, name))
    except Damaged:
        return None
