"""Terms: numbers that order the owners of a job dir, each given out once, and what it takes to get the next one.

The owner of a term keeps its lease by touching the term's file. Whoever wants the next term looks at that file: an
owner is live if the file was *seen to change*; nobody compares clocks.
"""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import dataclass
from typing import Callable, Optional

from mxspark.errors import JobDirError, JobDirRemoved, MXSparkError, OwnerLives, TakenOver
from mxspark.errors.kinds import KINDS
from mxspark.job.record import RunInfo
from mxspark.protocol import codec
from mxspark.storage.base import Storage, join

log = logging.getLogger(__name__)

TERM = re.compile(r"t(\d{6,})")
TERMS = "_terms"
TOUCHES = 3  # of the file within a lease
_OVER = "-over"
_TRIES = 100
_LIMIT_BYTES = 1 << 16


def term_name(term: int) -> str:
    """Return the name of a term's file and folder."""
    return f"t{term:06d}"


def terms(storage: Storage, path: str) -> list[int]:
    """Return the terms of the job dir `path`, in no order."""
    matches = (TERM.fullmatch(entry.name) for entry in storage.list(join(path, TERMS)))
    return [int(match.group(1)) for match in matches if match]


def read_owner(storage: Storage, path: str, term: int) -> Optional[RunInfo]:
    """Return who took a term, None while that is not to be read."""
    try:
        content = json.loads(storage.read(join(path, TERMS, term_name(term)), _LIMIT_BYTES))
        return codec.decode(RunInfo, content)
    except (ValueError, FileNotFoundError):
        return None


def describe(owner: Optional[RunInfo]) -> str:
    """Return in words who took a term."""
    return owner.describe() if owner else "by a run that has not said who it is"


def touch(storage: Storage, path: str, term: int) -> None:
    """Show that the owner of a term lives."""
    storage.touch(join(path, TERMS, term_name(term)))


def check_owner(storage: Storage, path: str, term: int, run: RunInfo, mark: str) -> None:
    """Prove that a term is the newest and that of `run`, which has made the folder `mark` in the job dir.

    Raises
    ------
    TakenOver
        If a later run has the newest; it is named.
    JobDirRemoved
        If the storage answers that the term is gone; what lies there now, if anything, is not this run's.
    """
    # the terms and nothing else decide: an owner's folder below _tmp may be gone because its next owner is putting it
    # away, and that one is to be named
    try:
        newest = max(terms(storage, path), default=0)
    except (FileNotFoundError, NotADirectoryError):
        newest = 0
    if newest > term:
        who = describe(read_owner(storage, path, newest))
        raise TakenOver(
            f"another run owns the job dir {path}: term {newest}, {who}; this run had term {term} and must not publish "
            f"any more; {KINDS[TakenOver.kind].remedy}"
        )
    # a job dir that was made anew counts from 1 again; as long as our folder is there, nothing need be read
    if newest == term and (storage.stat(mark) is not None or _is_of(storage, path, term, run)):
        return
    raise JobDirRemoved(
        f"the job dir {path} was removed or moved away while this run was at work in it; by whom is not known. Its "
        f"checkpoints and models went with it, so the run ends here; {KINDS[JobDirRemoved.kind].remedy}"
    )


def _is_of(storage: Storage, path: str, term: int, run: RunInfo) -> bool:
    owner = read_owner(storage, path, term)
    return owner is not None and owner.run_id == run.run_id


def release(storage: Storage, path: str, term: int, run: RunInfo) -> None:
    """Say that `run`, the owner of a term, has ended, so that nobody waits for its lease to run out."""
    try:
        if not _is_of(storage, path, term, run):
            return  # the job dir is gone; the term may be that of a run in one that was made anew
        # a file of its own, as a term's file is never written again: who reads it meanwhile would read half an owner
        storage.create(join(path, TERMS, term_name(term) + _OVER), b"")
    except (OSError, MXSparkError) as error:
        log.info("the end of term %d is not noted: %s", term, error)


