"""Each thing that can be wrong with a place is one finding that says what, where, and what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from mxspark.check import findings as checkup
from mxspark.check import verdict
from mxspark.check.findings import CLUSTER, INPUT, OK, PROBLEM, WARNING, Built, Disk, Expected, Finding, Probe
from mxspark.report.check import as_json, as_row, as_table

PACKAGES = {"mxspark": "0.1.0", "mxnet": "1.9.1", "numpy": "1.23.5"}
HERE = "boot/1:2/0"
EXPECTED = Expected("3.11.7", PACKAGES, HERE, roles=5, threads=1)
FINE = Probe(
    0, "node1", "3.11.9", PACKAGES, HERE, disks=(Disk("/data", 2**40),), cores=4, built=Built("1.9.1", 1234)
)  # fmt: skip


def found(**changes: Any) -> dict[str, Finding]:
    """Return what is said of two places, the second with something else."""
    other = replace(FINE, rank=1, host="node2", **changes)
    return {finding.subject: finding for finding in verdict.judge([FINE, other], EXPECTED)}


def test_a_place_where_nothing_is_wrong() -> None:
    assert {finding.status for finding in found().values()} == {OK}
    assert "1,234 trained values" in found()["MXNet"].seen


@pytest.mark.parametrize(
    ("changes", "subject", "status", "seen", "fix"),
    [
        ({"python": "3.9.2"}, "Python", PROBLEM, "3.9.2 on node2", "--python"),
        ({"packages": {**PACKAGES, "mxnet": ""}}, "packages", PROBLEM, "no mxnet on node2", "conf/locks"),
        ({"packages": {**PACKAGES, "mxspark": "0.0.9"}}, "packages", PROBLEM, "mxspark 0.1.0 here, 0.0.9", "--python"),
        ({"packages": {**PACKAGES, "numpy": "1.22.0"}}, "packages", WARNING, "numpy 1.23.5 here, 1.22.0", "--python"),
        ({"identity": "other/1:2/0"}, "hosts", PROBLEM, "different hosts", "driver's host"),
        ({"identity": "boot/1:9/0"}, "hosts", PROBLEM, "different /tmp folders", "driver's host"),
        ({"socket": "no socket can be bound"}, "/tmp and memory", PROBLEM, "on node2: no socket", "/tmp"),
        ({"memory": "no memory can be shared"}, "/tmp and memory", PROBLEM, "no memory", "memfd_create"),
        ({"to_driver": "h port 1: timed out"}, "network", PROBLEM, "the driver cannot be reached", "firewall"),
        ({"from_driver": "h port 1: refused"}, "network", PROBLEM, "the driver cannot reach it", "firewall"),
        ({"ports": (60000, 60010)}, "local ports", WARNING, "only 11 local ports", "ip_local_port_range"),
        ({"files": 64}, "limits", PROBLEM, "64 open files", "nofile"),
        ({"threads": 500, "threads_now": 400}, "limits", PROBLEM, "500 threads .* 400 are used", "nproc"),
        ({"disks": (Disk("/full", 2**20),)}, "local disks", PROBLEM, "/full has 0.000977 GiB left", "make room"),
        ({"disks": (Disk("/shut", 0, "Permission denied"),)}, "local disks", PROBLEM, "/shut: Permission", "write"),
        ({"clock_s": -40.0}, "clocks", WARNING, "node2 is 40.0 s behind", "time server"),
        ({"clock_s": 400.0}, "clocks", PROBLEM, "node2 is 400.0 s ahead.*Kerberos", "time server"),
        ({"gpus": ("node2:0:0",)}, "GPUs", WARNING, "1 given to the tasks would be idle", "resource.gpu"),
        ({"built": Built(trouble="libgfortran.so: no")}, "MXNet", PROBLEM, "node2: libgfortran", "importable"),
        ({"built": Built(trouble="took 8 s", late=True)}, "MXNet", PROBLEM, "node2: took 8 s", "failure.start_s"),
    ],
)
def test_what_is_wrong_is_named_with_its_fix(
    changes: dict[str, Any], subject: str, status: str, seen: str, fix: str
) -> None:
    import re

    finding = found(**changes)[subject]
    assert finding.status == status and re.search(seen, finding.seen) and fix in finding.fix
    assert [other.subject for other in found(**changes).values() if other.status != OK] == [subject]


def test_more_threads_than_cores_is_a_warning() -> None:
    both = [FINE, replace(FINE, rank=1)]
    (finding,) = [f for f in verdict.judge(both, replace(EXPECTED, threads=3)) if f.subject == "cores"]
    assert (finding.status, "2 workers of 3 threads on node1, which has 4 cores" in finding.seen) == (WARNING, True)


def test_a_network_that_cannot_be_built_is_the_users() -> None:
    finding = found(built=Built("1.9.1", None, "ZeroDivisionError: x", by_user=True))["network of the job"]
    assert (finding.status, finding.by) == (PROBLEM, INPUT)
    assert checkup.exit_code([finding]) == 2


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ([], 0),
        ([(WARNING, CLUSTER)], 0),
        ([(PROBLEM, CLUSTER), (OK, INPUT)], 4),
        ([(PROBLEM, CLUSTER), (PROBLEM, INPUT)], 2),
    ],
)
def test_exit_codes(given: list[tuple[str, str]], code: int) -> None:
    assert checkup.exit_code([Finding("x", status, "", by=by) for status, by in given]) == code


def test_both_reports_hold_everything() -> None:
    findings = [Finding("a [thing]", OK, "is [fine]"), Finding("other", PROBLEM, "is not", "do [this]")]
    text = as_table(findings)
    assert all(words in text for words in ("a [thing]", "is [fine]", "fix: do [this]", "1 problem"))
    assert text == "".join(map(as_row, findings)) + "1 problem\n", "each can be shown as it is found"
    assert as_row(findings[0]).index("is [fine]") == as_row(findings[1]).index("is not")
    path = "/".join(["folder"] * 20)
    assert path in as_row(Finding("x", OK, path)).replace("\n", "").replace(" ", ""), "nothing is cut off"
    report = json.loads(as_json(findings))
    assert report["exit_code"] == 4 and report["findings"][1]["fix"] == "do [this]"
