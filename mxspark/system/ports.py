"""TCP ports of this host."""

from __future__ import annotations

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
