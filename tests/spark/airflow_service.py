"""An Airflow of its own: its web server, its parser and its scheduler, which starts tasks on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from spark.drivers import wait_for

PINNED = "apache-airflow==3.3.2"  # its own environment: its dependencies are none of ours
SERVICES = ("api-server", "dag-processor", "scheduler")


class Airflow:
    """A running Airflow; a file put into `dags` is found within seconds."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.dags = folder, folder / "dags"
        self._url = f"http://127.0.0.1:{port}"
        self._token = ""

    def ask(self, path: str) -> dict[str, Any]:
        """Return what the REST interface answers, {} while it does not."""
        try:
            if not self._token:
                self._token = str(self._get("/auth/token", {})["access_token"])
            return self._get(path, {"Authorization": f"Bearer {self._token}"})
        except OSError:
            return {}

    def _get(self, path: str, headers: dict[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(self._url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))

    def run_state(self, dag: str) -> str:
        """Return the state of a DAG's only run, "" before there is one."""
        runs = self.ask(f"/api/v2/dags/{dag}/dagRuns").get("dag_runs") or [{}]
        return str(runs[0].get("state", ""))

    def logs(self) -> str:
        """Return the ends of all logs, of services and tasks."""
        paths = [path for path in self.folder.rglob("*.log") if path.is_file()]
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in paths)


@contextmanager
def airflow(folder: Path) -> Iterator[Airflow]:
    """Install Airflow and run it in a folder; end all its processes at the end."""
    python = folder / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=600)
    subprocess.run([python, "-m", "pip", "install", "--quiet", PINNED], check=True, timeout=1800)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    found = Airflow(folder, port)
    found.dags.mkdir()
    environment = {**os.environ, **_settings(folder, port), "PATH": f"{python.parent}:{os.environ['PATH']}"}
    program = str(python.with_name("airflow"))
    subprocess.run([program, "db", "migrate"], env=environment, check=True, timeout=600, capture_output=True)
    services = []
    try:
        for name in SERVICES:
            with open(folder / f"{name}.log", "wb") as log:
                services.append(
                    subprocess.Popen([program, name], env=environment, stdout=log, stderr=log, start_new_session=True)
                )
        wait_for("Airflow's REST interface", lambda: found.ask("/api/v2/dags"))
        yield found
    finally:
        _end(services, folder)


def _settings(folder: Path, port: int) -> dict[str, str]:
    keys = {
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_FOLDER": str(folder / "dags"),
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "2",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "API__HOST": "127.0.0.1",
        "API__PORT": str(port),
        "API__WORKERS": "1",
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        # how long Airflow waits for a killed runner's task to let go of its log
        "WORKERS__SOCKET_CLEANUP_TIMEOUT": "10",
    }
    return {"AIRFLOW_HOME": str(folder), **{f"AIRFLOW__{key}": value for key, value in keys.items()}}


def _end(services: list[subprocess.Popen[bytes]], folder: Path) -> None:
    """Kill the services and what descends from them, and what has this Airflow's home in its environment."""
    family = [child for service in services for child in psutil.Process(service.pid).children(recursive=True)]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # services overwrite their environment with a title
            if process.environ().get("AIRFLOW_HOME") == str(folder):
                family.append(process)
    for process in (*services, *family):
        with contextlib.suppress(psutil.Error):
            process.kill()
    for service in services:
        service.wait(10)
