"""How good a set of probabilities is. The peers are judged by these definitions, and Tenure judges its models by the same ones."""

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

CALIBRATION_BINS = 10
TOP_SHARE = 0.1


def of_fold(label, probability):
    """What is measured in each fold; the table shows mean and standard deviation over the folds."""
    return {
        "roc_auc": float(roc_auc_score(label, probability)),
        "pr_auc": float(average_precision_score(label, probability)),
        "brier": float(brier_score_loss(label, probability)),
        "lift_top_tenth": lift_in_top_tenth(label, probability),
    }


def of_test(label, probability, truth=None):
    """What is measured on one test table, and what only a generator that tells its true probabilities allows."""
    scores = of_fold(label, probability) | {
        "ece": calibration_error(label, probability),
        "observed_over_expected": float(label.sum() / probability.sum()),
    }
    if truth is not None:
        scores["regret"] = expected_roc_auc(truth, truth) - expected_roc_auc(probability, truth)
        scores["excess_brier"] = float(np.mean((probability - truth) ** 2))
    return scores


def lift_in_top_tenth(label, probability):
    """How much more frequent the positives are among the tenth with the highest scores."""
    count = max(1, round(len(label) * TOP_SHARE))
    top = np.argsort(-probability, kind="stable")[:count]
    return float(label[top].mean() / label.mean())


def calibration_error(label, probability):
    """The mean distance of predicted from observed frequency, over ten bins that hold equally many rows each."""
    order = np.argsort(probability, kind="stable")
    bins = np.array_split(order, CALIBRATION_BINS)
    distances = [abs(label[rows].mean() - probability[rows].mean()) * len(rows) for rows in bins if len(rows)]
    return float(sum(distances) / len(label))


def expected_roc_auc(score, truth):
    """The ROC-AUC to expect of an order of rows whose true probabilities are known: no draw of labels adds its noise.

    Row i is positive and row j negative with probability p_i (1 - p_j); the order is right if i has the higher score, half right if
    the scores are equal. With the truth itself as the score this is the best that any model can reach.
    """
    _, rank = np.unique(score, return_inverse=True)
    positive = np.bincount(rank, weights=truth)
    negative = np.bincount(rank, weights=1 - truth)
    negative_below = np.cumsum(negative) - negative
    right = np.sum(positive * (negative_below + negative / 2))
    return float(right / (truth.sum() * (1 - truth).sum()))
