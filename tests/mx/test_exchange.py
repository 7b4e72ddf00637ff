"""The exchange through real servers: broadcast, sums, means, agreement."""

from __future__ import annotations

import json

import pytest
from role_harness import Group


def talk(tmp_path, size, function="main", servers=1, hosts=None):
    with Group(size, tmp_path, servers=servers, entry=f"exchange_program:{function}", hosts=hosts) as group:
        for process in group.workers:
            process.wait(300)
        for process in group.others if function == "main" else ():
            process.wait(120)
    codes = [process.returncode for process in group.workers]
    said = [json.loads(log.read_text().strip().splitlines()[-1]) for log in group.logs]
    return said, codes, [process.returncode for process in group.others]


@pytest.mark.parametrize(
    ("size", "servers", "hosts"), [(1, 1, None), (3, 2, None), (1, 0, 1), (3, 0, 1), (3, 1, 1), (3, 1, 2), (3, 2, 3)]
)
def test_exchange(tmp_path, size, servers, hosts):
    """Through the servers (None), or inside so many pretended hosts first."""
    said, codes, others = talk(tmp_path, size, servers=servers, hosts=hosts)
    assert codes == [0] * size and others == [0] * (servers + 1 if servers else 0), "all roles leave in order"
    for one in said:
        assert one["sparse"] == (
            "the parameters sparse are sparse or have sparse gradients, which cannot be summed over workers; create "
            "their layers with sparse_grad=False"
        )
        assert one["broadcast"] == [10.0, 1.5, 1.0, 1.0], "rank 0's values, in every dtype"
        first = float(sum(2.0**rank for rank in range(size)))
        assert one["gradients"] == [[first], [0.5 * size], [float(sum(range(1, size + 1)))]]
        assert one["again"] == 2.0 * size
        assert one["mean"] == [sum(range(size)) / size]
        added = {1: [1e16, 1.0, 0.1], 3: [(1e16 + 1.0) - 1e16, (1.0 + 1e16) - 1e16, (0.1 + 0.2) + 0.3]}
        assert one["sum"] == added[size], "added in order of rank, bit for bit"
        assert one["long"] is True
        assert one["same"] == "nothing was raised"
        if size == 1:
            assert one["differ"] == "nothing was raised"
        else:
            words = "the ranks hold different parameters before the first step: rank 1 differ from rank 0"
            assert words in one["differ"]


def test_a_rank_other_than_ours_is_refused(tmp_path):
    said, codes, _ = talk(tmp_path, 2, "wrong_rank")
    assert codes == [3, 3]
    assert said == [f"ps-lite made this worker rank {rank} of 2, it must be rank {1 - rank} of 2" for rank in range(2)]
