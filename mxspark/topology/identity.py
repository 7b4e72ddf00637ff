"""Which processes can meet over unix sockets."""

from __future__ import annotations

import os
from pathlib import Path

SOCKET_FOLDER = Path("/tmp")  # compiled into ps-lite


def host_identity() -> str:
    """Return ``boot id/device:inode of the socket folder/uid``: equal for processes that can meet over unix sockets."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    folder = os.stat(SOCKET_FOLDER)
    return f"{boot}/{folder.st_dev}:{folder.st_ino}/{os.getuid()}"


def explain_difference(ours: str, theirs: str) -> str:
    """Say in words why two identities differ."""
    (boot, folder, uid), (other_boot, other_folder, other_uid) = ours.split("/"), theirs.split("/")
    if boot != other_boot:
        return "they are different hosts"
    if folder != other_folder:
        return f"they are on one host but see different {SOCKET_FOLDER} folders (containers or PrivateTmp)"
    return f"they are on one host but run as different users (uid {uid} and {other_uid})"
