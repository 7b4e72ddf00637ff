"""The barrier stage of a gang: one task for each worker, in which the agent of a slot runs."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Optional

from pyspark import SparkContext

from mxspark.errors import MXSparkError
from mxspark.errors.cause import Cause
from mxspark.job.spec import AgentSpec
from mxspark.protocol import codec
from mxspark.spark.run import task
from mxspark.spark.session import compat
from mxspark.spark.session.call import SparkCall

_CANCEL_S = 8.0


class BarrierStage:
    """Begun on construction.

    Parameters
    ----------
    spec : AgentSpec
        Of every slot's agent; the task gives it its rank.
    description : str
        What Spark's UI calls it.
    """

    def __init__(self, context: SparkContext, spec: AgentSpec, description: str) -> None:
        body = partial(task.run_slot, json.dumps(codec.encode(spec)))
        tasks = context.parallelize(range(spec.size), spec.size).barrier().mapPartitions(body)
        self._shutdown_s = spec.limits.shutdown_s
        self._over_at: Optional[float] = None
        self._is_cancelled_by_us = False
        # the group has the run's id: to cancel it ends nothing of the user's
        self._call: SparkCall[list[str]] = SparkCall(
            context, f"mxspark-{spec.run_id}-gang", description, tasks.collect
        )  # fmt: skip

    def is_running(self) -> bool:
        """Whether Spark has not ended it, so that its slots are held."""
        return not self._call.done.is_set()

    def ensure_in_use(self) -> None:
        """Return while it runs, and for a while longer: the driver's agent hears from its agents how they ended.

        Raises
        ------
        ClusterError
            If Spark has ended it, or it is over and nobody says why.
        """
        if self.is_running():
            return
        error = self._call.error()
        if error is not None:
            raise _gone(f"Spark ended the workers' stage: {compat.message_of(error)}") from error
        # without an error every agent has ended as it should; the driver's, which hears of that over the network, needs
        # a moment longer, and its verdict is the better one
        self._over_at = self._over_at or time.monotonic()
        if time.monotonic() - self._over_at > self._shutdown_s:
            last = "; ".join(self._call.result())
            raise _gone(f"the workers' stage is over and the driver's agent says nothing: {last}")

    def close(self) -> None:
        """Wait for its end, after that of the agents; cancel it if it does not come."""
        if not self._call.done.wait(self._shutdown_s):
            # Spark waits for a lost host to be given up (spark.network.timeout) before it ends its tasks. That we
            # cancel is noted first: a cancellation that is seen must be somebody else's
            self._is_cancelled_by_us = True
            self._call.cancel(_CANCEL_S)

    def error(self) -> Optional[str]:
        """Return all that Spark says of why it failed, None if it did not; ask after :meth:`close`."""
        error = self._call.error()
        return compat.all_text_of(error) if error is not None else None

    def cancellation(self) -> Optional[str]:
        """Return what Spark says if someone else cancelled it or stopped the session; ask after :meth:`close`."""
        error = self._call.error() if not self._is_cancelled_by_us else None
        return compat.message_of(error) if error is not None and compat.is_cancelled(error) else None


def _gone(why: str) -> MXSparkError:
    return Cause.here("stage", "driver", why).as_error()
