"""The kinds of failures: one row says all there is to know of one.

A failure travels with the name of its kind (:class:`mxspark.errors.cause.Cause`, which refuses a name without a row).
Which exception it becomes, whether another attempt is made, what a user is told and what of the log is shown follow
from the row. ``docs/failures.md`` has a line for each; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from mxspark.errors import (
    ClusterError,
    DataError,
    Diverged,
    InternalError,
    JobDirRemoved,
    MXSparkError,
    NoProgress,
    NotStarted,
    OwnerLives,
    RoleDied,
    TakenOver,
    TrainingCodeError,
)


@dataclass(frozen=True)
class Kind:
    """One kind of failure.

    Attributes
    ----------
    name : str
        As it travels and stands in ``--result`` and ``failure.json``.
    error : type
        The exception it becomes: who can mend it.
    meaning : str
        What has happened, in the words of ``docs/failures.md``.
    remedy : str
        What the user can do about it.
    why_hopeless : str
        Why no further attempt is made; empty for what may be gone the next time.
    comes_from_outside : bool
        The process that failed is not to blame, so that the same failure twice in a row is chance.
    is_asked_for : bool
        Somebody wanted the end: there is nothing to explain.
    is_echo : bool
        The end of the driver's JVM brings it about, and it is heard of a moment before the JVM is gone.
    names_exception : bool
        The type of the exception belongs in the message, which may say little without it.
    shows_traceback : bool
        The traceback says more than the message.
    shows_log : bool
        The end of the log says more than the message, where there is no traceback.
    shows_stacks : bool
        Its log ends in the stacks of all threads, which are shown whole.
    is_examined : bool
        Before the roles are ended they are examined, for which of them is at fault.
    may_blame_another : bool
        Where the one that is named only waits, a role in code of the user's is at fault in its place.
    gives_up_absent : bool
        An agent that has not joined by then counts as lost: the next attempt does not wait for it.
    """

    name: str
    error: type[MXSparkError]
    meaning: str
    remedy: str
    why_hopeless: str = ""
    comes_from_outside: bool = False
    is_asked_for: bool = False
    is_echo: bool = False
    names_exception: bool = False
    shows_traceback: bool = True
    shows_log: bool = True
    shows_stacks: bool = False
    is_examined: bool = False
    may_blame_another: bool = False
    gives_up_absent: bool = False

    @property
    def heals(self) -> bool:
        """Whether it may be gone the next time; another kind would only be met again, later."""
        return not self.why_hopeless


_AGAIN = "start the same command again: it goes on from the newest checkpoint"

_ROWS = (
    Kind(
        "role",
        RoleDied,
        "a role process ended before its work was done",
        f"{_AGAIN}. If the log shows no reason, ask who sent the signal: dmesg -T, the cluster manager's log",
    ),
    Kind(
        "agent",
        RoleDied,
        "an agent, the process that owns roles, is gone",
        f"{_AGAIN}. Look at the executor's log (yarn logs, or the Spark UI) for why its process ended",
        comes_from_outside=True,
        is_echo=True,
    ),
    Kind(
        "stage",
        ClusterError,
        "Spark ended the workers' stage",
        f"{_AGAIN}, unless somebody cancelled it on purpose. The Spark UI and the executors' logs say more",
        comes_from_outside=True,
        is_echo=True,
    ),
    Kind(
        "hang",
        NoProgress,
        "nothing moved for `failure.hang_s`",
        "the log holds the stacks of every thread: see what they wait for. If a step really takes that long, raise "
        f"failure.hang_s; else {_AGAIN}",
        shows_stacks=True,
        is_examined=True,
        may_blame_another=True,
    ),
    Kind(
        "start",
        NotStarted,
        "the group did not form, or did not begin to train, within `failure.start_s`",
        "see who is named and the log of each: no slot, a slow disk, or a slow host? Raise failure.start_s, or "
        f"{_AGAIN}",
        is_examined=True,
        gives_up_absent=True,
    ),
    Kind(
        "stopped",
        ClusterError,
        "the driver, its JVM or another process of Spark's stood still: SIGSTOP, Ctrl-Z",
        f"{_AGAIN}. Ask who stopped the process: kill -STOP, a Ctrl-Z, a debugger",
        comes_from_outside=True,
    ),
    Kind(
        "training",
        TrainingCodeError,
        "the user's code raised",
        "mend the code the traceback points to, then start the same command again: it goes on from the newest "
        "checkpoint",
        why_hopeless="an error of the training code would come again",
        names_exception=True,
        shows_log=False,  # the traceback is there, but for what we refuse in words of our own
    ),
    Kind(
        "diverged",
        Diverged,
        "a parameter, the loss or a metric became NaN or infinite",
        "change what is named (a learning rate and a schedule may change from run to run), then start the same command "
        "again: it goes on from the newest checkpoint, which is finite",
        why_hopeless="it would diverge again",
        shows_traceback=False,
        shows_log=False,
    ),
    Kind(
        "input",
        DataError,
        "the configuration, the data or the job dir cannot be used",
        "change what is named, then start again",
        why_hopeless="the data or the job dir would be the same again",
        shows_traceback=False,
        shows_log=False,
    ),
    Kind(
        "memory",
        ClusterError,
        "a process ran out of memory",
        "give a worker more memory (spark.executor.memoryOverhead on YARN, the container's limit elsewhere), or "
        f"let it need less (a smaller training.batch_size, fewer workers a host), then {_AGAIN}",
        why_hopeless="it would run out of memory again",
    ),
    Kind(
        "heap",
        ClusterError,
        "a JVM of Spark's ran out of heap",
        "give it more heap (spark.driver.memory where the master is local, else spark.executor.memory), or let it hold "
        "fewer rows at once (spark.sql.parquet.columnarReaderBatchSize, spark.sql.execution.arrow.maxRecordsPerBatch), "
        f"then {_AGAIN}",
        why_hopeless="it would run out of heap again",
    ),
    Kind(
        "disk",
        ClusterError,
        "a local disk is full",
        f"make room on the disk that is named, or point spark.local.dir to another one, then {_AGAIN}",
        why_hopeless="the disk would be full again",
    ),
    Kind(
        "limit",
        ClusterError,
        "a limit on open files or processes was met",
        f"raise the limit that is named for the user the executors run as, then {_AGAIN}",
        why_hopeless="it would meet the limit again",
    ),
    Kind(
        "host",
        ClusterError,
        "the roles cannot meet on the hosts that Spark gave",
        "run all tasks on the driver's host, as one user, with one /tmp",
        why_hopeless="the roles could not meet there again",
    ),
    Kind(
        "internal",
        InternalError,
        "a mistake of mxspark's own",
        "please report it with this message and the run's folder",
        why_hopeless="it is a mistake of mxspark's own, please report it",
        names_exception=True,
    ),
    Kind(
        "interrupted",
        ClusterError,
        "the end was asked for, or the command line that had started the driver was killed",
        _AGAIN,
        why_hopeless="the end was asked for",
        is_asked_for=True,
        is_echo=True,
    ),
    Kind(
        "owner",
        OwnerLives,
        "a run of another job is at work in the job dir",
        "wait for the end of the run that is named, or stop it, or take the job dir over with --take-over "
        '(in Python job={"take_over": True})',
        why_hopeless="it would still be the other run's",
    ),
    Kind(
        "taken",
        TakenOver,
        "a later run has taken the job dir over",
        "let the run that is named finish: it goes on from the newest checkpoint. If it is a mistake, stop it, "
        "then start this command again",
        why_hopeless="the later run would have to end first",
    ),
    Kind(
        "removed",
        JobDirRemoved,
        "the job dir of a run at work is gone",
        "find out who removes it (a clean-up of old folders, a disk that is not mounted any more). If it can be "
        "put back (HDFS keeps what was removed in .Trash for a while), the same command goes on from the newest "
        "checkpoint; if not, from the beginning",
        why_hopeless="there would be nothing to publish to",
    ),
    Kind(
        "killed",
        ClusterError,
        "the driver or its JVM was killed",
        f"{_AGAIN}. Ask who sent the signal: dmesg -T (the kernel, out of memory), the cluster manager's log",
        why_hopeless="nobody is left to begin one",
    ),
    Kind(
        "driver",
        ClusterError,
        "anything else that the driver found and no role process is behind",
        f"change what is named, then {_AGAIN}",
        why_hopeless="the driver would find the same again",
    ),
)
KINDS = {kind.name: kind for kind in _ROWS}


def check(name: str) -> None:
    """Refuse what is no kind of failure.

    Raises
    ------
    ValueError
        With the names there are.
    """
    if name not in KINDS:
        raise ValueError(f"no kind of failure is called {name!r}; use one of {', '.join(KINDS)}")
