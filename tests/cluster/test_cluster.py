"""The test cluster itself: what the other tests rely on."""

from __future__ import annotations

import json

from hdfs import Hdfs
from yarn import NODES, Yarn


def test_two_nodes_with_memory_are_up(yarn: Yarn) -> None:
    nodes = yarn.ask("nodes")["nodes"]["node"]
    assert sorted(node["nodeHostName"] for node in nodes) == sorted(NODES)
    assert all(node["state"] == "RUNNING" for node in nodes)


def test_a_killed_node_is_lost_and_comes_back(yarn: Yarn) -> None:
    yarn.kill("nodemanager1")
    yarn.wait(nodes=1)
    assert {node["state"] for node in yarn.ask("nodes")["nodes"]["node"]} == {"RUNNING", "LOST"}
    yarn.start_node(1)
    yarn.wait()


def test_homes_belong_to_their_users(hdfs: Hdfs, yarn: Yarn) -> None:
    status = json.loads(hdfs.web("GET", "/user/ann", "GETFILESTATUS"))["FileStatus"]
    assert (status["owner"], status["permission"]) == ("ann", "755")
