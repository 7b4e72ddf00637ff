"""Entry of a worker process: import MXNet at once, wait for the work, train, report, leave in order."""

from __future__ import annotations

import faulthandler
import importlib
import json
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn, Optional

from mxspark.errors import InternalError
from mxspark.errors.kinds import KINDS
from mxspark.job.loops import LOOPS
from mxspark.job.spec import WorkerSpec
from mxspark.protocol import codec, events
from mxspark.protocol.channel import Channel
from mxspark.protocol.specs import CHANNEL, INHERITED, Inherited

if TYPE_CHECKING:
    from mxspark.mx.loop.trainable import Loop
    from mxspark.mx.runtime.agent_channel import AgentChannel

# MXNet copies arrays of this many elements and more with OpenMP threads. One such copy in the main thread (a large
# `asnumpy()`) gives it a team of its own; libgomp then sees more threads than cores and puts threads to sleep where
# they used to wait for microseconds, for the rest of the process: LeNet on 2 cores 25 -> 43 ms a step.
PARALLEL_COPY = ("MXNET_CPU_PARALLEL_SIZE", "2000000000")
# The agent decides how long a start may take; this only keeps a forgotten worker from waiting for ever.
WORK_S = 3600.0


def main() -> NoReturn:
    """Run one worker, to the end of its process.

    The exit code is 0 only after leave to finish and an orderly end of the exchange. On any exception the process ends
    at once after reporting it: the destructor of MXNet's store would wait for the other workers in a barrier.
    """
    began = time.monotonic()
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    channel = Channel.from_fd(int(os.environ[CHANNEL]))
    os.environ.setdefault(*PARALLEL_COPY)
    from mxspark.mx.runtime.importing import import_mxnet

    import_mxnet()
    from mxspark.mx.loop import gluon as _  # noqa: F401 - most jobs' loop, loaded while the work is on its way
    from mxspark.mx.runtime.agent_channel import AgentChannel

    agent = AgentChannel(channel)
    seconds = {"import": time.monotonic() - began}
    agent.send(events.Loaded(seconds["import"]))
    _Work(agent, seconds).run()


class _Work:
    """The life of a worker, and how far it has come."""

    def __init__(self, agent: AgentChannel, seconds: dict[str, float]) -> None:
        self._agent = agent
        self._seconds = seconds
        self._loop: Optional[Loop] = None
        self._exchange: Any = None

    def run(self) -> NoReturn:
        """Work, then end the process."""
        from mxspark.mx.runtime import attribution

        try:
            self._train()
        except BaseException as error:  # sys.exit() in the user's network is no success
            code = InternalError.exit_code
            try:
                step = self._loop.step if self._loop is not None else None
                raised = attribution.raised(error, step)
                print(attribution.whole(error), file=sys.stderr, flush=True)
                self._agent.send(raised)
                code = KINDS[raised.who].error.exit_code
            finally:
                # in here, while the exception keeps every frame, and with them MXNet's store, alive
                _end(code)
        _end(0)

    def _train(self) -> None:
        from mxspark.mx.exchange.hierarchical import HierarchicalExchange
        from mxspark.mx.exchange.kvstore import KVStoreExchange
        from mxspark.mx.runtime.device import context_of

        start = time.monotonic()
        order = self._agent.await_work(WORK_S)
        rank, spec = order.rank, codec.decode(WorkerSpec, order.worker_spec)
        self._seconds["bundle"] = time.monotonic() - start
        logging.basicConfig(level=logging.INFO, format=f"worker {rank} %(asctime)s %(levelname)s %(name)s: %(message)s")
        start = time.monotonic()
        if spec.exchange == "hierarchical":
            given = codec.decode(Inherited, json.loads(os.environ[INHERITED]))
            self._exchange = HierarchicalExchange(rank, spec.size, given, has_store="DMLC_ROLE" in os.environ)
        else:
            self._exchange = KVStoreExchange(rank, spec.size)
        self._seconds["form"] = time.monotonic() - start
        self._agent.send(events.Formed(rank, self._seconds["form"]))
        module, _, make = LOOPS[spec.training.loop].entry.partition(":")
        with context_of(order.device):
            self._loop = getattr(importlib.import_module(module), make)(
                spec, self._exchange, self._agent, self._seconds
            )
            self._agent.send(self._loop.run())
        self._agent.wait_finish()
        self._exchange.close()


def _end(code: int) -> NoReturn:
    """End the process without destructors: those of MXNet may block or abort."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
