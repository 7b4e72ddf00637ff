"""What a run puts into its job dir while it trains, and what it finds there of the runs before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Callable, Optional

from mxspark.config.sections import CheckpointSection
from mxspark.job.fixed import Fixed
from mxspark.jobdir import fixed_file
from mxspark.jobdir.checkpoints import CheckpointStore, NewestCheckpoint
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.publish import publish_model, read_model
from mxspark.jobdir.publisher import Outcome, Publisher, settle
from mxspark.protocol.events import Staged

_CLOSE_S = 2.0


class Publishing:
    """The checkpoints and models of a run.

    Publishing runs beside the training, in a thread of the `Publisher`; what became of it is known to the driver when
    it polls. So all that counts a checkpoint as progress happens in the driver's own thread, in one order.

    Parameters
    ----------
    owned : JobDir
        Owned by this run.
    section : CheckpointSection
        How many checkpoints to keep, and how long to try.
    """

    def __init__(self, owned: JobDir, section: CheckpointSection) -> None:
        self._owned = owned
        self._to_fix: Optional[Fixed] = None
        self._store = CheckpointStore(owned, section.keep)
        self._publisher = Publisher(self._publish, section.retry_s)

    def newest(self, into: Path) -> Optional[NewestCheckpoint]:
        """Copy the newest good checkpoint below a new local folder; what is staged and not committed does not count."""
        shutil.rmtree(into, ignore_errors=True)
        return self._store.newest(into)

    def has_model_of(self, step: int) -> bool:
        """Whether the published model is that of `step`, or of a later one."""
        published = read_model(self._owned)
        return published is not None and published.step >= step

    def to_be_replaced(self) -> str:
        """Return which model a run that begins from the start will replace; "" if none."""
        # a run that ended before its first checkpoint may have left the best one alone
        published = read_model(self._owned) or read_model(self._owned, "model-best")
        if published is None:
            return ""
        return (
            f"{self._owned.path} holds a model, of step {published.step}, and no checkpoint to go on from: everything "
            "is trained anew, and the model is replaced in the end; stop and set job.dir to another folder to keep it"
        )

    def finished_by(self) -> Optional[str]:
        """Return the id of the run that has published the model of the last epoch."""
        published = read_model(self._owned)
        return published.run_id if published is not None else None

    def fix(self, found: Fixed) -> None:
        """Have written, before anything else is published, what this run fixes for later ones."""
        self._to_fix = found

    def put(self, staged: Staged) -> None:
        """Have a staged folder published."""
        self._publisher.put(staged)

    def poll(self) -> list[Outcome]:
        """Return what was published, or could not be for now, since the last time.

        Raises
        ------
        MXSparkError
            When a folder could not be published; nothing is published after that.
        """
        return self._publisher.outcomes()

    def flush(self, poll: Callable[[], None], wait: Callable[[float], None]) -> None:
        """Return once all that was staged is published; `poll` and `wait` are called in turn until then."""
        settle(self._publisher, poll, wait)

    def close(self) -> None:
        """Try nothing again; what is just being published has a moment to succeed."""
        # bounded: a storage that hangs must not keep a run from ending, and a commit that is cut short is the next
        # owner's to put away
        self._publisher.close(_CLOSE_S)

    def _publish(self, staged: Staged) -> str:
        """Publish one folder, in the publisher's thread."""
        if self._to_fix is not None:
            fixed_file.settle(self._owned, self._to_fix)
            self._to_fix = None
        if staged.kind == "checkpoint":
            return self._store.commit(staged).path
        return publish_model(self._owned, staged, "model" if staged.kind == "model" else "model-best")
