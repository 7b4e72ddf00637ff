"""What the launcher asks of Hadoop before and after a run, through a JVM of its own: files, and YARN's applications."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr
from typing import Any, Optional

from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark.java_gateway import launch_gateway

from mxspark.errors import ClusterError
from mxspark.spark.session.gateway import starting_jvm

READABLE, FOLDER = 0o644, 0o755
UPLOAD_S, FINISH_S = 3600.0, 120.0
YARN_S = 60.0
"""Longest wait for a ResourceManager that refuses to be asked, as one that starts again does; YARN's own is 15 min."""
_IMPATIENT = {
    "ipc.client.connect.max.retries": 0,  # those of yarn.resourcemanager.connect come on top
    "yarn.resourcemanager.connect.max-wait.ms": int(YARN_S * 1000),
    "yarn.resourcemanager.connect.retry-interval.ms": 1000,
}


class Unreachable(ClusterError):
    """HDFS or YARN did not do what was asked."""

    remedy = "see whether HDFS and YARN are up and are those that HADOOP_CONF_DIR names, then start again"


class HadoopClient:
    """Hadoop's default filesystem and YARN, as the user of this process."""

    def __init__(self, gateway: Any) -> None:
        self._gateway, self._jvm = gateway, gateway.jvm
        self._conf = self._jvm.org.apache.hadoop.yarn.conf.YarnConfiguration()
        self._yarn_conf = self._jvm.org.apache.hadoop.yarn.conf.YarnConfiguration(self._conf)
        for key, most in _IMPATIENT.items():
            self._yarn_conf.setLong(key, min(most, self._conf.getLong(key, most)))
        with _said("fs.defaultFS cannot be reached"):
            self._fs = self._jvm.org.apache.hadoop.fs.FileSystem.get(self._conf)
            self.home = str(self._fs.getHomeDirectory().toString())

    def holds(self, local: str, path: str) -> bool:
        """Tell whether a file has been put there, whole."""
        target = self._jvm.org.apache.hadoop.fs.Path(path)
        with _said(f"{path} cannot be looked for"):
            return bool(self._fs.exists(target) and self._fs.getFileStatus(target).getLen() == os.path.getsize(local))

    def upload(self, local: str, path: str) -> None:
        """Put a file where everybody may read it; a half-written one is never seen."""
        path_of, permission = (
            self._jvm.org.apache.hadoop.fs.Path,
            self._jvm.org.apache.hadoop.fs.permission.FsPermission,
        )
        target = path_of(path)
        with _said(f"{local} cannot be put to {path}"):
            self._fs.mkdirs(target.getParent())
            self._fs.setPermission(target.getParent(), permission(FOLDER))
            part = path_of(f"{path}.{os.getpid()}.part")
            self._fs.copyFromLocalFile(False, True, path_of(f"file://{os.path.abspath(local)}"), part)
            self._fs.setPermission(part, permission(READABLE))
            if not self._fs.rename(part, target):  # another start was quicker, or left half a one
                self._fs.delete(target, False)
                self._fs.rename(part, target)

    def read(self, path: str, limit: int = 2**24) -> Optional[bytes]:
        """Return what a file holds, None if there is none."""
        target = self._jvm.org.apache.hadoop.fs.Path(path)
        with _said(f"{path} cannot be read"):
            if not self._fs.exists(target):
                return None
            stream = self._fs.open(target)
            try:
                return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))[:limit]
            finally:
                stream.close()

    def remove(self, path: str) -> None:
        """Remove a file that may be there."""
        with _said(f"{path} cannot be removed"):
            self._fs.delete(self._jvm.org.apache.hadoop.fs.Path(path), False)

    def applications(self, tag: str) -> list[tuple[str, str, str]]:
        """Return id, state and what YARN says of the applications with a tag."""
        with self._yarn() as client:
            request = self._jvm.org.apache.hadoop.yarn.api.protocolrecords.GetApplicationsRequest.newInstance()
            request.setApplicationTags(self._jvm.java.util.Collections.singleton(tag))
            return [
                (
                    str(report.getApplicationId().toString()),
                    str(report.getYarnApplicationState().toString()),
                    str(report.getDiagnostics() or "").strip(),
                )
                for report in client.getApplications(request)
            ]

    def find_yarn(self) -> None:
        """Raise if YARN does not answer; spark-submit would ask it for a quarter of an hour, without a word."""
        with self._yarn() as client:
            client.getYarnClusterMetrics()

    def kill(self, tag: str) -> list[str]:
        """End the applications with a tag that still run, and return their ids."""
        running = [name for name, state, _ in self.applications(tag) if state not in ("FINISHED", "FAILED", "KILLED")]
        with self._yarn() as client:
            for name in running:
                client.killApplication(self._jvm.org.apache.hadoop.yarn.api.records.ApplicationId.fromString(name))
        return running

    @contextlib.contextmanager
    def _yarn(self) -> Iterator[Any]:
        client = self._jvm.org.apache.hadoop.yarn.client.api.YarnClient.createYarnClient()
        client.init(self._yarn_conf)
        client.start()  # it ends with the JVM: to stop it would wait for a call that is not answered
        with _said("YARN's ResourceManager cannot be asked"):
            yield client


@contextlib.contextmanager
def connect(variables: Mapping[str, str], limit_s: float = UPLOAD_S) -> Iterator[HadoopClient]:
    """Start a JVM with these environment variables, and end it afterwards.

    After `limit_s` it is killed, and what waits for an answer of it fails: Hadoop asks daemons that are gone for hours.
    """
    before = dict(os.environ)
    os.environ.update(variables)
    os.environ.pop("PYSPARK_SUBMIT_ARGS", None)
    try:
        with starting_jvm(), redirect_stderr(io.StringIO()):
            gateway: Any = launch_gateway()  # type: ignore[no-untyped-call]
    finally:
        os.environ.clear()
        os.environ.update(before)
    limit = threading.Timer(limit_s, gateway.proc.kill)
    limit.daemon = True
    limit.start()
    try:
        yield HadoopClient(gateway)
    finally:
        limit.cancel()
        gateway.proc.kill()  # it has nothing to put in order, and may be in the middle of a call
        gateway.proc.stdin.close()
        gateway.proc.wait()


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    try:
        yield
    except Py4JJavaError as error:
        raise Unreachable(f"{what}: {error.java_exception.toString()}") from error
    except (Py4JError, Py4JNetworkError, ConnectionError) as error:
        raise Unreachable(f"{what}: {error}") from error
