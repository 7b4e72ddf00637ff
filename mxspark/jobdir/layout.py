"""The job dir: its record, who owns it, and what is published in it beside checkpoints.

::

    <job dir>/_job.json                   what is fixed between runs, and which command started over; written once
    <job dir>/_fixed.json                 what of that only a worker can know; written before anything is published
    <job dir>/_terms/t000007              created without overwriting: one run owns a term, and touches it
    <job dir>/_terms/t000007-over         the owner of the term has ended
    <job dir>/_tmp/t000007/               everything the owner of the term has not published yet
    <job dir>/runs/<run id>/              events, logs and result of a run; after a failure ``failure.json`` too
    <job dir>/checkpoints/s00001200-t000007/
    <job dir>/model/  model-best/
    <job dir>/_aside/t000007/             all but the terms, as the owner of the term found it when it started over

Everything published comes out of the owner's folder below ``_tmp`` by one rename, and everything deleted goes into it
by one. A new owner first takes the next term, then renames the old owner's folder away: whatever the old owner still
tries finds its folder gone. Nothing is ever deleted that no run of ours has put there.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Optional

from mxspark.errors import JobDirError, MXSparkError
from mxspark.job.record import Fresh, JobRecord, JobSettings, RunInfo, differences, with_known_shapes
from mxspark.jobdir import record_file
from mxspark.jobdir.aside import ASIDE, keep, set_aside
from mxspark.jobdir.ownership import TERM, TERMS, Claim, check_owner, term_name
from mxspark.jobdir.record_file import CHECKPOINTS, FIXED, MODELS, RECORD, TMP
from mxspark.storage.base import Storage, join
from mxspark.storage.probe import make, probe

log = logging.getLogger(__name__)

RUNS = "runs"
_TAKEN = re.compile(r"(?:taken-)?t(\d{6,})(?:-by-t\d{6,})?")
REPLACED = "replaced-"


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
    strange = names - {TMP, TERMS, ASIDE}  # these are left by a run that died while it started over
    if RECORD not in names and strange:
        seen = ", ".join(sorted(strange)[:5])
        raise JobDirError(
            f"job.dir {qualified} is not empty and not a job dir: it holds {seen}, but no {RECORD}; set job.dir to a "
            "new or empty folder"
        )
    for entry in entries:
        if entry.name in (TMP, TERMS, ASIDE, CHECKPOINTS, RUNS) and not entry.is_folder:
            raise JobDirError(
                f"job.dir {qualified} is damaged: {entry.name} is a file there, where a job dir has a folder; restore "
                "it from a copy, or set job.dir to a new folder"
            )
    probe(storage, join(qualified, TMP))
    recorded = record_file.read(storage, qualified) if RECORD in names and settings is not None else None
    if recorded is not None and settings is not None:
        lines = differences(recorded.settings, with_known_shapes(settings, recorded.settings))
        record_file.refuse(storage, qualified, lines)
    return qualified


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
    fresh : Fresh or None
        The command that this run starts over for; None if it does not.
    aside : str or None
        Where it has set aside what it found then.
    """

    def __init__(self, storage: Storage, path: str, term: int, run: RunInfo) -> None:
        self.storage = storage
        self.path = path
        self.term = term
        self.run = run
        self.fresh: Optional[Fresh] = None
        self.aside: Optional[str] = None
        self.tmp = join(path, TMP, term_name(term))
        self.checkpoints = join(path, CHECKPOINTS)
        self.run_folder = join(path, RUNS, run.run_id)

    @classmethod
    def acquire(
        cls,
        storage: Storage,
        path: str,
        record: JobRecord,
        run: RunInfo,
        claim: Optional[Claim] = None,
        *,
        fresh: Optional[Fresh] = None,
    ) -> JobDir:
        """Take the job dir over: check the record, take the next term, put the earlier owner's unfinished work away.

        With `claim`, which may have looked at the owner before, a live one of another job is not replaced. With `fresh`
        what is there is set aside, whatever it is of.

        Raises
        ------
        JobDirError
            If the job dir belongs to a job that differs from `record` (OwnerLives: to a run that is at work), or
            another run took it over meanwhile (TakenOver).
        """
        qualified = preflight(storage, path)
        if fresh is None:  # before the term: a run of another job takes nothing over
            record_file.settle(storage, qualified, record, run.job_id)
        storage.make_folder(join(qualified, TERMS))
        term = (claim or Claim(storage, qualified, run)).acquire()
        job_dir = cls(storage, qualified, term, run)
        # the term first, the folders of earlier owners after it: a slow earlier owner that looks now sees our term and
        # stops; one that looked just before finds the source of its last rename gone
        storage.make_folder(job_dir.tmp)
        job_dir._put_away_earlier()
        # an owner that came between our term and our folder has not seen the folder; then we see its term
        job_dir.check_owner()
        if fresh is not None:
            job_dir._start_over(record, fresh)
        for folder in (job_dir.checkpoints, join(qualified, RUNS), job_dir.run_folder):
            storage.make_folder(folder)
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

    def _start_over(self, record: JobRecord, fresh: Fresh) -> None:
        self.fresh = fresh
        # the record last: as long as it is there what is left beside it is known for this job's
        names = (*MODELS, CHECKPOINTS, RUNS, FIXED, RECORD)
        try:
            self.aside = set_aside(self.storage, self.path, self.tmp, term_name(self.term), names)
            # drafted in our own folder: who has taken over has put that away
            record_file.settle(self.storage, self.path, record, self.run.job_id, fresh, drafts=self.tmp)
        except FileNotFoundError:
            self.check_owner()
            raise

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
            keep(self.storage, self.path, folder, term_name(int(match.group(1))))
            self.discard(folder)
