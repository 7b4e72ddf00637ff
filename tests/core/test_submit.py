"""The front: whose argument is whose, which settings are added, and an environment that is made once or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Optional

import pytest

from mxspark.errors import ClusterError, InputError
from mxspark.launch import environment as environments
from mxspark.launch import installer, packages, submit
from mxspark.launch.environment import Environment, check_platform, with_pyspark
from mxspark.launch.installer import Progress, Uv
from mxspark.launch.java import java_home
from mxspark.launch.job_keys import num_workers
from mxspark.launch.settings import (
    check_pythons,
    given_settings,
    our_arguments,
    python_settings,
    sort_arguments,
)
from mxspark.launch.spark_home import spark_home, without_spark
from mxspark.system.java import major

ROOT = Path(__file__).resolve().parents[2]


# -- arguments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "spark", "own"),
    [
        ("a.py", "", ""),
        ("a.py --config j.yaml --set k=v --result r.json", "", "--config j.yaml --set k=v --result r.json"),
        ("--master yarn a.py --config j.yaml", "--master yarn", "--config j.yaml"),
        ("a.py --config j.yaml --master yarn --set k=v", "--master yarn", "--config j.yaml --set k=v"),
        ("a.py --conf=x=y --config=j.yaml --verbose", "--conf=x=y --verbose", "--config=j.yaml"),
        ("--conf x=a.py -c u=v --future-flag a.py", "--conf x=a.py -c u=v --future-flag", ""),
        ("a.py --set k=v -- --master mine b.py", "", "--set k=v --master mine b.py"),
        ("a.py -c 3 --queue q", "--queue q", "-c 3"),
    ],
)
def test_each_argument_goes_to_its_owner(given: str, spark: str, own: str) -> None:
    command = sort_arguments(given.split())
    assert (command.script, command.spark, command.arguments) == ("a.py", tuple(spark.split()), tuple(own.split()))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "must be a Python script, got None"),
        ("--config j.yaml a.py", "must be a Python script, got 'j.yaml'"),
        ("a.py --master", "--master needs a value"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(given: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sort_arguments(given.split())


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("cluster: {num_workers: 3}", "", 3),
        ("cluster: {num_workers: 3}", "--set cluster.num_workers=5 --set training.epochs=2", 5),
        ("cluster: {num_workers: 3}", "--set=cluster.num_workers=4", 4),
        ("cluster: {}", "", 1),
        ("cluster: {num_workers: many}", "", 1),
        ("cluster: {num_workers: 3}", "--set cluster.num_workers=-2", 1),
        ("- no\n- job", "", 1),
        ("{", "", 1),
    ],
)
def test_the_number_of_workers_is_found_before_spark_starts(
    tmp_path: Path, text: str, options: str, expected: int
) -> None:
    (tmp_path / "job.yaml").write_text(text)
    assert num_workers(["--config", str(tmp_path / "job.yaml"), *options.split()]) == expected
    assert num_workers([f"--config={tmp_path / 'job.yaml'}", *options.split()]) == expected


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("job: {name: ads}", "", "mxspark ads"),
        ("job: {name: ads}", "--set job.name=clicks", "mxspark clicks"),
        ("job: {}", "", "mxspark job"),
        ("{", "", "mxspark job"),
    ],
)
def test_an_application_is_named_after_the_job_before_its_driver_is_there(
    tmp_path: Path, text: str, options: str, expected: str
) -> None:
    (tmp_path / "job.yaml").write_text(text)
    words = [str(ROOT / "spark_jobs/train.py"), "--config", str(tmp_path / "job.yaml"), *options.split()]

    def name(*given: str) -> Optional[str]:
        command = sort_arguments([*given, *words])
        return replace(command, spark=tuple(our_arguments(command, {}, ROOT, cores=4))).value("--name")

    assert name("--master", "yarn") == expected
    assert name("--master", "yarn", "--name", "mine") is None, "spark-submit is given it already"
    assert name("--master", "yarn", "--conf", "spark.app.name=mine") is None
    assert name() is None, "the driver is here, and says it"
    words[0] = str(ROOT / "spark_jobs/check.py")
    assert name("--master", "yarn") == expected.replace("mxspark", "mxspark check of")
    words[0] = str(tmp_path / "mine.py")
    assert name("--master", "yarn") is None


def test_a_local_run_gets_slots_for_all_workers_and_our_settings() -> None:
    command = sort_arguments(["a.py", "--set", "cluster.num_workers=6"])
    assert our_arguments(command, {}, ROOT, cores=4) == [
        "--properties-file", str(ROOT / "conf/spark-defaults.conf"), "--master", "local[6]",
        "--conf", "spark.dynamicAllocation.enabled=false", "--conf", "spark.python.worker.killOnIdleTimeout=false",
        "--conf", "spark.ui.showConsoleProgress=false",
    ]  # fmt: skip
    assert "local[8]" in our_arguments(command, {}, ROOT, cores=8)


@pytest.mark.parametrize(
    ("script", "needs_all_slots"),
    [("train.py", True), ("check.py", True), ("score.py", False), ("/mine/score.py", True), ("/mine/a.py", True)],
)
def test_only_what_may_form_a_gang_goes_without_dynamic_allocation(script: str, needs_all_slots: bool) -> None:
    command = sort_arguments([str(ROOT / "spark_jobs" / script)])
    assert ("spark.dynamicAllocation.enabled=false" in our_arguments(command, {}, ROOT, cores=4)) == needs_all_slots


@pytest.mark.parametrize("given", ["--master yarn", "--conf spark.master=yarn", "--conf=spark.master=yarn"])
def test_a_master_of_the_users_stays(given: str) -> None:
    assert "--master" not in our_arguments(sort_arguments([*given.split(), "a.py"]), {}, ROOT, cores=4)


def test_a_python_of_the_clusters_is_replaced_and_one_of_the_command_line_refused() -> None:
    drivers, executors, frames = (
        "spark.pyspark.driver.python",
        "spark.pyspark.python",
        "spark.sql.execution.pyspark.python",
    )
    assert python_settings({executors: "/theirs"}, "/here", "./there") == {drivers: "/here", executors: "./there"}
    assert python_settings({frames: "/theirs"}, "/here", "./there")[frames] == "./there"
    for key in (drivers, executors, frames):
        check_pythons(sort_arguments(["a.py", "--conf", f"{key}=/env/bin/python"]), "/env/bin/python")
        with pytest.raises(InputError, match=rf"--conf {key}=/theirs: driver and workers run in the Python of /env"):
            check_pythons(sort_arguments(["a.py", "--conf", f"{key}=/theirs"]), "/env/bin/python")


def test_a_spark_of_another_series_that_an_environment_can_be_made_for_is_told_how(tmp_path: Path) -> None:
    for name, release in (("theirs", "3.5.9"), ("ours", "4.3.0")):
        (tmp_path / name / "jars").mkdir(parents=True)
        (tmp_path / name / f"jars/spark-core_2.13-{release}.jar").touch()
    with pytest.raises(
        InputError, match=r"3\.5\.9, but our .* is 4\.3\.0.*unset SPARK_HOME, or set MXSPARK_PYSPARK=3\.5\.9"
    ):
        spark_home({"SPARK_HOME": str(tmp_path / "theirs")}, tmp_path / "ours")
    assert spark_home({"SPARK_HOME": str(tmp_path / "ours")}, tmp_path / "ours") == tmp_path / "ours"
    assert spark_home({}, tmp_path / "ours") == tmp_path / "ours"


def test_a_python_path_is_cleared_of_a_spark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "python/pyspark").mkdir(parents=True)
    (tmp_path / "python/pyspark/__init__.py").touch()
    mine = f"{tmp_path}{os.pathsep}relative"
    theirs = [f"{tmp_path}/python", f"{tmp_path}/lib/py4j-0.10.9.7-src.zip", f"{tmp_path}/lib/pyspark.zip"]
    assert without_spark(os.pathsep.join([*theirs, mine])) == mine
    assert capsys.readouterr().err.count("in PYTHONPATH is part of a Spark: not used") == 3


def test_defaults_with_a_comment_in_latin_1_are_read(tmp_path: Path) -> None:
    (tmp_path / "my.conf").write_bytes(b"# f\xfcr uns\nspark.master yarn\n")
    command = sort_arguments(["--properties-file", str(tmp_path / "my.conf"), "a.py"])
    assert given_settings(command, {})["spark.master"] == "yarn"


def test_a_spark_of_the_users_keeps_its_own_defaults(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/spark-defaults.conf").write_text("# ours\nspark.master   yarn\nspark.local.dir=/big\n")
    environ = {"SPARK_HOME": str(tmp_path)}
    command = sort_arguments(["a.py", "--conf", "spark.dynamicAllocation.enabled=true"])
    locale = [f"spark.{whose}.LC_ALL=C.UTF-8" for whose in ("executorEnv", "yarn.appMasterEnv")]
    ours = [*locale, "spark.python.worker.killOnIdleTimeout=false", "spark.ui.showConsoleProgress=false"]
    assert our_arguments(command, environ, ROOT, 4) == [word for text in ours for word in ("--conf", text)]
    assert given_settings(command, environ) == {
        "spark.master": "yarn",
        "spark.local.dir": "/big",
        "spark.dynamicAllocation.enabled": "true",
    }


# -- platform, Python, Java --------------------------------------------------------------------------------------------


def test_other_platforms_and_pythons_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_platform()
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    with pytest.raises(InputError, match=r"mxspark needs 3\.9 to 3\.12"):
        check_platform()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(InputError, match=r"Linux on aarch64; MXNet 1\.9\.1 runs on Linux on x86-64 only"):
        check_platform()


def test_submit_sh_says_which_python_is_missing(tmp_path: Path) -> None:
    for program in ("bash", "dirname", "readlink", "head"):
        (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    old = tmp_path / "python3"
    old.write_text("#!/bin/bash\n[ $1 = --version ] && echo Python 3.8.1\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / "submit.sh", "a.py"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "no Python 3.9 to 3.12 on the PATH (Python 3.8.1 is python3)" in done.stderr


def test_the_first_half_needs_nothing_but_the_standard_library() -> None:
    call = "from mxspark.launch.submit import main; sys.exit(main(['--help']))"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {call}"
    done = subprocess.run([sys.executable, "-ISc", code], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "spark_jobs/train.py --config conf/digits.yaml" in done.stdout


@pytest.mark.parametrize(
    ("text", "version"),
    [('JAVA_VERSION="17.0.15"', 17), ('JAVA_VERSION="1.8.0_412"', 8), ("    java.version = 21.0.1\n", 21), ("", 0)],
)
def test_the_version_of_a_java_is_read(text: str, version: int) -> None:
    assert major(text) == version


def test_the_machines_java_is_used_from_17_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / ".mxspark"
    (store / "java-17.0.9.2").mkdir(parents=True)  # as if it had been fetched
    environment = Environment(tmp_path, store / "env", "")
    java = tmp_path / "jdk/bin/java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    environ = {"JAVA_HOME": str(tmp_path / "jdk"), "PATH": str(tmp_path)}
    (tmp_path / "jdk/release").write_text('JAVA_VERSION="17.0.1"\n')
    assert java_home(environment, environ) == tmp_path / "jdk"
    (tmp_path / "jdk/release").write_text('JAVA_VERSION="11.0.2"\n')
    assert java_home(environment, environ) == store / "java-17.0.9.2/home"
    assert "is Java 11, Spark needs 17 or newer: not used" in capsys.readouterr().err


# -- the environment ---------------------------------------------------------------------------------------------------


def test_another_pyspark_is_another_environment() -> None:
    usual = Environment.wanted(ROOT, {})
    other = Environment.wanted(ROOT, {"MXSPARK_PYSPARK": "3.5.9"})
    assert "\npyspark==3.5.9\n" in other.requirements
    assert "\npyspark==3.5.9\n" not in usual.requirements
    assert len({usual.path, other.path, Environment.wanted(ROOT, {}, dev=True).path}) == 3
    assert usual == Environment.wanted(ROOT, {})
    with pytest.raises(InputError, match=r"MXSPARK_PYSPARK=3\.4\.1: name a full release"):
        Environment.wanted(ROOT, {"MXSPARK_PYSPARK": "3.4.1"})
    with pytest.raises(InputError, match="it has no bin/python"):
        Environment.wanted(ROOT, {"MXSPARK_ENVIRONMENT": "/nowhere"})


def test_each_pyspark_brings_its_own_py4j() -> None:
    assert with_pyspark("numpy==1.23.5\npy4j==1\npyspark==4.3.0\npyyaml==6\n", "3.5.9") == (
        "numpy==1.23.5\npyyaml==6\npyspark==3.5.9\n"
    )


class Index(SimpleHTTPRequestHandler):
    """A package index that serves a folder and keeps quiet."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


