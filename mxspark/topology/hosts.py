"""Which workers share a host, and who speaks for them."""

from __future__ import annotations

Groups = tuple[tuple[int, ...], ...]
#: Tests make one machine look like so many hosts; workers of different ones then meet through the servers alone.
PRETENDED = "MXSPARK_PRETENDED_HOSTS"


def groups(workers: int, hosts: int) -> Groups:
    """Return the ranks of each host, consecutive and as even as can be; the first of each host leads it.

    >>> groups(5, 2)
    ((0, 1, 2), (3, 4))
    """
    if not 1 <= hosts <= workers:
        raise ValueError(f"{workers} workers cannot be on {hosts} hosts, with one on each at least")
    few, more = divmod(workers, hosts)
    ends = [host * few + min(host, more) for host in range(hosts + 1)]
    return tuple(tuple(range(ends[host], ends[host + 1])) for host in range(hosts))
