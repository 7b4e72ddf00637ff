"""What is to be said about the places of the workers, as the tasks of ``mxspark check`` saw them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mxspark.check.findings import CLUSTER, INPUT, OK, PROBLEM, WARNING, Expected, Finding, Probe
from mxspark.errors.spelling import counted
from mxspark.system.limits import gib
from mxspark.topology import identity

FILES = 256
"""Open files that an agent with its sockets, logs and segments stays below."""
THREADS = 64
"""Threads that one role process stays below with one OpenMP thread."""
PORTS = 1000
"""Fewer local ports than this and a busy host may run out of them."""
ROOM = 512 * 2**20
"""Bytes free on a local disk below which no job should start."""
SKEW_S = 5.0
"""Seconds between two clocks from which logs are hard to compare."""
KERBEROS_S = 300.0
"""Seconds between two clocks from which Kerberos refuses tickets."""
_SAME = ("mxspark", "mxnet", "cloudpickle")
"""Packages of which driver and executors must have one version; of others that is better."""


def judge(probes: Sequence[Probe], expected: Expected) -> list[Finding]:
    """Return what is to be said about the places of all workers, one finding a subject."""
    return [
        _python(probes, expected),
        _packages(probes, expected),
        _mxnet(probes),
        _hosts(probes, expected),
        _each(probes, "/tmp and memory", _meeting, "unix sockets can be bound in /tmp, and memory shared"),
        _each(probes, "network", _network, "driver and executors reach each other, from both sides"),
        _each(probes, "local ports", _ports, "{} to {}".format(*probes[0].ports), WARNING),
        _each(probes, "limits", lambda probe: _limits(probe, expected), _limit_words(probes[0])),
        _each(probes, "local disks", _disks, _disk_words(probes)),
        _clocks(probes),
        _cores(probes, expected),
        _gpus(probes),
    ]


def _python(probes: Sequence[Probe], expected: Expected) -> Finding:
    def minor(version: str) -> str:
        return ".".join(version.split(".")[:2])

    others = [probe for probe in probes if minor(probe.python) != minor(expected.python)]
    if not others:
        return Finding("Python", OK, f"{expected.python} here, {_list({p.python for p in probes})} on the executors")
    return Finding(
        "Python",
        PROBLEM,
        f"{expected.python} here, {_list({p.python for p in others})} on {_where(others)}",
        "let submit.sh send its own (leave --python out), or name one of the same minor version",
    )


def _packages(probes: Sequence[Probe], expected: Expected) -> Finding:
    missing: list[str] = []
    other: list[str] = []
    is_fatal = False
    for name, version in expected.packages.items():
        without = [probe for probe in probes if not probe.packages.get(name)]
        differ = [probe for probe in probes if probe.packages.get(name) not in ("", None, version)]
        if without:
            missing.append(f"no {name} on {_where(without)}")
        if differ:
            theirs = _list({probe.packages[name] for probe in differ})
            other.append(f"{name} {version} here, {theirs} on {_where(differ)}")
            is_fatal = is_fatal or name in _SAME
    if not missing and not other:
        words = ", ".join(f"{name} {version}" for name, version in expected.packages.items())
        return Finding("packages", OK, f"{words}, here and on the executors")
    fix = "let submit.sh send its own (leave --python out), or install the versions of conf/locks there"
    return Finding("packages", PROBLEM if missing or is_fatal else WARNING, "; ".join([*missing, *other]), fix)


def _mxnet(probes: Sequence[Probe]) -> Finding:
    bad = [probe for probe in probes if probe.built.trouble]
    if bad:
        by_user = bad[0].built.by_user
        seen = f"on {_where(bad)}: {bad[0].built.trouble}"
        fix = (
            "mend the code the traceback points to; modules of yours must lie beside the job file, in the working "
            "directory, or come with --py-files or --requirements"
            if by_user
            else "raise failure.start_s, or see what your network waits for"
            if bad[0].built.late
            else "MXNet must be importable there, and the network must not end its process: see what it said"
        )
        return Finding("network of the job" if by_user else "MXNet", PROBLEM, seen, fix, INPUT if by_user else CLUSTER)
    values = next((probe.built.values for probe in probes if probe.built.values is not None), None)
    seen = f"MXNet {probes[0].built.mxnet} can be imported on every executor"
    return Finding("MXNet", OK, seen if values is None else f"{seen}; the job's network has {values:,} trained values")


def _hosts(probes: Sequence[Probe], expected: Expected) -> Finding:
    others = [probe for probe in probes if probe.identity != expected.identity]
    if not others or not expected.local_sockets:
        return Finding("hosts", OK, f"{counted(len(probes), 'worker')} on {_where(probes)}, which is the driver's host")
    why = identity.explain_difference(expected.identity, others[0].identity)
    return Finding(
        "hosts",
        PROBLEM,
        f"the driver and {_where(others)} cannot meet: {why}",
        "all containers must be on the driver's host, as its user and with its /tmp: jobs over several hosts are not "
        "supported yet",
    )


def _meeting(probe: Probe) -> tuple[str, str]:
    if probe.socket:
        return probe.socket, "let the user of the executors write to /tmp, with room and inodes left on it"
    return probe.memory, "allow memfd_create (a seccomp profile of a container may forbid it)"


def _network(probe: Probe) -> tuple[str, str]:
    fix = "open the firewall between driver and executors, and set spark.driver.host to an address they can reach"
    if probe.to_driver:
        return f"the driver cannot be reached: {probe.to_driver}", fix
    return (f"the driver cannot reach it: {probe.from_driver}" if probe.from_driver else ""), fix


def _ports(probe: Probe) -> tuple[str, str]:
    count = probe.ports[1] - probe.ports[0] + 1
    trouble = f"only {count} local ports ({probe.ports[0]} to {probe.ports[1]})" if count < PORTS else ""
    return trouble, "widen net.ipv4.ip_local_port_range"


def _limits(probe: Probe, expected: Expected) -> tuple[str, str]:
    if 0 <= probe.files < FILES:
        return f"{probe.files} open files (ulimit -n), {FILES} are needed", "raise nofile for the user of the executors"
    need = expected.roles * (THREADS + expected.threads)
    if probe.threads >= 0 and probe.threads - probe.threads_now < need:
        seen = f"{probe.threads} threads (ulimit -u), of which {probe.threads_now} are used and {need} may be needed"
        return seen, "raise nproc for the user of the executors"
    return "", ""


def _limit_words(probe: Probe) -> str:
    files = "unlimited" if probe.files < 0 else f"{probe.files:,}"
    threads = "unlimited" if probe.threads < 0 else f"{probe.threads:,}"
    return f"open files {files}, threads {threads} ({probe.threads_now:,} in use)"


def _disks(probe: Probe) -> tuple[str, str]:
    for disk in probe.disks:
        if disk.trouble:
            return f"{disk.path}: {disk.trouble}", "let the user of the executors write there (spark.local.dir)"
        if disk.free < ROOM:
            return (
                f"{disk.path} has {gib(disk.free)} left",
                "make room: all rows are written there once (spark.local.dir, yarn.nodemanager.local-dirs)",
            )
    return "", ""


def _disk_words(probes: Sequence[Probe]) -> str:
    free = [disk.free for probe in probes for disk in probe.disks]
    return f"{gib(min(free))} left on the fullest; all rows are written there once" if free else "none named"


def clock_finding(subject: str, skew_s: float, where: str) -> Finding:
    """Return what a clock that differs from the driver's by so many seconds means."""
    seen = f"{where} is {abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} the driver's"
    if abs(skew_s) < SKEW_S:
        return Finding(subject, OK, f"{where} is within {SKEW_S:g} s of the driver's")
    fix = "set both by one time server (chronyd, ntpd)"
    if abs(skew_s) < KERBEROS_S:
        return Finding(subject, WARNING, f"{seen}: no limit of mxspark hangs on it, but logs are hard to compare", fix)
    return Finding(subject, PROBLEM, f"{seen}: Kerberos refuses tickets from {KERBEROS_S:g} s on", fix)


