"""Warnings of what does not stop a run and should be known: small containers, slow workers, processes left behind."""

from __future__ import annotations

from mxspark.errors import cause
from mxspark.protocol.events import Beat, Cleared, Joined, Noted, Reported, Started, Stopped
from mxspark.spark.run import memory, stragglers
from mxspark.spark.run.context import RunContext
from mxspark.spark.run.record import Recorder
from mxspark.spark.run.stragglers import Watch


class Advisor:
    """Looks at what is reported, beside the recorder."""

    def __init__(self, context: RunContext, recorder: Recorder) -> None:
        self._context = context
        self._recorder = recorder
        self._watch = Watch(context.job.cluster.num_workers)
        self._hosts: dict[int, str] = {}  # by slot; agents that go on to a next attempt do not join again
        self._has_weighed = False

    def begin_attempt(self, size: int) -> None:
        """Judge the pace of the workers of a new attempt."""
        self._watch = Watch(size)

    def look(self, reported: Reported) -> None:
        """Warn, if there is reason to."""
        event = reported.event
        if isinstance(event, Started):
            self._weigh()
        elif isinstance(event, Joined):
            self._hosts[event.rank] = event.host
        elif isinstance(event, (Cleared, Stopped)) and event.ended:
            self._recorder.warn(cause.left_behind(event.rank, event.ended))
        elif isinstance(event, Noted):
            self._recorder.warn(event.text)
        elif isinstance(event, Beat):
            self._look_for_straggler(reported.rank, event)

    def _look_for_straggler(self, rank: int, beat: Beat) -> None:
        straggler = self._watch.hear(rank, beat)
        if straggler is not None:
            self._recorder.record(Reported("driver", 0, straggler))
            text = stragglers.words(straggler, self._hosts.get(straggler.rank, ""))
            self._recorder.warn(text, about=f"the pace of worker {straggler.rank}")

    def _weigh(self) -> None:
        """Warn once, now that the size of the network is known, of containers that it does not fit in."""
        if self._has_weighed:
            return
        self._has_weighed = True
        for line in memory.warnings(self._context.facts, self._context.job, self._recorder.standing.parameters):
            self._recorder.warn(line)
