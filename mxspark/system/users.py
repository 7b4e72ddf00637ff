"""Names of users. One that runs in a container under any number may have none."""

from __future__ import annotations

import os
import pwd


def name_of(uid: int) -> str:
    """Return the name of a user, its number in words if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def nameless() -> str:
    """Return why Spark cannot be started by this user, and what to do; "" if it can.

    Hadoop's libraries log in by name, and Java knows none but that of the system: no variable stands in for it.
    """
    uid = os.geteuid()
    if name_of(uid) != f"uid {uid}":
        return ""
    return (
        f"uid {uid} has no name in /etc/passwd, without which Spark cannot start; add a line such as "
        f"'app:x:{uid}:{os.getegid()}::/tmp:/bin/sh' to it (when the container is built or started), or run as a user "
        "that has one"
    )
