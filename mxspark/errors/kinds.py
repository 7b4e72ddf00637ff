"""The kinds of failures, and what a user can do about each."""

from __future__ import annotations

from mxspark.errors.cause import Cause

_AGAIN = "start the same command again: it goes on from the newest checkpoint"


_REMEDIES = {
    "role": f"{_AGAIN}. If the log shows no reason, ask who sent the signal: dmesg -T, the cluster manager's log",
    "agent": f"{_AGAIN}. Look at the executor's log (yarn logs, or the Spark UI) for why its process ended",
    "stage": f"{_AGAIN}, unless somebody cancelled it on purpose. The Spark UI and the executors' logs say more",
    "training": "mend the code the traceback points to, then start the same command again: it goes on from the newest "
    "checkpoint",
    "input": "change what is named, then start again",
    "memory": "give a worker more memory (spark.executor.memoryOverhead on YARN, the container's limit elsewhere), or "
    f"let it need less (a smaller training.batch_size, fewer workers a host), then {_AGAIN}",
    "disk": f"make room on the disk that is named, or point spark.local.dir to another one, then {_AGAIN}",
    "limit": f"raise the limit that is named for the user the executors run as, then {_AGAIN}",
    "hang": "the log holds the stacks of every thread: see what they wait for. If a step really takes that long, raise "
    f"failure.hang_s; else {_AGAIN}",
    "start": "see who is named and the log of each: no slot, a slow disk, or a slow host? Raise failure.start_s, or "
    f"{_AGAIN}",
    "host": "run all tasks on the driver's host, as one user, with one /tmp",
    "internal": "please report it with this message and the run's folder",
    "interrupted": _AGAIN,
    "owner": "wait for the end of the run that is named, or stop it, or take the job dir over with --take-over "
    "(job.take_over: true)",
    "taken": "let the run that is named finish: it goes on from the newest checkpoint. If it is a mistake, stop it, "
    "then start this command again",
    "removed": "find out who removes it (a clean-up of old folders, a disk that is not mounted any more). If it can be "
    "put back (HDFS keeps what was removed in .Trash for a while), the same command goes on from the newest "
    "checkpoint; if not, from the beginning",
    "killed": f"{_AGAIN}. Ask who sent the signal: dmesg -T (the kernel, out of memory), the cluster manager's log",
    "stopped": f"{_AGAIN}. Ask who stopped the process: kill -STOP, a Ctrl-Z, a debugger",
    "driver": "change what is named, then start again",
}


def remedy(cause: Cause) -> str:
    """Return what the user can do about a failure."""
    return remedy_of(cause.kind)


def remedy_of(kind: str) -> str:
    """Return what the user can do about a failure of a kind; messages that say it too take it from here."""
    return _REMEDIES.get(kind, _AGAIN)
