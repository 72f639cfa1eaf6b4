"""The data sets: where they come from, how they are read, and in which folds they are cut."""

from dataclasses import dataclass

import numpy as np
import pandas
from sklearn.model_selection import StratifiedKFold

REPEATS = 5
FOLDS = 5
FIRST_FOLD_SEED = 1000

SPEED_COLUMNS = 60
SPEED_POSITIVES = 0.10
SPEED_MISSING = 0.05
SPEED_FORM_SEED = 60


@dataclass
class Table:
    """Features as they stand in the file, the label as 0 and 1, and the true probability where a generator tells it."""

    features: pandas.DataFrame
    label: np.ndarray
    truth: np.ndarray | None = None

    def rows(self, chosen):
        return self.features.iloc[chosen], self.label[chosen]


def read(path, label, positive="1", exclude=(), truth=None):
    # Only an empty field is missing: a department may well be called "None".
    frame = pandas.read_csv(path, encoding="utf-8-sig", keep_default_na=False, na_values=[""])
    features = frame.drop(columns=[label, *exclude, *([truth] if truth else [])])
    return Table(
        features=features,
        label=(frame[label].astype(str) == positive).to_numpy(dtype=int),
        truth=frame[truth].to_numpy(dtype=float) if truth else None,
    )


def write_folds(path, label):
    """Stratified folds in the format of `tenure evaluate --folds-out`, for a run without Tenure."""
    lines = []
    for repeat in range(REPEATS):
        split = StratifiedKFold(FOLDS, shuffle=True, random_state=FIRST_FOLD_SEED + repeat)
        for fold, (_, test) in enumerate(split.split(np.zeros(len(label)), label)):
            lines += [{"repeat": repeat, "row": row, "fold": fold} for row in test]
    pandas.DataFrame(lines).sort_values(["repeat", "row"]).to_csv(path, index=False)


def read_folds(path):
    """Per repeat, a list of (training rows, test rows). A row that the file does not name is in neither: Tenure left it out."""
    lines = pandas.read_csv(path)
    if lines.duplicated(["repeat", "row"]).any():
        raise ValueError(f"{path}: a row is in two folds of one repeat")
    repeats = []
    for _, repeat in lines.groupby("repeat"):
        rows, fold = repeat["row"].to_numpy(), repeat["fold"].to_numpy()
        repeats.append([(rows[fold != one], rows[fold == one]) for one in np.unique(fold)])
    return repeats


def draw_speed_table(path, rows, seed):
    """Writes a table of numbers for the measurement of training time.

    A third of the columns matters by itself, along a curve; twelve pairs matter together; the rest is noise. So an additive model
    has to find shapes, a model with pairs has something to gain, and each column costs what a real one would.
    """
    # What matters, and how much, is the same in each table: training and test differ only in the rows drawn.
    form = np.random.default_rng(SPEED_FORM_SEED)
    curves = form.normal(0, 0.35, (SPEED_COLUMNS // 3, 2))
    pairs = form.choice(SPEED_COLUMNS, (12, 2), replace=False)
    strengths = form.normal(0, 0.4, len(pairs))

    draw = np.random.default_rng(seed)
    values = draw.normal(size=(rows, SPEED_COLUMNS))
    # Some columns are counts, as many of a real table's are.
    values[:, ::4] = np.floor(np.exp(values[:, ::4]) * 2)
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    alone = standard[:, : len(curves)]
    log_odds = np.sin(2 * alone) @ curves[:, 0] + alone @ curves[:, 1]
    log_odds += np.tanh(standard[:, pairs[:, 0]] * standard[:, pairs[:, 1]]) @ strengths
    truth = 1 / (1 + np.exp(-(log_odds + intercept(log_odds, SPEED_POSITIVES))))

    values[draw.random(values.shape) < SPEED_MISSING] = np.nan
    frame = pandas.DataFrame(values, columns=[f"x{number:02}" for number in range(SPEED_COLUMNS)])
    frame["label"] = (draw.random(rows) < truth).astype(int)
    frame.to_csv(path, index=False, float_format="%.5g")


def intercept(log_odds, share):
    """What to add to all log-odds so that the mean probability is `share`, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        if np.mean(1 / (1 + np.exp(-(log_odds + middle)))) < share:
            low = middle
        else:
            high = middle
    return low
