"""The port of a link against strangers: none gets in or costs much, each is counted and named, and it still works."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from links import PATIENCE_S, LinkProcess, carried, identity, pair, wait_for
from namespaces import cable

from mxspark.link import listener
from mxspark.link.certificates import Contexts
from mxspark.link.greeting import MAGIC, Hello
from mxspark.link.listener import Listener
from mxspark.link.negotiation import Negotiation
from mxspark.protocol import link
from mxspark.protocol.identity import Identity
from mxspark.system.loop import Loop
from mxspark.system.ports import listen_within

OURS = identity()
HELLO = Hello(attempt=1, sender=0, receiver=1, endpoint=77, encrypt=False)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[LinkProcess, LinkProcess]]:
    """Two links that carry, before and after."""
    with pair(tmp_path, OURS) as links:
        assert carried(*links, b"before") == b"before"
        yield links
        assert carried(*links, b"after") == b"after"


def refused(of: LinkProcess, why: str) -> link.StrangersRefused:
    """Return what a link says of a stranger that it refused for this reason."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        heard = of.hear(link.StrangersRefused, deadline - time.monotonic())
        if why in heard.why:
            return heard


def is_closed(sock: socket.socket) -> bool:
    """Whether the other end closes within the socket's time limit, whatever it says before."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while sock.recv(65536):
            pass
    return True


@contextlib.contextmanager
def connected(to: LinkProcess) -> Iterator[socket.socket]:
    with socket.create_connection(to.address, timeout=PATIENCE_S) as sock:
        yield sock


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "speaks HTTP, not TLS"),
        (b"\x80\x04." * 100, "does not speak TLS"),
        (random.Random(5).randbytes(4096), "does not speak TLS"),
        (b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380), "is not understood"),
    ],
    ids=["http", "pickle", "noise", "a huge message"],
)
def test_another_protocol_is_refused(two: tuple[LinkProcess, LinkProcess], data: bytes, why: str) -> None:
    with connected(two[1]) as sock:
        sock.sendall(data)
        assert is_closed(sock)
    assert refused(two[1], why).address == "127.0.0.1"


def greet(to: LinkProcess, shown: Identity, words: bytes) -> bytes:
    """Say something after the handshake, and return the answer."""
    context = Contexts.of(shown).client
    with connected(to) as sock, context.wrap_socket(sock) as tls:
        tls.sendall(words)
        return tls.recv(1)


@pytest.mark.parametrize("how", ["another run", "no certificate", "TLS 1.2"])
def test_no_certificate_but_ours_is_taken(two: tuple[LinkProcess, LinkProcess], how: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if how == "another run":
        context = Contexts.of(identity()).client
    context.verify_mode = ssl.CERT_NONE
    if how == "TLS 1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    refusal = contextlib.suppress(ssl.SSLError, ConnectionError)
    with connected(two[1]) as sock, refusal, context.wrap_socket(sock) as tls:
        tls.sendall(HELLO.pack())
        assert is_closed(tls)
    why = {"another run": "not of this run", "no certificate": "has no certificate", "TLS 1.2": "no TLS as new as 1.3"}
    assert refused(two[1], why[how]).count == 1


@pytest.mark.parametrize(
    ("hello", "answer", "why"),
    [
        (Hello(1, 0, 0, 77, False), b"\x01", "is the link of another host"),
        (Hello(0, 0, 1, 77, False), b"\x02", "is at another attempt"),
        (Hello(1, 0, 1, 78, False), b"\x03", "has no role with such a socket"),
    ],
)
def test_a_member_that_is_wrong_hears_why(
    two: tuple[LinkProcess, LinkProcess], hello: Hello, answer: bytes, why: str
) -> None:
    assert greet(two[1], OURS, hello.pack()) == answer
    assert why in refused(two[1], "is of this run").why


def test_a_member_of_another_version_is_refused(two: tuple[LinkProcess, LinkProcess]) -> None:
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        assert not greet(two[1], OURS, MAGIC[:-1] + b"\x09" + bytes(17))
    assert refused(two[1], "another version of this protocol")


def test_what_was_recorded_is_worthless_when_it_is_played_again(two: tuple[LinkProcess, LinkProcess]) -> None:
    context = Contexts.of(OURS).client
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    recorded = []
    with connected(two[1]) as sock:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                recorded.append(outgoing.read())
                sock.sendall(recorded[-1])
                incoming.write(sock.recv(65536))
        tls.write(HELLO.pack())
        recorded.append(outgoing.read())
        sock.sendall(recorded[-1])
    with connected(two[1]) as sock:
        for part in recorded:
            sock.sendall(part)
        assert is_closed(sock)
    assert refused(two[1], "is not understood").address == "127.0.0.1"


def test_those_who_are_slow_or_say_nothing_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then buys no time."""
    monkeypatch.setattr(listener, "HANDSHAKE_S", 0.4)
    loop = Loop()
    refusals: list[tuple[str, str]] = []
    sock = listen_within("127.0.0.1", (0, 0), 8)
    port = Listener(loop, sock, Contexts.of(OURS), lambda *_: None, lambda *words: refusals.append(words))
    address = sock.getsockname()
    with socket.create_connection(address) as silent, socket.create_connection(address) as slow:
        for place, byte in enumerate(b"\x16\x03\x01\x02\x00\x01"):
            loop.after(0.05 * place, lambda byte=byte: slow.send(bytes([byte])))  # type: ignore[misc]
        loop.after(1.0, loop.stop)
        loop.run()
        assert is_closed(silent) and is_closed(slow)
    port.close()
    assert refusals == [("127.0.0.1", "did not say who it is within 0.4 s")] * 2