@dataclass(frozen=True)
class Owner:
    """The owner of the newest term, as it was seen: who (None if unknown), its lease, and whether it has ended."""

    term: int
    run: Optional[RunInfo]
    changed: int
    is_over: bool


class Claim:
    """A run's wish to own a job dir next.

    A term is taken only if the one before it is the one that was looked at: of runs that start at once each sees the
    other.

    Parameters
    ----------
    run : RunInfo
        Who wants it. A run of the same job takes over at once: it is the same job, started again.
    take_over : bool
        Whether to replace a live owner of another job.
    say : callable
        Told in words what is waited for.
    """

    def __init__(
        self,
        storage: Storage,
        path: str,
        run: RunInfo,
        take_over: bool = False,
        *,
        say: Callable[[str], None] = log.info,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._storage = storage
        self._path = path
        self._run = run
        self._take_over = take_over
        self._say = say
        self._now = now
        self._sleep = sleep
        self._seen: Optional[Owner] = None
        self._since = 0.0

    def wait_until_free(self) -> int:
        """Return the term of the owner there is, 0 for none, once it may be replaced.

        Raises
        ------
        OwnerLives
            If it is of another job, and was seen to live.
        """
        while True:
            owner = self._look()
            if owner is None:
                return 0
            if self._may_replace(owner):
                return owner.term
            self._sleep(min(1.0, self._lease_s(owner) / 10))

    def acquire(self) -> int:
        """Make the run the owner of the next term and return it.

        Raises
        ------
        OwnerLives
            As :meth:`wait_until_free` does.
        """
        content = json.dumps(codec.encode(self._run), indent=1).encode()
        for _ in range(_TRIES):
            # one more than the owner that was looked at, not than the newest there is by now: a run that took a term
            # in between has not been looked at, and may live
            term = self.wait_until_free() + 1
            try:
                self._storage.create(join(self._path, TERMS, term_name(term)), content)
            except FileExistsError:
                continue
            return term
        raise JobDirError(
            f"{_TRIES} terms of {self._path} in a row went to other runs: something starts this job over and over; "
            "stop it"
        )

    def _look(self) -> Optional[Owner]:
        try:
            entries = {entry.name: entry for entry in self._storage.list(join(self._path, TERMS))}
        except FileNotFoundError:
            return None
        newest = max((int(match.group(1)) for match in map(TERM.fullmatch, entries) if match), default=0)
        if not newest:
            return None
        name = term_name(newest)
        run = read_owner(self._storage, self._path, newest)
        return Owner(newest, run, entries[name].changed, name + _OVER in entries)

    def _may_replace(self, owner: Owner) -> bool:
        if self._take_over or owner.is_over or (owner.run is not None and owner.run.job_id == self._run.job_id):
            return True
        seen = self._seen
        if seen is None or seen.term != owner.term or (seen.run is None and seen != owner):
            # one that has not said who it is may be about to
            self._seen, self._since = owner, self._now()
            self._say(
                f"job.dir has an owner, {describe(owner.run)}; looking for up to {self._lease_s(owner):g} s whether it "
                "lives"
            )
            return False
        # seen to change, by us: the clock of the storage is never compared with ours, they may be hours apart
        if owner.changed != seen.changed:
            raise self._lives(owner)
        if self._now() - self._since <= self._lease_s(owner):
            return False
        self._say(f"the owner of job.dir, {describe(owner.run)}, has not been seen to live; it is replaced")
        return True

    def _lease_s(self, owner: Owner) -> float:
        """Return the lease of the owner: it touches its file by its own, not by ours."""
        return (owner.run or self._run).lease_s

    def _lives(self, owner: Owner) -> OwnerLives:
        theirs = owner.run.job_id if owner.run else "unknown"
        return OwnerLives(
            f"the job dir {self._path} belongs to a run that lives: {describe(owner.run)} (term {owner.term}, job id "
            f"{theirs}; this run's is {self._run.job_id}); {KINDS[OwnerLives.kind].remedy}, which ends that run within "
            f"{self._lease_s(owner):g} s"
        )
