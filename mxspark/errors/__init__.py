"""What can go wrong, split by who can mend it.

::

    MXSparkError
    ├── InputError (ValueError)            the user's configuration or data          exit code 2
    │   ├── ConfigError                    every problem of a configuration at once
    │   ├── DataError                      what the rows or the columns hold
    │   └── JobDirError                    the job dir cannot be used for this job
    │       ├── OwnerLives                 a run of another job is at work in it
    │       ├── TakenOver                  a later run has taken it from this one
    │       ├── JobDirRemoved              it is gone while a run is at work in it
    │       └── NoRoom                     its disk is full (mxspark.storage)
    ├── TrainingCodeError (RuntimeError)   the user's network, loss or data code     exit code 3
    │   └── Diverged                       a parameter, the loss or a metric is not finite
    ├── ClusterError (RuntimeError)        a role, a slot, a host, the network       exit code 4
    │   ├── RoleDied                       a role process ended before its work did
    │   ├── NoProgress                     nothing moved for longer than allowed
    │   ├── NotStarted                     the group did not form in time
    │   ├── PeerGone                       a worker this one sums with has ended (mxspark.mx)
    │   ├── Gone                           a storage answers that what was there is not (mxspark.storage)
    │   ├── CorruptFile                    a file is not what was written (mxspark.storage)
    │   └── Unreachable                    HDFS or YARN does not answer (mxspark.spark)
    └── InternalError (RuntimeError)       a mistake of ours                          exit code 70
        └── UnknownCommand                 two processes do not speak alike (mxspark.protocol)

A Ctrl-C stays a ``KeyboardInterrupt`` (exit code 130); a SIGTERM to the command line is one too (exit code 143).
Every message says what happened, which values were seen and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Optional, Protocol

if TYPE_CHECKING:
    from mxspark.errors.cause import Cause

EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143


class Outcome(Protocol):
    """What a run had reached when it failed: the part of `mxspark.Result` that a caller of `train` asks for."""

    @property
    def run_id(self) -> str:
        """Name of the run."""

    @property
    def epochs(self) -> int:
        """Passes done."""

    @property
    def steps(self) -> int:
        """Steps done."""

    @property
    def checkpoint(self) -> Optional[str]:
        """Newest committed checkpoint."""

    @property
    def cause(self) -> Optional[Cause]:
        """What failed first."""

    @property
    def remedy(self) -> str:
        """What to do about it."""

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as one JSON object."""


class MXSparkError(Exception):
    """Base of everything mxspark raises on purpose.

    Attributes
    ----------
    exit_code : int
        What a command line ends with.
    kind : str
        That of the cause where no role process is behind it; it says what the remedy is.
    cause : Cause or None
        The first failure of the run as data: role, rank, host, pid, exit code or signal, message, log tail.
    result : Result or None
        What the run had reached, once it owned the job dir.
    remedy : str
        What to do, where that is more exact than what follows from the kind of the cause; else empty.
    """

    exit_code: ClassVar[int] = 70
    kind: ClassVar[str] = "driver"
    remedy: ClassVar[str] = ""

    def __init__(self, message: str, cause: Optional[Cause] = None) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.result: Optional[Outcome] = None

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.cause)


class InputError(MXSparkError, ValueError):
    """What the user gave cannot be used."""

    exit_code = 2
    kind = "input"


class ConfigError(InputError):
    """A configuration with one or more problems, each a line of the message."""

    remedy = "correct what is named above, in the job file or on the command line, then start again"

    @classmethod
    def from_problems(cls, source: str, problems: Sequence[str]) -> ConfigError:
        """Build one error from lines that each name a key, the value seen and the remedy."""
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        return cls(f"{count} in {source}:\n" + "\n".join(f"  - {line}" for line in problems))


class DataError(InputError):
    """The rows or the columns cannot be trained on."""


class JobDirError(InputError):
    """The job dir cannot be written, or it belongs to another job."""


class OwnerLives(JobDirError):
    """A run of another identity is at work in the job dir; it is named, and so is the flag that takes over."""

    kind = "owner"


class TakenOver(JobDirError):
    """A later run owns the job dir now: this one publishes nothing more and ends; trying again would go on for ever."""

    kind = "taken"


class JobDirRemoved(JobDirError):
    """The job dir of a run that is at work is known to be gone: there is nothing to publish to, now or later."""

    kind = "removed"


class TrainingCodeError(MXSparkError, RuntimeError):
    """The user's own code raised inside a worker; the message carries its traceback."""

    exit_code = 3
    kind = "training"


class Diverged(TrainingCodeError):
    """A parameter, the loss or a metric is NaN or infinite: going on would train nothing."""

    kind = "diverged"


class ClusterError(MXSparkError, RuntimeError):
    """Something outside the user's code failed: a process, a slot, a host, the network."""

    exit_code = 4


class RoleDied(ClusterError):
    """A role process, or the agent that owned it, ended before its work was done."""

    kind = "role"


class NoProgress(ClusterError):
    """No worker reported any progress for longer than ``failure.hang_s``."""

    kind = "hang"


class NotStarted(ClusterError):
    """The group did not form within ``failure.start_s``."""

    kind = "start"


class InternalError(MXSparkError, RuntimeError):
    """A promise between two of our own parts did not hold; please report it."""

    kind = "internal"