def _clocks(probes: Sequence[Probe]) -> Finding:
    worst = max(probes, key=lambda probe: abs(probe.clock_s))
    return clock_finding("clocks", worst.clock_s, f"the clock of {worst.host}")


def _cores(probes: Sequence[Probe], expected: Expected) -> Finding:
    for host in sorted({probe.host for probe in probes}):
        here = [probe for probe in probes if probe.host == host]
        wanted = len(here) * expected.threads
        if wanted > here[0].cores:
            return Finding(
                "cores",
                WARNING,
                f"{counted(len(here), 'worker')} of {counted(expected.threads, 'thread')} on {host}, which has "
                f"{counted(here[0].cores, 'core')}",
                "they will wait for each other: lower cluster.num_workers or cluster.threads_per_worker",
            )
    return Finding("cores", OK, f"{expected.threads} for each worker")


def _gpus(probes: Sequence[Probe]) -> Finding:
    found = sorted({gpu for probe in probes for gpu in probe.gpus})
    if not found:
        return Finding("GPUs", OK, "none asked for")
    fix = "leave spark.executor.resource.gpu.* and spark.task.resource.gpu.* out"
    return Finding("GPUs", WARNING, f"{len(found)} given to the tasks would be idle: training is on cores for now", fix)


def _each(
    probes: Sequence[Probe],
    subject: str,
    look: Callable[[Probe], tuple[str, str]],
    fine: str,
    severity: str = PROBLEM,
) -> Finding:
    """Return one finding for what is looked at on every place: the first trouble, and where it is."""
    troubles = [(probe, *look(probe)) for probe in probes]
    bad = [(probe, trouble, fix) for probe, trouble, fix in troubles if trouble]
    if not bad:
        return Finding(subject, OK, fine)
    return Finding(subject, severity, f"on {_where([probe for probe, _, _ in bad])}: {bad[0][1]}", bad[0][2])


def _where(probes: Sequence[Probe]) -> str:
    return _list({probe.host for probe in probes})


def _list(found: set[str]) -> str:
    return ", ".join(sorted(found))
