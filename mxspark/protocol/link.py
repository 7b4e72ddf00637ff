"""What an agent and its link say to each other, over an inherited socket, as ``{"link": name, …}``.

The agent has the link open its port (:class:`OpenPort`, answered by :class:`PortOpen`), tells it before each attempt
where the sockets of the roles are (:class:`Connect`, answered by :class:`Connected`), and lets go of them afterwards
(:class:`Disconnect`, :class:`Disconnected`). The rest the link says by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Union, get_args

from mxspark.protocol import codec
from mxspark.protocol.identity import Identity


@dataclass(frozen=True)
class OpenPort:
    """Listen on `address`, on a port from `ports` (first and last; 0, 0: any), for who has the same identity."""

    identity: Identity
    address: str
    ports: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Connect:
    """Carry the sockets of an attempt's roles.

    Attributes
    ----------
    attempt : int
        Connections of any other are refused.
    host : int
        Which of `hosts` this is.
    hosts : tuple of (str, int)
        Where the link of each host listens.
    here : tuple of int
        Names of the sockets that roles of this host bind.
    there : tuple of (int, int)
        Of each socket that a role of another host binds, its name and that host: bound here for the roles of this one.
    folder : str
        Where all sockets are.
    encrypt : bool
        Whether what is carried is TLS too, and not the handshake alone.
    start_s : float
        How long a connection may take until both ends have each other.
    silence_s : float
        A host whose kernel acknowledges nothing for so long is gone.
    """

    attempt: int
    host: int
    hosts: tuple[tuple[str, int], ...]
    here: tuple[int, ...]
    there: tuple[tuple[int, int], ...]
    folder: str
    encrypt: bool
    start_s: float
    silence_s: float


@dataclass(frozen=True)
class Disconnect:
    """The attempt is over: end its connections and remove its sockets."""

    attempt: int


@dataclass(frozen=True)
class PortOpen:
    """The link listens."""

    address: str
    port: int


@dataclass(frozen=True)
class PortFailed:
    """It cannot, which a user has to mend: the link ends."""

    why: str


@dataclass(frozen=True)
class Connected:
    """The link of every other host has been met, and the sockets of its roles are there."""

    attempt: int
    seconds: float


@dataclass(frozen=True)
class Broken:
    """Something between this host and another is not as it must be: the attempt has failed."""

    attempt: int
    host: int
    address: str
    why: str


@dataclass(frozen=True)
class Disconnected:
    """Nothing of the attempt is left. So many bytes were carried to other hosts, and from them."""

    attempt: int
    bytes_sent: int
    bytes_received: int


@dataclass(frozen=True)
class StrangersRefused:
    """So many connections from an address were refused since the port was opened, the last for this reason.

    `address` is empty for those of more addresses than are kept apart.
    """

    address: str
    why: str
    count: int


Message = Union[
    OpenPort, Connect, Disconnect, PortOpen, PortFailed, Connected, Broken, Disconnected, StrangersRefused
]  # fmt: skip
KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Message)}


def to_wire(message: Message) -> dict[str, Any]:
    """Return the JSON object of a message."""
    return {"link": type(message).__name__, **codec.encode(message)}


def from_wire(frame: dict[str, Any]) -> Message:
    """Build the message of a JSON object; ValueError if it is none."""
    body = dict(frame)
    kind = KINDS.get(str(body.pop("link", None)))
    if kind is None:
        raise ValueError(f"no message of a link is called {frame.get('link')!r:.100}")
    message: Message = codec.decode(kind, body)
    return message
