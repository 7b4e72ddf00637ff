"""Where a job dir lies: the seam over filesystems (`base`), and which of them a path is on."""

from __future__ import annotations

from typing import Callable, Optional

from mxspark.errors import JobDirError
from mxspark.storage.base import Storage, scheme_of
from mxspark.storage.local import LocalStorage

_AWS_LIKE = ("s3", "s3a", "s3n", "bos", "cos", "cosn", "ks3", "obs", "oci", "oss", "swift", "tos")


_OBJECT_STORES = frozenset((*_AWS_LIKE, "abfs", "abfss", "adl", "gs", "wasb", "wasbs"))


def open_storage(job_dir: str, hadoop: Optional[Callable[[], Storage]] = None, local_run: bool = True) -> Storage:
    """Return the storage that `job_dir` lies on.

    Parameters
    ----------
    job_dir : str
        Any path or URI.
    hadoop : callable, optional
        Makes the storage of the driver's Hadoop; called for every scheme but ``file``.
    local_run : bool
        Whether a path without a scheme is of this machine; on a cluster it is of Hadoop's ``fs.defaultFS``.

    Raises
    ------
    JobDirError
        If the scheme is an object store's, or needs a Spark session and there is none.
    """
    if not job_dir:
        raise JobDirError("job.dir is empty; set it to a folder, such as runs/digits or hdfs:///user/me/digits")
    scheme = scheme_of(job_dir)
    if scheme in _OBJECT_STORES:
        raise JobDirError(
            f"job.dir {job_dir} is on the object store {scheme!r}, which renames a folder file by file: a reader could "
            "see half a checkpoint, and two runs could mix theirs. Set job.dir to a folder on hdfs:// or a local disk; "
            "data.path may stay where it is"
        )
    if scheme == "file" or (scheme is None and local_run):
        return LocalStorage()
    if hadoop is None:
        raise JobDirError(
            f"job.dir {job_dir} needs Hadoop, and there is no Spark session to reach it through; start one"
        )
    return hadoop()
