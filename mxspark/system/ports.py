"""TCP ports of this host."""

from __future__ import annotations

import contextlib
import errno
import random
import socket


def free_ports(host: str, count: int) -> list[int]:
    """Return TCP ports that were free on `host` a moment ago, ascending."""
    taken = []
    try:
        for _ in range(count):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            taken.append(sock)
            sock.bind((host, 0))
        return sorted(sock.getsockname()[1] for sock in taken)
    finally:
        for sock in taken:
            sock.close()


def listen_within(address: str, ports: tuple[int, int], backlog: int) -> socket.socket:
    """Return a socket that listens on a numeric address, on some port of a range (first and last; 0, 0: any).

    Raises
    ------
    OSError
        If there is no such address here, or no port of the range is free; the text says what to do.
    """
    if address in ("", "0.0.0.0", "::"):
        raise OSError(f"a port must be opened on one address, not on {address!r}; name the one Spark's executors use")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    first, last = ports
    # not in order: where many begin at once they would meet at every port
    for port in random.sample(range(first, last + 1), last - first + 1):
        with contextlib.suppress(_InUse):
            return _listen(family, address, port, backlog)
    raise OSError(
        f"no port from {first} to {last} is free on {address}; name more of them (transport.ports), "
        "or end what holds them"
    )


class _InUse(Exception):
    """Somebody has it already."""


def _listen(family: int, address: str, port: int, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if port:  # of one that was in use a minute ago; one that listens is refused all the same
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise _InUse from error
        raise OSError(f"cannot listen on {address}: {error.strerror}; look at the host's addresses") from error
    return sock
