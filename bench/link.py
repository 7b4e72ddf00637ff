"""What does a link cost, against plain TCP on the same cable, and what do strangers at its port?

    python bench/link.py [--rounds 3] [--megabytes 400] [--rate 1gbit]

Two network namespaces with a cable between them, a link in each, a sender at the one end and a reader at the other; all
ways take turns. Needs root and iproute2.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import links  # noqa: E402
from namespaces import cable  # noqa: E402

from mxspark.protocol import link  # noqa: E402

WAYS = ("tcp", "spliced", "copied", "encrypted")
COPIED = links.BOOT.replace("sys.exit", "from mxspark.link import movers; movers.CAN_SPLICE = False; sys.exit")
END = """
import socket, sys, time
what, kind, where, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
family, address = socket.AF_UNIX, where
if kind == "tcp":
    host, port = where.split()
    family, address = socket.AF_INET, (host, int(port))
room = memoryview(bytearray(2**18))
if what == "read":
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(address)
    server.listen()
    print("ready", flush=True)
    sock = server.accept()[0]
    for _ in range(200):
        sock.sendall(sock.recv(64))
    began, left = None, count
    while left:
        got = sock.recv_into(room)
        began = began or time.perf_counter()
        left -= got
    print(time.perf_counter() - began, flush=True)
else:
    sock = socket.socket(family)
    sock.connect(address)
    if kind == "tcp":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    trips = []
    for _ in range(200):
        began = time.perf_counter()
        sock.sendall(bytes(64))
        sock.recv(64)
        trips.append(time.perf_counter() - began)
    left = count
    while left:
        left -= sock.send(room[:min(left, len(room))])
    sock.recv(1)
    print(sorted(trips)[100], flush=True)
"""


def run(laid, way, folder, pair, count):
    """Send so much, and return bytes a second, seconds a round trip, and CPU seconds of both links."""
    at = f"{laid.ADDRESSES['slots']} 7777"
    here, there = ("tcp", at), ("tcp", at)
    if way != "tcp":
        here, there = ("unix", str(folder / way / "a" / "77")), ("unix", str(folder / way / "b" / "77"))
        Path(there[1]).unlink(missing_ok=True)
    before = cpu(pair)
    with program(laid.python("slots"), "read", *there, str(count)) as reader:
        assert reader.stdout.readline() == "ready\n"
        with program(laid.python("driver"), "send", *here, str(count)) as sender:
            seconds = float(reader.stdout.readline())
            trip = float(sender.stdout.readline())
    return count / seconds, trip, cpu(pair) - before


def program(python, *words):
    """Start one end."""
    return subprocess.Popen([python, "-c", END, *words], stdout=subprocess.PIPE, text=True)


def cpu(pair):
    """Return the CPU seconds of links so far."""
    times = [psutil.Process(each.popen.pid).cpu_times() for each in pair]
    return sum(each.user + each.system for each in times)


def throughput(laid, folder, who, rounds, count):
    """Let all ways take turns, and print their medians and their ratios to plain TCP in the same round."""
    with contextlib.ExitStack() as stack:
        pairs = {"tcp": ()}
        for way in WAYS[1:]:
            (folder / way).mkdir()
            ends = {"python": laid.python("driver"), "other": laid.python("slots")}
            at = {"address": laid.ADDRESSES["driver"], "other_address": laid.ADDRESSES["slots"]}
            boot = COPIED if way == "copied" else links.BOOT
            pair = links.pair(folder / way, who, **ends, **at, boot=boot, encrypt=way == "encrypted")
            pairs[way] = stack.enter_context(pair)
        found = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                found[way].append(run(laid, way, folder, pairs[way], count))
    for way in WAYS:
        rates, trips, used = (statistics.median(each) for each in zip(*found[way]))
        ratio = statistics.median(one[0] / plain[0] for one, plain in zip(found[way], found["tcp"]))
        longer = statistics.median(one[1] - plain[1] for one, plain in zip(found[way], found["tcp"]))
        print(
            f"{way:10} {rates / 1e6:7.0f} MB/s, {ratio:.2f} of TCP; round trip {trips * 1e6:4.0f} us "
            f"({longer * 1e6:+.0f}); CPU of both links {used / count * 1e9:.2f} s a GB"
        )


FLOOD = """
import resource, socket, ssl, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
kind, address, count = sys.argv[1], (sys.argv[2], int(sys.argv[3])), int(sys.argv[4])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
if kind == "wrong":
    path = sys.argv[5]
    context.load_cert_chain(path)
socks, began = [], time.perf_counter()
for _ in range(count):
    sock = socket.create_connection(address, timeout=30)
    try:
        if kind == "http":
            sock.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
        elif kind in ("wrong", "none"):
            sock = context.wrap_socket(sock)
    except OSError:
        pass
    socks.append(sock)
print(time.perf_counter() - began, flush=True)
sys.stdin.read()
"""


def strangers(laid, folder, who):
    """Let a thousand strangers of each kind come from the other host, and print what they cost."""
    certificate = folder / "wrong.pem"  # of no run, so that a file may have it
    other = links.identity("other")
    certificate.write_text(other.certificate + other.key)
    for kind in ("silent", "http", "none", "wrong"):
        place = folder / kind
        place.mkdir()
        ends = {"python": laid.python("slots"), "address": laid.ADDRESSES["slots"]}
        with links.pair(place, who, **ends) as pair:
            links.carried(*pair, b"warm")
            of = psutil.Process(pair[1].popen.pid)
            rss, used = of.memory_info().rss, cpu(pair[1:])
            host, port = pair[1].address
            words = [laid.python("driver"), "-c", FLOOD, kind, host, str(port), "1000", str(certificate)]
            with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as flood:
                seconds = float(flood.stdout.readline())
                held = of.memory_info().rss - rss
                began = time.perf_counter()
                links.carried(*pair, b"meanwhile")
                trip = time.perf_counter() - began
                flood.stdin.close()
            while (heard := pair[1].hear(link.StrangersRefused)).count < 1000:
                pass
            print(
                f"1,000 strangers ({kind}): {seconds:.2f} s, CPU of the link {cpu(pair[1:]) - used:.2f} s, memory "
                f"{held / 2**20:+.1f} MiB; a new connection of ours meanwhile {trip * 1e3:.0f} ms; last: {heard.why}"
            )


def main():
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--rate", help="slow the cable down to this, as tc writes it")
    options = parser.parse_args()
    who = links.identity()
    with tempfile.TemporaryDirectory() as name, cable(Path(name)) as laid:
        if options.rate:
            laid.slow(options.rate)
        throughput(laid, Path(name), who, options.rounds, options.megabytes * 10**6)
        if not options.rate:
            strangers(laid, Path(name), who)


if __name__ == "__main__":
    main()
