"""Which workers share a host, and who speaks for them."""

from __future__ import annotations

from collections.abc import Sequence

Groups = tuple[tuple[int, ...], ...]
#: Values of ``transport.mode`` with which roles and rows can be on several hosts.
LINKED: frozenset[str] = frozenset()


def groups(identities: Sequence[str]) -> Groups:
    """Return the ranks of each host, in order of their first, which leads the host.

    Parameters
    ----------
    identities : sequence of str
        What the agent of each rank says of its host, see :func:`mxspark.topology.identity.host_identity`.

    Examples
    --------
    >>> groups(["a", "b", "a"])
    ((0, 2), (1,))
    """
    members: dict[str, list[int]] = {}
    for rank, identity in enumerate(identities):
        members.setdefault(identity, []).append(rank)
    return tuple(map(tuple, members.values()))


def must_share_one(mode: str) -> bool:
    """Tell whether every agent must be on the driver's host: in each mode for whose traffic there is no link."""
    return mode not in LINKED
