"""Two network namespaces of the test's own with one cable between them, which can be cut or made slow."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest

_WRONG_MAC = "02:00:00:00:00:01"
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


class Cable:
    """A veth pair whose ends are ``driver`` and ``slots``.

    What is sent to a station that is not there is dropped without a word, as by a broken switch: so a direction is cut
    by a wrong hardware address of the other end.
    """

    ADDRESSES: ClassVar = {"driver": "198.18.0.1", "slots": "198.18.0.2"}  # RFC 2544: for tests of networks

    def __init__(self, folder: Path) -> None:
        tag = secrets.token_hex(3)
        self._folder = folder
        self._names = {end: f"mxspark-{tag}-{end}" for end in self.ADDRESSES}
        self._macs: dict[str, str] = {}

    def make(self) -> None:
        """Make both namespaces and the cable."""
        driver, slots = self._names.values()
        for name in (driver, slots):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        _run("ip", "-n", driver, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", slots)
        for end, name in self._names.items():
            _run("ip", "-n", name, "address", "add", f"{self.ADDRESSES[end]}/30", "dev", "cable")
            _run("ip", "-n", name, "link", "set", "cable", "up")
            self._macs[end] = _run("ip", "netns", "exec", name, "cat", "/sys/class/net/cable/address").strip()
        self.mend()

    def remove(self) -> None:
        """Remove both; the cable goes with them."""
        for name in self._names.values():
            subprocess.run(["ip", "netns", "delete", name], env={"PATH": _PATH}, capture_output=True)

    def python(self, end: str) -> str:
        """Return a program that is the Python of this process at one end of the cable."""
        path = self._folder / f"python-{end}"
        path.write_text(f'#!/bin/sh\nexec {self.enter(end)} {shlex.quote(sys.executable)} "$@"\n')
        path.chmod(0o755)
        return str(path)

    def enter(self, end: str) -> str:
        """Return the command that enters one end."""
        return f"nsenter --net=/run/netns/{self._names[end]}"

    def cut(self, *froms: str) -> None:
        """Drop all that these ends send."""
        for end in froms:
            self._neighbour(end, _WRONG_MAC)

    def mend(self) -> None:
        """Let everything through."""
        for end, other in (("driver", "slots"), ("slots", "driver")):
            self._neighbour(end, self._macs[other])

    def slow(self, rate: str) -> None:
        """Send no more than this in either direction; what has to wait waits."""
        for name in self._names.values():
            shape = ("tbf", "rate", rate, "burst", "2kb", "latency", "2s")
            _run("tc", "-n", name, "qdisc", "replace", "dev", "cable", "root", *shape)

    def _neighbour(self, end: str, mac: str) -> None:
        other = self.ADDRESSES["slots" if end == "driver" else "driver"]
        name = self._names[end]
        _run("ip", "-n", name, "neighbour", "replace", other, "lladdr", mac, "nud", "permanent", "dev", "cable")


# A /tmp of its own, in which those folders of the machine's that are needed are where they are.
_HOLDER = """
set -e
mount --make-rprivate /
mkdir "$1"; mount -t tmpfs -o mode=1777 tmpfs "$1"
own=$1; shift
for folder; do mkdir -p "$own/${folder#/tmp/}"; mount --bind "$folder" "$own/${folder#/tmp/}"; done
mount --rbind "$own" /tmp
echo up
exec sleep infinity
"""


class Hosts(Cable):
    """As a cable, and each end sees a /tmp of its own: as far as sockets can tell, two hosts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._holders: dict[str, subprocess.Popen[str]] = {}

    def make(self) -> None:
        """Make them."""
        super().make()
        needed = (tempfile.gettempdir(), str(Path(__file__).resolve().parents[1]), *sys.path)
        shared = sorted({name for name in needed if name.startswith("/tmp/") and os.path.isdir(name)})
        for end, name in self._names.items():
            enter = ["nsenter", f"--net=/run/netns/{name}", "unshare", "--mount", "sh", "-c", _HOLDER, "sh"]
            self._holders[end] = subprocess.Popen(
                [*enter, str(self._folder / f"tmp-{end}"), *shared],
                env={"PATH": _PATH}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            said = self._holders[end].stdout
            assert said is not None and said.readline() == "up\n"

    def remove(self) -> None:
        """Remove all; who was in there keeps it until it ends."""
        for holder in self._holders.values():
            holder.kill()
            holder.communicate()
        super().remove()

    def enter(self, end: str) -> str:
        """Return the command that enters one."""
        return f"nsenter --target={self._holders[end].pid} --net --mount --wdns=/"


@contextmanager
def cable(folder: Path) -> Iterator[Cable]:
    """Lay a cable, or skip the test where this machine does not let us."""
    with _made(Cable(folder)) as made:
        yield made


@contextmanager
def hosts(folder: Path) -> Iterator[Hosts]:
    """Make two hosts, or skip the test where this machine does not let us."""
    with _made(Hosts(folder)) as made:
        yield made


C = TypeVar("C", bound=Cable)


@contextmanager
def _made(cable: C) -> Iterator[C]:
    if os.geteuid() != 0 or not all(shutil.which(name, path=_PATH) for name in ("ip", "tc", "nsenter", "unshare")):
        pytest.skip("network namespaces need root, iproute2, nsenter and unshare")
    try:
        cable.make()
        yield cable
    finally:
        cable.remove()


def _run(*command: str) -> str:
    return subprocess.run(command, env={"PATH": _PATH}, check=True, capture_output=True, text=True).stdout
