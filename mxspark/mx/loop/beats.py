"""Where training stands, and how the agent learns of it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from mxspark.mx.exchange.base import Exchange
from mxspark.mx.loop.trainable import Trainable
from mxspark.mx.runtime.agent_channel import AgentChannel
from mxspark.protocol import events


@dataclass
class Position:
    """Where training stands: steps begun in all, the epoch it is in, steps begun of that epoch."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0

    def advance(self) -> None:
        """Count a step."""
        self.step += 1
        self.step_in_epoch += 1

    def begin_next_epoch(self) -> None:
        """Count an epoch."""
        self.epoch += 1
        self.step_in_epoch = 0


class Preparation:
    """Says that this rank gets on before its first step, at most every `beat_s` seconds.

    Whoever does not for ``failure.start_s`` is taken to have come no further.
    """

    def __init__(self, agent: AgentChannel, beat_s: float) -> None:
        self._agent = agent
        self._beat_s = beat_s
        self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Say, if it is time, that so many of all rows have been looked at, and raise what went wrong with an order."""
        now = time.monotonic()
        if now - self._last < self._beat_s:
            return
        self._last = now
        self._agent.drain()
        self._agent.send(events.Preparing(done, total))


class Beats:
    """Says how far this rank is, at most every `beat_s` seconds; whoever does not for ``failure.hang_s`` hangs."""

    def __init__(
        self, agent: AgentChannel, trained: Trainable, exchange: Exchange, position: Position, beat_s: float
    ) -> None:
        self._agent = agent
        self._trained = trained
        self._exchange = exchange
        self._position = position
        self._beat_s = beat_s
        self._first = trained.done
        self._began = time.monotonic()
        self._last = -math.inf

    def seconds(self) -> float:
        """Return how long training has been going on in this process."""
        return time.monotonic() - self._began

    def __call__(self, doing: str) -> None:
        """Say it, if it is time, and raise what went wrong with an order."""
        now = time.monotonic()
        # None before the numbers of a first step are known: its limit is another, and its beat says that it is over.
        if self._trained.done == self._first or now - self._last < self._beat_s:
            return
        self._last = now
        self._agent.drain()
        self._agent.send(
            events.Beat(
                step=self._trained.done,
                epoch=self._position.epoch,
                rows=self._trained.rows,
                seconds=now - self._began,
                waiting_s=self._trained.waited_s,
                meeting_s=self._exchange.waited_s,
                doing=doing,
                metrics=self._trained.metrics(),
            )
        )
