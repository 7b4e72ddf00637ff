"""The job dir: its record, who owns it, and what is published in it beside checkpoints.

::

    <job dir>/_job.json                   what is fixed between runs; written once
    <job dir>/_terms/t000007              created without overwriting: one run owns a term, and touches it
    <job dir>/_terms/t000007-over         the owner of the term has ended
    <job dir>/_tmp/t000007/               everything the owner of the term has not published yet
    <job dir>/runs/<run id>/              configuration, events, logs, report of a run
    <job dir>/checkpoints/s00001200-t000007/
    <job dir>/model/  model-best/

Everything published comes out of the owner's folder below ``_tmp`` by one rename, and everything deleted goes into it
by one. A new owner first takes the next term, then renames the old owner's folder away: whatever the old owner still
tries finds its folder gone. Nothing is ever deleted that no run of ours has put there.
"""

from __future__ import annotations

import logging
import re
import uuid
from pathlib import Path
from typing import Optional

from mxspark.errors import InternalError, JobDirError, MXSparkError
from mxspark.job.record import JobRecord, JobSettings, RunInfo, differences, with_known_shapes
from mxspark.jobdir.ownership import TERM, TERMS, Claim, check_owner, term_name
from mxspark.storage.base import Storage, join
from mxspark.storage.probe import make, probe

log = logging.getLogger(__name__)

MODELS = ("model", "model-best")
TMP = "_tmp"
_RECORD = "_job.json"
_CHECKPOINTS = "checkpoints"
_RUNS = "runs"
_TAKEN = re.compile(r"(?:taken-)?t(\d{6,})(?:-by-t\d{6,})?")
REPLACED = "replaced-"
_LIMIT_BYTES = 64 << 20


def preflight(storage: Storage, path: str, settings: Optional[JobSettings] = None) -> str:
    """Make the job dir if need be and prove, before anything else is done, that this job can use it.

    Parameters
    ----------
    storage : Storage
        What :func:`mxspark.storage.base.open_storage` gave for `path`.
    path : str
        ``job.dir`` as the user wrote it.
    settings : JobSettings, optional
        Compared with those of the runs before, if there were any.

    Returns
    -------
    str
        The qualified path.

    Raises
    ------
    JobDirError
        If it is a file, cannot be written, holds something else, or belongs to another job.
    """
    qualified = storage.qualify(path)
    make(storage, qualified)
    entries = storage.list(qualified)
    names = {entry.name for entry in entries}
    if _RECORD not in names and names - {TMP}:
        seen = ", ".join(sorted(names - {TMP})[:5])
        raise JobDirError(
            f"job.dir {qualified} is not empty and not a job dir: it holds {seen}, but no {_RECORD}; set job.dir to a "
            "new or empty folder"
        )
    for entry in entries:
        if entry.name in (TMP, TERMS, _CHECKPOINTS, _RUNS) and not entry.is_folder:
            raise JobDirError(
                f"job.dir {qualified} is damaged: {entry.name} is a file there, where a job dir has a folder; restore "
                "it from a copy, or set job.dir to a new folder"
            )
    probe(storage, join(qualified, TMP))
    recorded = read_record(storage, qualified) if _RECORD in names else None
    if recorded is not None and settings is not None:
        _refuse(storage, qualified, differences(recorded.settings, with_known_shapes(settings, recorded.settings)))
    return qualified


def read_record(storage: Storage, path: str) -> Optional[JobRecord]:
    """Return the record of the job that owns the job dir `path`, None if no run has begun there.

    Raises
    ------
    JobDirError
        If there is one that cannot be read.
    """
    try:
        return JobRecord.from_bytes(storage.read(join(path, _RECORD), _LIMIT_BYTES))
    except FileNotFoundError as error:
        entry = storage.stat(join(path, _RECORD))
        if entry is not None and entry.is_folder:
            raise _unreadable(path, "it is a folder") from error
        return None  # though another run may just have made one
    except (ValueError, RecursionError) as error:
        if isinstance(error, MXSparkError):
            raise
        raise _unreadable(path, error) from error


def _unreadable(path: str, why: object) -> JobDirError:
    return JobDirError(
        f"{path}/{_RECORD} cannot be read ({why}): it is damaged or of another version of mxspark; set job.dir to a "
        "new folder"
    )


