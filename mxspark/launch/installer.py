"""The installer: uv, fetched once as a checked wheel, since the machine's Python may have neither pip nor venv."""

from __future__ import annotations

import configparser
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Optional
from urllib.parse import unquote, urljoin, urlsplit

from mxspark.errors import ClusterError, InternalError
from mxspark.system import prctl

INSTALL_S = 1800.0
"""Longest one installation may take."""
FETCH_S = 60.0
"""Longest an index may say nothing while uv itself is fetched."""
PYPI = "https://pypi.org/simple"


class Progress:
    """What the installation is doing: one line rewritten in a terminal, plain lines elsewhere."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._terminal = sys.stderr.isatty()
        self._start = time.monotonic()
        self._phase = ""

    def phase(self, text: str) -> None:
        """Show what has begun."""
        self._phase = text
        self.tick(new=True)

    def tick(self, new: bool = False) -> None:
        """Show the seconds passed."""
        line = f"mxspark: {self._title}: {self._phase} ({time.monotonic() - self._start:.0f} s)"
        if self._terminal:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            print(f"\r\x1b[K{line[: columns - 1]}", end="", file=sys.stderr, flush=True)
        elif new:
            print(line, file=sys.stderr, flush=True)

    def done(self) -> None:
        """Say how long it took."""
        self.phase("ready")
        if self._terminal:
            print(file=sys.stderr, flush=True)


class Uv:
    """The uv of a checkout.

    Parameters
    ----------
    store : Path
        Folder to keep it in.
    pin : str
        The line ``uv==VERSION --hash=sha256:HEX`` of ``conf/locks/uv.txt``.
    environ : Mapping of str to str
        Environment variables: index, proxies and certificates as pip and uv know them.
    progress : Progress
        Told what happens.
    """

    def __init__(self, store: Path, pin: str, environ: Mapping[str, str], progress: Progress) -> None:
        found = re.fullmatch(r"uv==(\S+) --hash=sha256:([0-9a-f]{64})", pin.strip())
        if not found:
            raise InternalError(f"conf/locks/uv.txt reads {pin!r}; expected 'uv==VERSION --hash=sha256:HEX'")
        self._version, self._sha256 = found.groups()
        self._program = store / f"uv-{self._version}"
        self._environ = environ
        self._pip = _pip_settings(environ)
        self._progress = progress

    def __call__(self, *arguments: str) -> None:
        """Run uv with the arguments; its messages are shown as progress."""
        if not self._program.exists():
            self._progress.phase(f"fetching uv {self._version}")
            self._fetch()
        launcher = os.getpid()
        with subprocess.Popen(
            [str(self._program), *arguments],
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: prctl.die_with(launcher),
        ) as process:
            try:
                said, code = self._watch(process)
            finally:
                process.kill()
        if code:
            tail = "\n".join(said[-15:])
            raise ClusterError(
                f"installing packages failed: 'uv {' '.join(arguments[:2])}' ended with {code} and said\n{tail}\n"
                "check that the package index can be reached (PIP_INDEX_URL or UV_DEFAULT_INDEX names another one), "
                "then start again"
            )

    def _watch(self, process: subprocess.Popen[str]) -> tuple[list[str], int]:
        """Read the messages of a uv until it ends."""
        assert process.stderr is not None
        deadline = time.monotonic() + INSTALL_S
        said: list[str] = []
        while time.monotonic() < deadline:
            if not select.select([process.stderr], [], [], 1.0)[0]:
                self._progress.tick()
                continue
            line = process.stderr.readline()
            if not line:
                return said, process.wait(timeout=FETCH_S)
            said.append(line.rstrip())
            if re.match(r"\s*(Resolved|Prepared|Installed|Bytecode compiled|Building|Built)\b", line):
                self._progress.phase(line.strip())
        raise ClusterError(f"installing Python packages took longer than {INSTALL_S:.0f} s; start again")

    def _variables(self) -> dict[str, str]:
        """Environment variables of uv: the user's, and what pip was told that uv does not read."""
        variables = {k: v for k, v in self._environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
        temporary = self._program.with_name("tmp")  # uv leaves lock files in it
        temporary.mkdir(exist_ok=True)
        variables.update(UV_PYTHON_DOWNLOADS="never", UV_NO_PROGRESS="1", NO_COLOR="1", TMPDIR=str(temporary))
        if self._pip.get("index-url") and "UV_INDEX_URL" not in variables:
            variables.setdefault("UV_DEFAULT_INDEX", self._pip["index-url"])
        if self._pip.get("cert"):
            variables.setdefault("SSL_CERT_FILE", self._pip["cert"])
        if "UV_CACHE_DIR" not in variables and not _can_be_made(_usual_cache(variables)):
            variables["UV_CACHE_DIR"] = str(self._program.with_name("uv-cache"))
        return variables

    def _fetch(self) -> None:
        """Download the wheel from the index, check it and keep the program in it."""
        import hashlib
        import io
        import zipfile

        environ = self._environ
        index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or self._pip.get("index-url") or PYPI
        page_url = f"{index.rstrip('/')}/uv/"
        page = self._read(page_url).decode()
        name = rf"uv-{re.escape(self._version)}-py3-none-manylinux[^\"/#]*x86_64[^\"/#]*\.whl"
        link = re.search(rf'href="([^"]*{name})[#"]', page)
        if not link:
            raise ClusterError(
                f"{_without_secrets(page_url)} has no wheel of uv {self._version} for Linux x86-64; name another index "
                "in PIP_INDEX_URL"
            )
        wheel = self._read(urljoin(page_url, link[1]))
        found = hashlib.sha256(wheel).hexdigest()
        if found != self._sha256:
            raise ClusterError(
                f"the wheel of uv {self._version} on {_without_secrets(page_url)} is not the one of "
                f"conf/locks/uv.txt: its sha256 is {found}, expected {self._sha256}; check the index"
            )
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
            program = archive.read(f"uv-{self._version}.data/scripts/uv")
        part = self._program.with_suffix(".part")
        part.write_bytes(program)
        part.chmod(0o755)
        part.rename(self._program)

    def _read(self, url: str) -> bytes:
        """Read one address; a name and password in it become a header, which urllib does not do by itself."""
        import base64
        import ssl
        import urllib.request

        parts = urlsplit(url)
        request = urllib.request.Request(_without_secrets(url))
        request.add_header("Accept", "text/html, */*;q=0.1")
        if parts.username:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            request.add_header("Authorization", "Basic " + base64.b64encode(secret.encode()).decode())
        try:
            context = ssl.create_default_context(cafile=self._pip.get("cert"))
            with urllib.request.urlopen(request, timeout=FETCH_S, context=context) as answer:
                data: bytes = answer.read()
                return data
        except OSError as error:
            raise ClusterError(
                f"cannot read {request.full_url}: {error}; mxspark needs a package index once, to make its Python "
                "environment: check the network and proxy, or name an index in PIP_INDEX_URL"
            ) from error


def _usual_cache(environ: Mapping[str, str]) -> Path:
    """Return where uv keeps what it has downloaded unless it is told another place."""
    home = environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "uv"


def _can_be_made(folder: Path) -> bool:
    """Make a folder, and tell whether there is one now that can be written to; a home may be nobody's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Read ``index-url`` and ``cert`` as pip has them, from the environment or its configuration files."""
    home = Path(environ.get("HOME", "/"))
    config = configparser.ConfigParser(interpolation=None)
    files: list[Optional[str]] = [
        "/etc/pip.conf",
        str(home / ".pip/pip.conf"),
        str(home / ".config/pip/pip.conf"),
        environ.get("PIP_CONFIG_FILE"),
    ]
    config.read([file for file in files if file])
    settings = dict(config["global"]) if config.has_section("global") else {}
    for name in ("index-url", "cert"):
        value = environ.get("PIP_" + name.upper().replace("-", "_"))
        if value:
            settings[name] = value
    return settings
