"""What the parameters of a function of the user's say they are: arrays go by place, and nothing shows a wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

OUTPUT = "output"
LABEL = "label"
#: Words between underscores, or whole names.
_WORDS = {
    OUTPUT: frozenset(
        {"output", "outputs", "out", "pred", "preds", "predicted", "prediction", "predictions", "hat", "yhat", "ypred"}
        | {"logit", "logits", "score", "scores", "prob", "probs", "probability", "probabilities"}
    ),
    LABEL: frozenset({"label", "labels", "target", "targets", "true", "ytrue", "truth", "gt", "actual", "expected"}),
}
_EPOCHS = frozenset({"epoch", "epochs"})
#: What is called with an output and labels gets them in this order.
_FIRST = {"loss": OUTPUT, "metric": LABEL}
_GETS = {"loss": "the output first, then the labels", "metric": "the labels first, then the outputs"}


def swapped(kind: str, names: Sequence[str]) -> Optional[str]:
    """Return why the parameters of a loss or metric say the opposite of what it is called with; None if they do not.

    >>> print(swapped("loss", ["y_true", "y_pred"]))
    takes (y_true, y_pred), but a loss gets the output first, then the labels: write it with (y_pred, y_true)
    """
    first = _FIRST.get(kind)
    said = [_says(name) for name in names]
    if first is None or len(names) < 2 or said[0] in (None, first) or first not in said:
        return None
    right = sorted(names, key=lambda name: _says(name) != first)  # those that say nothing stay among the others
    return f"takes ({', '.join(names)}), but a {kind} gets {_GETS[kind]}: write it with ({', '.join(right)})"


def counts_epochs(names: Sequence[str]) -> Optional[str]:
    """Return why the parameters of a schedule say that it counts epochs; None if they do not."""
    if not names or not _EPOCHS & _words(names[0]):
        return None
    return (
        f"takes {names[0]!r}, but a schedule gets the number of updates so far, counted from 1 over all epochs, not "
        "that of epochs: divide it by the steps of an epoch (rows / training.batch_size), and call it step"
    )


def _says(name: str) -> Optional[str]:
    if name.lower() == "y":
        return LABEL
    said = [kind for kind, words in _WORDS.items() if words & _words(name)]
    return said[0] if len(said) == 1 else None


def _words(name: str) -> frozenset[str]:
    return frozenset(name.lower().split("_"))