class JobDir:
    """A job dir that this run owns, as long as no later run takes it over.

    Made by :meth:`acquire`, after :func:`preflight` and once the rows are spooled.

    Attributes
    ----------
    storage : Storage
        Where it lies.
    path : str
        Its qualified path.
    term : int
        This run's ownership of it.
    run : RunInfo
        This run.
    """

    def __init__(self, storage: Storage, path: str, term: int, run: RunInfo) -> None:
        self.storage = storage
        self.path = path
        self.term = term
        self.run = run
        self.tmp = join(path, TMP, term_name(term))
        self.checkpoints = join(path, _CHECKPOINTS)
        self.run_folder = join(path, _RUNS, run.run_id)

    @classmethod
    def acquire(
        cls, storage: Storage, path: str, record: JobRecord, run: RunInfo, claim: Optional[Claim] = None
    ) -> JobDir:
        """Take the job dir over: check the record, take the next term, put the earlier owner's unfinished work away.

        With `claim`, which may have looked at the owner before, a live one of another job is not replaced.

        Raises
        ------
        JobDirError
            If the job dir belongs to a job that differs from `record` (OwnerLives: to a run that is at work), or
            another run took it over meanwhile (TakenOver).
        """
        qualified = preflight(storage, path)
        _settle_record(storage, qualified, record, run)
        for name in (TERMS, _CHECKPOINTS, _RUNS):
            storage.make_folder(join(qualified, name))
        term = (claim or Claim(storage, qualified, run)).acquire()
        job_dir = cls(storage, qualified, term, run)
        # the term first, the folders of earlier owners after it: a slow earlier owner that looks now sees our term and
        # stops; one that looked just before finds the source of its last rename gone
        storage.make_folder(job_dir.tmp)
        job_dir._put_away_earlier()
        # an owner that came between our term and our folder has not seen the folder; then we see its term
        job_dir.check_owner()
        storage.make_folder(job_dir.run_folder)
        return job_dir

    def check_owner(self) -> None:
        """Prove that the job dir is there and no later run has taken it over.

        Raises
        ------
        TakenOver
            If one has; it is named.
        JobDirRemoved
            If it is known to be gone.
        """
        check_owner(self.storage, self.path, self.term, self.run, self.run_folder)

    def write_run_file(self, name: str, data: bytes) -> str:
        """Write or replace a file in the folder of this run and return its path; a crash in between may lose it."""
        target = join(self.run_folder, name)
        self.storage.remove(target)  # a storage never overwrites
        self.storage.create(target, data)
        return target

    def put_run_file(self, local_file: Path, name: str) -> str:
        """Copy a local file into the folder of this run, in place of one of that name, and return its path."""
        target = join(self.run_folder, name)
        self.storage.remove(target)
        self.storage.put(local_file, target)
        return target

    def discard(self, path: str) -> None:
        """Remove something of ours below ``_tmp``; if that fails the next owner does it."""
        try:
            self.storage.remove(path, recursive=True)
        except (OSError, MXSparkError) as error:
            log.warning("%s is left for the next run to remove: %s", path, error)

    def put_back(self, folder: Optional[str] = None) -> None:
        """Undo a half-done replacement of a model: what was moved into `folder` returns, unless the new one is there.

        Without `folder` it is this run's own below ``_tmp``.
        """
        folder = folder or self.tmp
        for name in MODELS:
            old, target = join(folder, REPLACED + name), join(self.path, name)
            if self.storage.stat(old) is None:
                continue
            # the replacement went through, and only the old one was not removed any more
            if self.storage.stat(target) is not None:
                self.discard(old)
                continue
            try:
                self.storage.rename(old, target)
            except (FileExistsError, FileNotFoundError):
                log.info("another run put %s back first", target)

    def _put_away_earlier(self) -> None:
        """Take every earlier owner's unfinished work out of its hands, mend what it left half done, remove the rest."""
        root = join(self.path, TMP)
        for entry in self.storage.list(root):
            match = _TAKEN.fullmatch(entry.name)
            if match is None or int(match.group(1)) >= self.term:
                continue
            folder = join(root, entry.name)
            # renamed before anything is removed: its owner may still live, and must not see half of its folder.
            # One that is renamed already was left by a new owner that died in the middle of this
            if TERM.fullmatch(entry.name):
                taken = join(root, f"taken-{entry.name}-by-{term_name(self.term)}")
                try:
                    self.storage.rename(folder, taken)
                except FileNotFoundError:
                    continue  # another new owner was quicker
                folder = taken
            self.put_back(folder)
            self.discard(folder)


def _settle_record(storage: Storage, path: str, record: JobRecord, run: RunInfo) -> None:
    """Write the job's record if there is none, else compare."""
    if read_record(storage, path) is None:
        # drafted elsewhere, so that nobody ever sees half a record
        draft = join(path, TMP, f"record-{uuid.uuid4().hex}")
        storage.create(draft, record.to_bytes(run.job_id))
        try:
            storage.rename(draft, join(path, _RECORD))
        except FileExistsError:
            storage.remove(draft)
    recorded = read_record(storage, path)
    if recorded is None:
        raise InternalError(f"{path}/{_RECORD} was written and is not there")
    lines = differences(recorded.settings, record.settings)
    data = [{"data": each.data, "validation_data": each.validation_data} for each in (recorded, record)]
    _refuse(storage, path, lines + differences(*data))


def _refuse(storage: Storage, path: str, lines: list[str]) -> None:
    if lines:
        names = {entry.name for entry in storage.list(path)}
        kept = names & set(MODELS) or (_CHECKPOINTS in names and storage.list(join(path, _CHECKPOINTS)))
        also = "" if kept else "; nothing is kept in it yet: unless a run is at work there, it may be removed"
        raise JobDirError(
            f"job.dir {path} belongs to a job that differs from this one:\n"
            + "".join(f"  - {line}\n" for line in lines)
            + "set job.dir to another folder to start afresh, or give these their old values to go on"
            + also
        )
