"""The definitions of scikit-learn, written out row by row: slow and obvious."""

from __future__ import annotations

import math


def _pairs(y, score, w):
    return list(zip(map(int, y), map(float, score), map(float, w)))


def auc(y, score, w):
    """The share of pairs of a positive and a negative that are ranked right; half of those that are even."""
    rows = _pairs(y, score, w)
    right = every = 0.0
    for is_one, high, weight in rows:
        for is_other, low, other in rows:
            if is_one and not is_other:
                every += weight * other
                right += weight * other * ((high > low) + 0.5 * (high == low))
    return right / every if every else math.nan


def average_precision(y, score, w):
    """Sum of precision times what it adds to the recall, for each score as a threshold, the highest first."""
    rows = _pairs(y, score, w)
    positives = sum(weight for is_one, _, weight in rows if is_one)
    area = before = 0.0
    for threshold in sorted({value for _, value, _ in rows}, reverse=True):
        found = sum(weight for _, value, weight in rows if value >= threshold)
        right = sum(weight for is_one, value, weight in rows if value >= threshold and is_one)
        recall = right / positives
        area += (recall - before) * (right / found if found else 0.0)
        before = recall
    return area


def counts(y, guess, w, positive=1):
    """True positives, false positives, false negatives, true negatives."""
    places = {(True, True): 0, (False, True): 1, (True, False): 2, (False, False): 3}
    found = [0.0] * 4
    for actual, guessed, weight in zip(y, guess, w):
        found[places[bool(actual == positive), bool(guessed == positive)]] += float(weight)
    return found


def score(name, tp, fp, fn):
    above, below = {"precision": (tp, tp + fp), "recall": (tp, tp + fn), "f1": (2 * tp, 2 * tp + fp + fn)}[name]
    return above / below if below else 0.0


def averaged(name, average, y, guess, w):
    classes = sorted(set(map(int, y)) | set(map(int, guess)))
    of_each = [counts(y, guess, w, each)[:3] for each in classes]
    if average == "micro":
        return score(name, *map(sum, zip(*of_each)))
    values = [score(name, *each) for each in of_each]
    shares = [tp + fn if average == "weighted" else 1.0 for tp, _, fn in of_each]
    return sum(value * share for value, share in zip(values, shares)) / sum(shares)


def r2(y, p, w):
    mean = math.fsum(a * b for a, b in zip(map(float, y), w)) / math.fsum(w)
    errors = math.fsum(c * (float(a) - float(b)) ** 2 for a, b, c in zip(y, p, w))
    spread = math.fsum(c * (float(a) - mean) ** 2 for a, c in zip(y, w))
    return 1 - errors / spread


def pearson(y, p, w):
    total = math.fsum(w)
    means = [math.fsum(float(a) * b for a, b in zip(each, w)) / total for each in (y, p)]
    apart = [[float(a) - mean for a in each] for each, mean in zip((y, p), means)]
    product = math.fsum(a * b * c for a, b, c in zip(*apart, w))
    spreads = [math.fsum(a * a * c for a, c in zip(each, w)) for each in apart]
    return product / math.sqrt(spreads[0] * spreads[1])


def log_loss(y, probabilities, w):
    """Of probabilities (n,) of class 1, or (n, classes)."""
    total = 0.0
    for label, row, weight in zip(map(int, y), probabilities, map(float, w)):
        one = (1 - float(row), float(row)) if getattr(row, "ndim", 0) == 0 else row
        total -= weight * math.log(one[label])
    return total / sum(map(float, w))
