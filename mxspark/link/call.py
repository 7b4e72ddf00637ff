"""Calling the link of another host, again while it cannot be reached, until the time is over."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Callable, Optional

from mxspark.link import rules
from mxspark.link.greeting import BrokeOff, Greeting, Hello, Phase, Refused
from mxspark.link.negotiation import Negotiation
from mxspark.system.loop import WRITE, Loop


@dataclass(frozen=True)
class Target:
    """Whom to call, what to say first, and how long it may take until there is an answer."""

    address: tuple[str, int]
    hello: Hello
    start_s: float


class Call:
    """One call. Nothing of what is to be carried is taken before it is through, so that it may be tried again.

    Parameters
    ----------
    on_through : callable
        Called once with the greeting's connection.
    on_failed : callable
        Called once with words, if that was never to be, or not in time.
    """

    def __init__(
        self,
        loop: Loop,
        context: ssl.SSLContext,
        target: Target,
        on_through: Callable[[Negotiation], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._context = context
        self._target = target
        self._on_through = on_through
        self._on_failed = on_failed
        self._tries = 0
        self._connecting: Optional[socket.socket] = None
        self._negotiation: Optional[Negotiation] = None
        self._last = Refused("did not answer at all")
        self._limit = loop.after(target.start_s, self._expire)
        self._try()

    def close(self) -> None:
        """Call no more."""
        self._limit.cancel()
        self._limit.action = None
        self._hang_up()

    def _try(self) -> None:
        if self._limit.action is None:
            return
        self._tries += 1
        family = socket.AF_INET6 if ":" in self._target.address[0] else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # no descriptor is left; one may be, in a moment
            self._try_again(error.errno or 0)
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connecting = sock
        problem = sock.connect_ex(self._target.address)
        if problem in (0, errno.EINPROGRESS):
            self._loop.watch(sock.fileno(), WRITE, self._on_connected)
        else:
            self._try_again(problem)

    def _on_connected(self, _events: int) -> None:
        sock = self._connecting
        assert sock is not None
        self._loop.watch(sock.fileno(), 0, self._on_connected)
        problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self._try_again(problem)
            return
        self._connecting = None
        greeting = Greeting(self._context, self._target.hello)
        self._negotiation = Negotiation(self._loop, sock, greeting, self._on_turn, self._on_refused)

    def _on_turn(self, negotiation: Negotiation) -> None:
        if negotiation.greeting.phase is Phase.THROUGH:
            self._negotiation = None
            self.close()
            self._on_through(negotiation)

    def _on_refused(self, why: Refused) -> None:
        self._negotiation = None
        if isinstance(why, BrokeOff):
            self._last = why
            self._loop.after(rules.wait_before_try(self._tries), self._try)
        else:
            self._fail(why)

    def _try_again(self, problem: int) -> None:
        self._hang_up()
        self._last = Refused(f"could not be connected to: {os.strerror(problem)}")
        self._loop.after(rules.wait_before_try(self._tries), self._try)

    def _expire(self) -> None:
        within = f"within {self._target.start_s:g} s, {self._tries} times tried"
        self._fail(Refused(f"{self._last} ({within}; open the port between the hosts, and see the log of its agent)"))

    def _fail(self, why: Refused) -> None:
        self.close()
        self._on_failed(str(why))

    def _hang_up(self) -> None:
        if self._connecting is not None:
            self._loop.watch(self._connecting.fileno(), 0, self._on_connected)
            self._connecting.close()
            self._connecting = None
        if self._negotiation is not None:
            self._negotiation.close()
            self._negotiation = None
