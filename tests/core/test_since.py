"""What has changed since the checkpoint that a run goes on from."""

from __future__ import annotations

from mxspark.spark.run.since import Since

LINE = "the network's weight.lr_mult: not set -> 0.5"


def test_factors_are_compared_once_they_are_known_and_told_once() -> None:
    before = Since({"training.loss": "l2"})
    before.learn({})
    since = Since({"training.loss": "l2"})
    since.resume(before.meta(None))
    assert since.changes() == []
    assert since.learn({"the network's weight.lr_mult": "0.5"}) == [LINE] == since.changes()
    assert since.learn({"the network's weight.lr_mult": "0.5"}) == [], "of another attempt of this run"


def test_checkpoints_that_do_not_tell_are_accepted() -> None:
    unknown = Since({"training.loss": "l2"})
    for meta in ({}, unknown.meta(None)):
        since = Since({"training.loss": "l1"})
        since.resume(meta)
        assert since.learn({"the network's weight.lr_mult": "0.5"}) == []
        assert since.changes() == (["training.loss: l2 -> l1"] if meta else [])
