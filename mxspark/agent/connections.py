"""The connections of the driver's agent to the agents of the slots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable

from mxspark.agent.server import ControlServer, Peer
from mxspark.protocol import commands, frames
from mxspark.protocol.specs import DriverAgentSpec
from mxspark.system.loop import Loop


class Connections:
    """The agents that have joined, by slot, and the port they come to.

    Parameters
    ----------
    on_frame, on_lost : callable
        ``on_frame(peer, message)`` and ``on_lost(peer, reason)`` of whoever knows the job's secret.
    """

    def __init__(
        self,
        loop: Loop,
        spec: DriverAgentSpec,
        on_frame: Callable[[Peer, frames.Message], None],
        on_lost: Callable[[Peer, str], None],
    ) -> None:
        self._server = ControlServer(loop, spec.bind, bytes.fromhex(spec.secret), on_frame, on_lost)
        self._peers: dict[int, Peer] = {}
        self.address = self._server.address

    def admit(self, peer: Peer, rank: int) -> None:
        """A peer is the agent of a slot."""
        peer.rank = rank
        self._peers[rank] = peer
        self._server.know(peer)

    def refuse(self, peer: Peer, reason: str) -> None:
        """Close the connection of a peer that must not go on."""
        self._server.drop(peer, reason)

    def drop(self, rank: int, reason: str) -> None:
        """Close the connection of an agent that is given up."""
        self._server.drop(self._peers[rank], reason)

    def tell(self, command: commands.Command) -> None:
        """Send a command to every agent."""
        message = commands.to_wire(command)  # once: there may be hundreds of agents
        for peer in self._peers.values():
            peer.send(message)

    def tell_one(self, rank: int, command: commands.Command) -> None:
        """Send a command to the agent of one slot."""
        self._peers[rank].send(commands.to_wire(command))

    def beat(self) -> None:
        """Tell every agent that this one lives: their leases run out otherwise."""
        for peer in self._peers.values():
            peer.send({"beat": 1})

    def silent(self, now: float, limit_s: float) -> Iterator[tuple[int, float]]:
        """Yield the slots whose agent has said nothing for longer than that, and for how long."""
        for rank, peer in self._peers.items():
            if now - peer.heard > limit_s:
                yield rank, now - peer.heard

    def close(self) -> None:
        """Accept nobody any more."""
        self._server.close()