FAKE_UV = """#!/bin/bash
echo "uv $*" >> "$UV_DIARY"
echo "$UV_CACHE_DIR" > "$UV_DIARY.cache"
case "$1" in
  venv) for last; do :; done; mkdir -p "$last/lib/python3/site-packages" ;;
  pip) if [ "$2" = compile ]; then
         [ -e "$UV_DIARY.resolved" ] || { echo "error: No solution found" >&2; exit 1; }
         while [ "$1" != --output-file ]; do shift; done; cp "$UV_DIARY.resolved" "$2"
       fi
       echo "Resolved 3 packages" >&2; [ ! -e "$UV_DIARY.fail" ] || { echo "no such package" >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout whose index serves a stand-in for uv that writes a diary."""
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-1.2.3.data/scripts/uv", FAKE_UV)
    name = "uv-1.2.3-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    served = tmp_path / "served"
    (served / "simple/uv").mkdir(parents=True)
    (served / "simple/uv/index.html").write_text(f'<a href="../../{name}#sha256=00">{name}</a>')
    (served / name).write_bytes(wheel.getvalue())
    root = tmp_path / "checkout"
    (root / "conf/locks").mkdir(parents=True)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (root / f"conf/locks/py{version}.txt").write_text("pyspark==4.0.0\n")
    (root / "conf/locks/build.txt").write_text("")
    digest = hashlib.sha256(wheel.getvalue()).hexdigest()
    (root / "conf/locks/uv.txt").write_text(f"uv==1.2.3 --hash=sha256:{digest}\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_address[1]}/simple")
    monkeypatch.setenv("UV_DIARY", str(tmp_path / "diary"))
    yield root
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_environment_is_made_once(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = Environment.wanted(checkout, {})
    environment.make()
    environment.make()
    diary = (checkout.parent / "diary").read_text().splitlines()
    assert [line.split()[1] for line in diary] == ["venv", "pip"]
    assert "--relocatable" in diary[0]
    assert "--compile-bytecode" in diary[1]
    paths = (environment.path / "lib/python3/site-packages/mxspark-checkout.pth").read_text()
    assert paths == f"{checkout}\n"
    said = capsys.readouterr().err
    assert "fetching uv 1.2.3" in said
    assert "Resolved 3 packages" in said
    assert "ready" in said


def test_an_installer_whose_user_has_no_home_keeps_its_cache_in_the_checkout(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("XDG_CACHE_HOME", "UV_CACHE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    environment = Environment.wanted(checkout, {})
    for home, expected in (("/proc/1/nowhere", environment.store / "uv-cache"), (checkout, None)):
        monkeypatch.setenv("HOME", str(home))
        shutil.rmtree(environment.path, ignore_errors=True)
        environment.make()
        kept = (checkout.parent / "diary.cache").read_text().strip()
        assert kept == str(expected or "")


def test_packages_of_the_users_come_beside_those_that_are_there_and_never_in_their_place(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = Environment.wanted(checkout, {"MXSPARK_ENVIRONMENT": sys.prefix})
    wanted = checkout.parent / "mine.txt"
    wanted.write_text("mine\n")
    resolved = checkout.parent / "diary.resolved"
    resolved.write_text(f"mine==1.0\nnumpy=={metadata.version('numpy')}\n")
    first = packages.folder(environment, str(wanted), Progress("test"))
    assert packages.folder(environment, str(wanted), Progress("test")) == first
    compiled, installed = (checkout.parent / "diary").read_text().splitlines()
    assert "pip compile" in compiled and "--constraints" in compiled and "--no-deps" in installed
    assert f"numpy=={metadata.version('numpy')}" in (first / "constraints.txt").read_text().splitlines()
    assert (first / "missing.txt").read_text() == "mine==1.0"
    found = packages.variables(first, {"PATH": "/bin", "PYTHONPATH": ""})
    assert found == {"PYTHONPATH": str(first), "PATH": f"{first}/bin{os.pathsep}/bin"}
    wanted.write_text("mine\nnumpy>=2\n")
    resolved.unlink()
    with pytest.raises(InputError, match=r"mine.txt does not go with the packages of .*change what is named here"):
        packages.folder(environment, str(wanted), Progress("test"))
    with pytest.raises(InputError, match=r"--requirements /none: No such file or directory; name a file"):
        packages.folder(environment, "/none", Progress("test"))


@pytest.mark.parametrize(
    ("given", "switch", "command"),
    [
        ("--exec", "--exec", "python"),
        ("--exec-dev ruff check", "--exec-dev", "ruff check"),
        ("--exec mxspark config", "--exec", "python -m mxspark config"),
        (
            "--requirements r.txt --exec mxspark check",
            "--exec",
            "python -m mxspark.launch.packages r.txt python -m mxspark check",
        ),
        ("--exec python mxspark", "--exec", "python mxspark"),
        ("--requirements r.txt --exec jupyter lab", "--exec", "python -m mxspark.launch.packages r.txt jupyter lab"),
        ("--requirements=r.txt --exec", "--exec", "python -m mxspark.launch.packages r.txt python"),
        ("a.py --requirements r.txt", "", "python -m mxspark.launch a.py --requirements r.txt"),
        ("--requirements r.txt a.py --exec", "", "python -m mxspark.launch --requirements r.txt a.py --exec"),
    ],
)
def test_packages_are_for_a_command_too(given: str, switch: str, command: str) -> None:
    assert submit._command(given.split()) == (switch, command.split())


def test_an_environment_that_failed_does_not_count(checkout: Path) -> None:
    environment = Environment.wanted(checkout, {})
    fail = checkout.parent / "diary.fail"
    fail.touch()
    with pytest.raises(
        ClusterError, match=r"(?s)'uv pip install' ended with 1 and said.*no such package.*PIP_INDEX_URL"
    ):
        environment.make()
    assert not list(environment.store.glob("env-*"))
    fail.unlink()
    environment.make()
    assert environment.path.is_dir()


def test_what_an_interrupted_start_left_is_replaced(checkout: Path) -> None:
    environment = Environment.wanted(checkout, {})
    half = environment.path.with_name(environment.path.name + ".part")
    half.mkdir(parents=True)
    (half / "half").touch()
    environment.make()
    assert not (environment.path / "half").exists()
    assert not half.exists()


def test_two_starts_do_not_make_the_same_environment(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = Environment.wanted(checkout, {})
    environment.store.mkdir()
    monkeypatch.setattr(environments, "WAIT_S", 0.3)
    with open(environment.store / "lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ClusterError, match="another start has held"):
            environment.make()
    assert "waiting for another start" in capsys.readouterr().err
    assert not (checkout.parent / "diary").exists()


def test_a_changed_installer_is_refused(checkout: Path) -> None:
    pin = checkout / "conf/locks/uv.txt"
    pin.write_text(f"uv==1.2.3 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ClusterError, match=r"is not the one of conf/locks/uv\.txt: its sha256 is"):
        Environment.wanted(checkout, {}).make()
    assert not list((checkout / ".mxspark").glob("uv-*"))


def test_an_index_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    environ = {"UV_DEFAULT_INDEX": "http://me:secret@127.0.0.1:1/simple"}
    uv = Uv(tmp_path, f"uv==1.2.3 --hash=sha256:{'0' * 64}", environ, Progress("test"))
    with pytest.raises(ClusterError, match=r"cannot read http://127\.0\.0\.1:1/simple/uv/.*PIP_INDEX_URL") as caught:
        uv("venv")
    assert "secret" not in str(caught.value)


def test_pips_own_settings_are_honoured(tmp_path: Path) -> None:
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\nindex-url = http://file/simple\ncert = /a.pem\n")
    environ = {"HOME": str(tmp_path)}
    assert installer._pip_settings(environ)["index-url"] == "http://file/simple"
    environ["PIP_INDEX_URL"] = "http://variable/simple"
    settings = installer._pip_settings(environ)
    assert (settings["index-url"], settings["cert"]) == ("http://variable/simple", "/a.pem")


def test_the_commands_of_the_environment_come_first() -> None:
    environment = Environment(ROOT, Path("/env"), "")
    variables = environment.variables({"PATH": "/usr/bin", "PYTHONHOME": "/odd", "HOME": "/root"})
    assert variables["PATH"] == f"/env/bin{os.pathsep}/usr/bin"
    assert "PYTHONHOME" not in variables
    assert variables["PYSPARK_PYTHON"] == "/env/bin/python"
