"""The centre of a link: what its agent tells it, who comes to its port, and the attempt it is at."""

from __future__ import annotations

import ssl
from typing import Any, Callable, Optional

from mxspark.link import rules
from mxspark.link.certificates import Contexts
from mxspark.link.connections import Connections
from mxspark.link.greeting import WORDS, Answer, Refused
from mxspark.link.listener import Listener
from mxspark.link.negotiation import Negotiation
from mxspark.link.refusals import Refusals
from mxspark.protocol import frames, link
from mxspark.protocol.stream import Stream
from mxspark.system.loop import Loop
from mxspark.system.ports import listen_within

BACKLOG = 4096  # the links of all other hosts may call at once; the kernel takes what it allows
REPORT_S = 0.5
EARLY_S = 60.0  # for the order of an attempt that another host has heard of already


class Node:
    """A link.

    Parameters
    ----------
    fd : int
        The socket to its agent; its end is this link's.
    """

    def __init__(self, loop: Loop, fd: int) -> None:
        self._loop = loop
        self._contexts: Optional[Contexts] = None
        self._listener: Optional[Listener] = None
        self._refusals = Refusals()
        self._connections: Optional[Connections] = None
        self._early: dict[Negotiation, str] = {}
        self._agent = Stream(loop, fd, frames.Plain(), self._take, lambda _error: self._end())
        loop.every(REPORT_S, self._report)

    def _take(self, frame: frames.Message) -> None:
        message = link.from_wire(frame)
        table: dict[type[Any], Callable[[Any], None]] = {
            link.OpenPort: self._open_port,
            link.Connect: self._connect,
            link.Disconnect: self._disconnect,
        }
        table[type(message)](message)

    def _say(self, message: link.Message) -> None:
        self._agent.send(link.to_wire(message))

    def _open_port(self, order: link.OpenPort) -> None:
        try:
            self._contexts = Contexts.of(order.identity)
            sock = listen_within(order.address, order.ports, BACKLOG)
        except (OSError, ssl.SSLError) as error:
            self._say(link.PortFailed(str(error)))
            self._agent.flush(REPORT_S, self._end)
            return
        host, port = sock.getsockname()[:2]
        self._listener = Listener(self._loop, sock, self._contexts, self._judge, self._refusals.add)
        self._say(link.PortOpen(host, port))

    def _connect(self, order: link.Connect) -> None:
        assert self._contexts is not None
        self._let_go()
        try:
            self._connections = Connections(self._loop, self._contexts, order, self._say)
        except OSError as error:
            why = f"a socket in {order.folder} could not be bound: {error}; end what has it, or remove it"
            self._say(link.Broken(order.attempt, order.host, "this host", why))
            return
        early, self._early = self._early, {}
        for negotiation, address in early.items():
            self._judge(negotiation, address)

    def _disconnect(self, order: link.Disconnect) -> None:
        sent, received = self._let_go()
        self._say(link.Disconnected(order.attempt, sent, received))

    def _let_go(self) -> tuple[int, int]:
        connections, self._connections = self._connections, None
        return (0, 0) if connections is None else connections.close()

    def _judge(self, negotiation: Negotiation, address: str) -> None:
        """Answer one who is of the run."""
        hello = negotiation.greeting.hello
        assert hello is not None
        answer = rules.answer_to(hello, None if self._connections is None else self._connections.order)
        if answer is None:
            self._wait(negotiation, address)
        elif answer is Answer.WELCOME and self._connections is not None:
            self._connections.welcome(negotiation, hello)
        else:
            self._refusals.add(address, f"is of this run, and was told that this link {WORDS[answer]}")
            negotiation.answer(answer)

    def _wait(self, negotiation: Negotiation, address: str) -> None:
        """Keep one who has heard of the next attempt before us."""
        self._early[negotiation] = address
        negotiation.hand_over(lambda _: None, lambda why: self._miss(negotiation, why))
        negotiation.limit(EARLY_S, "waited for an attempt that this link never heard of")

    def _miss(self, negotiation: Negotiation, why: Refused) -> None:
        self._refusals.add(self._early.pop(negotiation), str(why))

    def _report(self) -> None:
        for refused in self._refusals.take_news():
            self._say(refused)

    def _end(self) -> None:
        """Leave nothing: the agent is gone, or lets us go."""
        self._let_go()
        if self._listener is not None:
            self._listener.close()
        self._loop.stop()