def test_strangers_that_are_gone_leave_nothing_behind() -> None:
    """No timer, and nothing that waits for the garbage collector."""
    loop = Loop()
    gc.collect()
    gc.disable()
    refusals: list[tuple[str, str]] = []
    sock = listen_within("127.0.0.1", (0, 0), 8)
    port = Listener(loop, sock, Contexts.of(OURS), lambda *_: None, lambda *words: refusals.append(words))
    for number in range(200):
        with socket.create_connection(sock.getsockname()) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" * (number % 2))
        while len(refusals) <= number:
            loop._turn()
    port.close()
    left = sum(isinstance(one, Negotiation) for one in gc.get_objects())  # the collector would begin at once
    gc.enable()
    assert left == 0 and len(loop.__dict__["_timers"]) <= 2


FLOOD = """
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
address, count = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3])
socks = []
for number in range(count):
    sock = socket.create_connection(address, timeout=30)
    try:
        if number % 3 == 1:
            sock.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
        elif number % 3 == 2:
            sock.sendall(b"\\x16\\x03\\x01\\x02\\x00\\x01")  # and never goes on
    except OSError:
        pass
    socks.append(sock)
print("flooded", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def flood(python: str, address: tuple[str, int], count: int) -> Iterator[None]:
    """Hold so many connections of one who knows nothing."""
    command = [python, "-c", FLOOD, address[0], str(address[1]), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None and program.stdout is not None
        try:
            assert program.stdout.readline() == "flooded\n"
            yield
        finally:
            program.stdin.close()


def test_a_thousand_strangers_are_bounded_counted_and_named_and_keep_nobody_out(tmp_path: Path) -> None:
    """From another host: the links are at the one end of the cable, the strangers at the other."""
    with cable(tmp_path) as laid:
        here = laid.python("slots")
        with pair(tmp_path, OURS, python=here, address=laid.ADDRESSES["slots"]) as links:
            of = psutil.Process(links[1].popen.pid)
            assert carried(*links, b"before") == b"before"
            before = of.memory_info().rss
            held = of.num_fds()
            with flood(laid.python("driver"), links[1].address, 1000):
                assert carried(*links, b"meanwhile") == b"meanwhile"
                assert of.num_fds() <= held + listener.MOST_STRANGERS
                assert of.memory_info().rss - before < 16 * 2**20
                assert carried(*links, b"and again") == b"and again"
            deadline = time.monotonic() + PATIENCE_S
            while (heard := links[1].hear(link.StrangersRefused)).count < 1000:
                assert time.monotonic() < deadline
            assert heard.address == laid.ADDRESSES["driver"] and heard.count == 1000


def test_a_link_that_has_no_descriptors_left_lives_on(tmp_path: Path) -> None:
    with pair(tmp_path, OURS) as links:
        of = psutil.Process(links[1].popen.pid)
        few = of.num_fds() + 8
        resource.prlimit(of.pid, resource.RLIMIT_NOFILE, (few, few))
        with flood(sys.executable, links[1].address, 100):
            wait_for(lambda: of.num_fds() == few)
            # one that turned in circles would never be seen asleep
            wait_for(lambda: of.status() == psutil.STATUS_SLEEPING, 5.0)
        assert carried(*links, b"still there") == b"still there"


def test_sockets_are_for_this_user_alone(two: tuple[LinkProcess, LinkProcess]) -> None:
    assert (two[0].folder / "77").stat().st_mode & 0o077 == 0


def test_the_key_is_nowhere_to_be_seen(two: tuple[LinkProcess, LinkProcess], tmp_path: Path) -> None:
    lines = {line.encode() for line in OURS.key.splitlines() if len(line) > 40}
    assert lines
    for of in two:
        proc = Path("/proc", str(of.popen.pid))
        seen = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
        seen += b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert not [line for line in lines if line in seen]
        assert not [link for link in os.scandir(proc / "fd") if "memfd" in os.readlink(link)]
        assert (proc / "limits").read_text().split("Max core file size")[1].split()[0] == "0"


def test_a_port_is_taken_from_its_range_and_a_full_range_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, LinkProcess(tmp_path / "a") as one:
        port = taken.getsockname()[1]
        one.say(link.OpenPort(OURS, "127.0.0.1", (port, port)))
        why = one.hear(link.PortFailed).why
        assert why.startswith(
            f"no port from {port} to {port} is free on 127.0.0.1; name more of them (transport.ports)"
        )
        assert one.popen.wait(PATIENCE_S) == 0
    with LinkProcess(tmp_path / "b") as two:
        two.open(OURS, ports=(port, port))
        assert two.address[1] == port


@pytest.mark.parametrize("address", ["0.0.0.0", "::", ""])
def test_a_port_for_everybody_is_refused(tmp_path: Path, address: str) -> None:
    with LinkProcess(tmp_path / "a") as one:
        one.say(link.OpenPort(OURS, address))
        assert "a port must be opened on one address" in one.hear(link.PortFailed).why


def test_an_address_that_is_not_here_is_named(tmp_path: Path) -> None:
    with LinkProcess(tmp_path / "a") as one:
        one.say(link.OpenPort(OURS, "198.18.99.99"))
        assert "cannot listen on 198.18.99.99: Cannot assign" in one.hear(link.PortFailed).why
