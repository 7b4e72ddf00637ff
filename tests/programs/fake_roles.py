"""Tiny roles that keep the agents' protocol without MXNet, and break it where ``FAKE`` says so.

They meet as the real ones do: servers and the scheduler listen on ``/tmp/<PORT>``, workers connect to all of them, and
a server ends when all workers have left. Workers find the servers in ``FAKE_FOLDER``. ``FAKE`` is JSON: for the name of
a role ``{"at": phase, "do": deed}``, or a false digest or rank.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mxspark.protocol import codec, commands, events
from mxspark.protocol.channel import Channel
from mxspark.protocol.specs import INHERITED, Inherited

ROLE = os.environ.get("DMLC_ROLE", "")
NAME = sys.argv[-1]  # worker-1 and the like
FAULT = json.loads(os.environ.get("FAKE", "{}")).get(NAME, {})
STEPS = int(os.environ.get("FAKE_STEPS", "10"))
MIDDLE, STEP_S = 5, 0.02
HELLO = b"w"


def here(phase: str, channel: Channel) -> None:
    """Do what is asked for at this phase."""
    if FAULT.get("at") == phase:
        DEEDS[FAULT["do"]](channel)


def listen() -> socket.socket:
    """Bind the role's own socket, if it has one."""
    port = os.environ.get("DMLC_PS_ROOT_PORT" if ROLE == "scheduler" else "PORT")
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"/tmp/{port}" if port else "")
    server.listen(64)
    if ROLE == "server":
        folder = meeting_place()
        folder.mkdir(exist_ok=True)
        (folder / str(port)).touch()
    return server


def meeting_place() -> Path:
    """Return the folder in which the servers of this attempt leave the names of their sockets."""
    return Path(os.environ["FAKE_FOLDER"], os.environ["DMLC_PS_ROOT_PORT"])


def peers() -> list[str]:
    """Return the sockets of the scheduler and of every server, once all of them have left theirs."""
    if not ROLE:
        return []
    folder, count = meeting_place(), int(os.environ["DMLC_NUM_SERVER"])
    while not folder.exists() or len(os.listdir(folder)) < count:
        time.sleep(0.01)
    return [f"/tmp/{port}" for port in (os.environ["DMLC_PS_ROOT_PORT"], *os.listdir(folder))]


def meet() -> None:
    """Wait for the other workers of this host, as real ones do: who is none of ps-lite's forms with its leader."""
    given = json.loads(os.environ.get("MXSPARK_INHERITED", "{}"))
    sockets = [socket.socket(fileno=os.dup(fd)) for _, fd in given.get("peers", ())]
    for peer in sockets:
        peer.sendall(b".")
    for peer in sockets:
        peer.recv(1)


def waiter() -> None:
    """Be a scheduler or a server."""
    faulthandler.register(signal.SIGUSR1)
    channel = Channel.from_fd(int(os.environ["MXSPARK_CHANNEL"]))
    here("start", channel)
    server = listen()
    channel.send(events.to_wire(events.Loaded(0.0)))
    here("loaded", channel)
    workers = [accept(server) for _ in range(int(os.environ["DMLC_NUM_WORKER"]))]
    if ROLE == "server":
        channel.send(events.to_wire(events.Formed(int(NAME.partition("-")[2]), 0.0)))
    here("formed", channel)
    for worker in workers:
        worker.recv(1)
    here("end", channel)


def accept(server: socket.socket) -> socket.socket:
    """Return the next worker that comes. Who only looks whether anybody listens, as the janitor does, is none."""
    while True:
        peer = server.accept()[0]
        if peer.recv(1) == HELLO:
            return peer
        peer.close()


def worker() -> None:
    """Be a worker."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    channel = Channel.from_fd(int(os.environ["MXSPARK_CHANNEL"]))
    say = lambda event: channel.send(events.to_wire(event))  # noqa: E731
    here("start", channel)
    keep = listen()
    say(events.Loaded(0.0))
    here("loaded", channel)
    order = commands.from_wire(channel.receive(120) or {})
    assert isinstance(order, commands.Train), order
    others = [join(path) for path in peers()]
    meet()
    say(events.Formed(FAULT.get("rank", order.rank), 0.0))
    here("formed", channel)
    say(events.Started(0, 0, 1, {}))
    for step in range(1, STEPS + 1):
        time.sleep(STEP_S)
        say(events.Beat(step, 0, step, step * STEP_S, 0.0))
        if step == MIDDLE:
            here("middle", channel)
    here("end", channel)
    say(events.Done(STEPS, FAULT.get("digest", "same"), {}))
    while (frame := channel.receive(120)) is not None:
        command = commands.from_wire(frame)
        if isinstance(command, commands.Committed):
            print("committed", command.step, flush=True)
        elif isinstance(command, commands.Finish):
            break
    here("finish", channel)
    for other in others:
        other.close()
    keep.close()


def join(path: str) -> socket.socket:
    """Connect to a peer as soon as it listens."""
    while True:
        peer = socket.socket(socket.AF_UNIX)
        try:
            peer.connect(path)
            peer.sendall(HELLO)
            return peer
        except OSError:
            peer.close()
            time.sleep(0.01)


def hang(_channel: Channel) -> None:
    """Do nothing any more, in a function that a stack shows."""
    while True:
        time.sleep(1)


def wait(channel: Channel) -> None:
    """Wait for the others, inside a function of mxspark."""
    channel.receive(120)


def raised(kind: str, message: str) -> Callable[[Channel], None]:
    """Return what tells of an exception and ends."""

    def deed(channel: Channel) -> None:
        channel.send(events.to_wire(events.Raised("training", kind, message, "", 7)))
        sys.exit(1)

    return deed


def crash(_channel: Channel) -> None:
    """Read where nothing is."""
    ctypes.string_at(0)


def share(_channel: Channel) -> None:
    """Write into one's own segment, meet the others, and print what all segments hold."""
    given = codec.decode(Inherited, json.loads(os.environ[INHERITED]))
    rank = int(NAME.partition("-")[2])
    os.pwrite(given.segments[rank], f"of {rank}".encode(), 0)
    peers = [socket.socket(fileno=fd) for _, fd in given.peers]
    for peer in peers:
        peer.sendall(b"m")
    for peer in peers:
        assert peer.recv(1) == b"m"
    print("segments:", [os.pread(fd, 9, 0).decode() for fd in given.segments], flush=True)


