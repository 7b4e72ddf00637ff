"""The worker's end of the conversation with its agent: commits, leave to finish, ending early."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from mxspark.errors import InternalError
from mxspark.mx.runtime.agent_channel import AgentChannel
from mxspark.protocol import commands, events
from mxspark.protocol.channel import Channel
from mxspark.protocol.commands import UnknownCommand

LIMIT_S = 120.0
AGENTS: list[Any] = []  # kept, for a line whose agent is gone ends its process


class Agent:
    """The other end."""

    def __init__(self) -> None:
        AGENTS.append(self)
        ours, theirs = socket.socketpair()
        self.channel, self.line = Channel(ours), AgentChannel(Channel(theirs))
        self.tell(commands.Train(0, {}))
        assert self.line.await_work(LIMIT_S) == commands.Train(0, {})

    def tell(self, command: commands.Command) -> None:
        self.channel.send(commands.to_wire(command))

    def hear(self) -> events.Event:
        frame = self.channel.receive(LIMIT_S)
        assert frame is not None
        return events.from_wire(frame)


class Loop(threading.Thread):
    """A training loop that begins steps for as long as it may, each when it is let."""

    def __init__(self, line: AgentChannel) -> None:
        super().__init__(daemon=True)
        self.line, self.begun = line, 0
        self.let = threading.Semaphore(0)
        self.inside = threading.Semaphore(0)

    def run(self) -> None:
        while self.line.goes_on(self.begun):
            self.begun += 1
            self.inside.release()
            self.let.acquire()


def test_a_worker_inside_a_step_says_so_and_begins_no_other_before_it_is_told_the_last() -> None:
    agent = Agent()
    loop = Loop(agent.line)
    loop.start()
    assert loop.inside.acquire(timeout=LIMIT_S)
    agent.tell(commands.EndEarly("test"))
    assert agent.hear() == events.Ready(1), "from inside the step: the others may be needed to end it"
    loop.let.release()
    loop.join(0.2)
    assert loop.is_alive() and loop.begun == 1, "it waits"
    agent.tell(commands.LastStep(3))
    for _ in range(2):
        assert loop.inside.acquire(timeout=LIMIT_S)
        loop.let.release()
    loop.join(LIMIT_S)
    assert not loop.is_alive() and loop.begun == 3


def test_the_first_of_all_stops_where_it_is() -> None:
    agent = Agent()
    assert agent.line.goes_on(4)
    agent.tell(commands.EndEarly("test"))
    assert agent.hear() == events.Ready(5)
    agent.tell(commands.LastStep(5))
    assert not agent.line.goes_on(5)


def test_a_commit_is_waited_for_and_a_word_about_an_older_one_is_not_it() -> None:
    agent, beats = Agent(), []
    agent.line.send(events.Staged("checkpoint", "/x", 20, 1, (), {}))
    agent.tell(commands.Committed(10))

    def beat() -> None:
        beats.append(1)
        if len(beats) == 2:
            agent.tell(commands.Committed(20))

    agent.line.wait_committed(beat)
    assert len(beats) >= 2


def test_leave_to_finish() -> None:
    agent = Agent()
    said = threading.Event()

    def finish() -> None:
        said.set()
        agent.tell(commands.Finish())

    threading.Timer(0.1, finish).start()
    agent.line.wait_finish()
    assert said.is_set(), "it must not leave before it is told to"


def test_the_last_step_is_no_matter_once_it_may_leave() -> None:
    agent = Agent()
    agent.tell(commands.EndEarly("test"))
    assert agent.hear() == events.Ready(0)
    agent.tell(commands.Finish())
    agent.tell(commands.LastStep(3))
    agent.line.wait_finish()
    agent.line.drain()


def test_an_unknown_order_is_an_error() -> None:
    agent = Agent()
    agent.channel.send({"do": "Dance"})
    with pytest.raises(UnknownCommand, match="knows no command 'Dance'"):
        agent.line.wait_finish()
    with pytest.raises(InternalError, match="knows no command 'Dance'"):
        agent.line.drain()
