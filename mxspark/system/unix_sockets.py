"""Sockets in the filesystem that are ours."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Optional


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
