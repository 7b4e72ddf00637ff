"""Sockets in the filesystem that are ours."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from typing import Optional

_CREDENTIALS = struct.Struct("3i")


def socket_problem(path: str) -> Optional[str]:
    """Return what is wrong with the socket a role should have bound, None if nothing."""
    try:
        found = os.lstat(path)
    except OSError as error:
        return f"it did not bind its socket {path} ({error.strerror})"
    if not stat.S_ISSOCK(found.st_mode):
        return f"{path} is no socket"
    if found.st_uid != os.geteuid():
        return f"{path} belongs to uid {found.st_uid}, not to us (uid {os.geteuid()})"
    return None


def remove_socket(path: str) -> None:
    """Remove a socket of ours; anything else of that name stays."""
    if socket_problem(path) is None:
        with contextlib.suppress(OSError):
            os.unlink(path)


def same_user(sock: socket.socket) -> bool:
    """Tell whether the process at the other end runs as our user."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(data)[1] == os.geteuid())


def listen(path: str, kind: int, backlog: int) -> socket.socket:
    """Return a socket that listens at `path`, for this user alone.

    It sets the umask meanwhile, which is that of all threads: to be called where there is only one.
    """
    sock = socket.socket(socket.AF_UNIX, kind)
    old = os.umask(0o077)  # it must never have been there for others, not for an instant
    try:
        sock.bind(path)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(old)
    sock.setblocking(False)
    return sock
