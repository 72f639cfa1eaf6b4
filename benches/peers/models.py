"""The peers, set as one would set them without tuning. Each takes the table as it is, with text and missing values.

No class weights and no resampling anywhere: both spoil the probabilities, which are half of what is compared.
"""

import time

import numpy as np
from interpret.glassbox import ExplainableBoostingClassifier
from lightgbm import LGBMClassifier
from pandas.api.types import is_numeric_dtype
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

THREADS = 2
SEED = 7
PREDICTED_ROWS = 100_000


def logistic_regression(features):
    # The only peer that cannot take a missing number.
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    return one_hot(features, LogisticRegression(C=0.1, max_iter=1000), numbers)


def random_forest(features):
    return one_hot(features, RandomForestClassifier(n_estimators=500, min_samples_leaf=1, n_jobs=THREADS, random_state=SEED))


def histogram_boosting(features):
    model = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=150, max_leaf_nodes=15, early_stopping=False, random_state=SEED
    )
    return one_hot(features, model)


def lightgbm(features):
    model = LGBMClassifier(
        n_estimators=200,
        learning_rate=0.05,
        num_leaves=15,
        subsample=0.8,
        subsample_freq=1,
        colsample_bytree=0.8,
        num_threads=THREADS,
        random_state=SEED,
        verbosity=-1,
    )
    # As plain numbers: it would complain at each prediction that the encoded columns have lost their names.
    return one_hot(features, model)


def explainable_boosting(features, pairs):
    return ExplainableBoostingClassifier(
        # Told what is text: left alone, it takes a number of few values for a category.
        feature_types=["nominal" if is_text(features[column]) else "continuous" for column in features],
        interactions=pairs,
        outer_bags=4,
        n_jobs=THREADS,
        random_state=SEED,
    )


FOREST = "scikit-learn random forest"
LIGHTGBM = "LightGBM"
PEERS = {
    "scikit-learn logistic regression": logistic_regression,
    FOREST: random_forest,
    "scikit-learn histogram boosting": histogram_boosting,
    LIGHTGBM: lightgbm,
    "InterpretML EBM, no pairs": lambda features: explainable_boosting(features, pairs=0),
    "InterpretML EBM, 10 pairs": lambda features: explainable_boosting(features, pairs=10),
}


def is_text(column):
    return not is_numeric_dtype(column)


def one_hot(features, model, numbers="passthrough"):
    """The model behind a column for each value of each text column; numbers go through `numbers`."""
    text = [column for column in features if is_text(features[column])]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return Pipeline([("columns", ColumnTransformer([("text", encoder, text)], remainder=numbers)), ("model", model)])


def fit(name, features, label):
    """The trained peer and the seconds it took, from the raw table: encoding and binning count, as they do in Tenure."""
    model = PEERS[name](features)
    start = time.perf_counter()
    model.fit(features, label)
    return model, time.perf_counter() - start


def probability(model, features):
    return model.predict_proba(features)[:, 1]


def predict_seconds(model, features):
    """Seconds to predict 100,000 rows at once. A small table is repeated: scaled up, a call's own cost would count many times."""
    rows = np.random.default_rng(SEED).integers(0, len(features), PREDICTED_ROWS)
    many = features.iloc[rows]
    start = time.perf_counter()
    probability(model, many)
    return time.perf_counter() - start


def warm_up(names, features, label):
    """A first fit loads libraries and starts workers, which is nobody's training time."""
    for name in names:
        fit(name, features, label)