def bad_alloc(_channel: Channel) -> None:
    """End as a C++ program does that finds no memory."""
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n")
    os.abort()


def raise_error(channel: Channel) -> None:
    """Tell of an exception of the user's code, behind more than is read at once, and end."""
    channel.send(events.to_wire(events.Beat(6, 0, 1, 1.0, 0.0, "x" * 150_000)))
    channel.send(
        events.to_wire(events.Raised("training", "ZeroDivisionError", "division by zero", "line 1\nline 2", 7))
    )
    sys.exit(1)


def spawn(_channel: Channel) -> None:
    """Start a child and a child of it in a session of its own, and hang."""
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
    code += "start_new_session=True); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", code])
    hang(_channel)


def flood_log(_channel: Channel) -> None:
    """Write 20 MB of bytes that are no text."""
    for _ in range(20):
        os.write(1, bytes(range(256)) * 4096)


def flood_lines(_channel: Channel) -> None:
    """Log a million and a half lines, 96 MB, as a loop with a print in it does."""
    for number in range(15):
        sys.stdout.write(
            "".join(f"step {number}: row {row:08}: this and that, and the loss: nan {row}\n" for row in range(100_000))
        )
    sys.stdout.flush()


def bloat(_channel: Channel) -> None:
    """Use memory until something happens."""
    kept = []
    while True:
        kept.append(bytes(range(256)) * 4096)


def open_files(channel: Channel) -> None:
    """Open files until there are no more, and do not handle it."""
    kept = []
    try:
        while True:
            kept.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        channel.send(events.to_wire(events.Raised("training", "OSError", str(error), "", 7)))
        os._exit(1)


def fork(channel: Channel) -> None:
    """Start processes until there are no more, and do not handle it."""
    try:
        while True:
            subprocess.Popen(["sleep", "600"])
    except OSError as error:
        channel.send(events.to_wire(events.Raised("training", type(error).__name__, str(error), "", 7)))
        sys.exit(1)


def flood_channel(channel: Channel) -> None:
    """Beat as fast as it goes, with some weight, for two seconds."""
    beat = events.to_wire(events.Beat(1, 0, 1, 1.0, 0.0, "x" * 1000))
    end = time.monotonic() + 2
    while time.monotonic() < end:
        channel.send(beat)


def garbage(channel: Channel) -> None:
    """Say something that is no event."""
    channel.send({"event": "Joined", "rank": 0, "host": "here", "identity": "me", "pid": 1})
    hang(channel)


def not_a_frame(_channel: Channel) -> None:
    """Send bytes that are no frame."""
    os.write(int(os.environ["MXSPARK_CHANNEL"]), b"\xff" * 100)
    hang(_channel)


def wrong_socket(channel: Channel) -> None:
    """Remove the socket this role should have bound."""
    os.unlink(f"/tmp/{os.environ['PORT']}")


def show_environment(_channel: Channel) -> None:
    """Print what it was given."""
    print(json.dumps(dict(os.environ)), flush=True)


def show_limit(_channel: Channel) -> None:
    """Print the limit on address space."""
    print(resource.getrlimit(resource.RLIMIT_AS), flush=True)


DEEDS = {
    "show limit": show_limit,
    "hang": hang,
    "wait": wait,
    "no memory": raised("MemoryError", "Unable to allocate 7.45 GiB for an array"),
    "no room": raised("OSError", "[Errno 28] No space left on device: '/dev/shm/there/is/none'"),
    "crash": crash,
    "bad alloc": bad_alloc,
    "share": share,
    "raise": raise_error,
    "exit 0": lambda _channel: sys.exit(0),
    "exit 3": lambda _channel: sys.exit(3),
    "spawn": spawn,
    "flood log": flood_log,
    "flood lines": flood_lines,
    "bloat": bloat,
    "open files": open_files,
    "fork": fork,
    "flood channel": flood_channel,
    "garbage": garbage,
    "not a frame": not_a_frame,
    "wrong socket": wrong_socket,
    "show environment": show_environment,
}
