"""Measures Tenure's models and their peers on the same rows, prints the tables, and says which targets are met."""

import argparse
import json
import os
import platform
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

import models
import product
import report
import scores
import tables
import targets

IBM_LEFT_OUT = ["EmployeeNumber"]
IBM_PROTECTED = ["Age", "Gender", "MaritalStatus"]

STATIC_TRAIN_ROWS = [1_000, 10_000, 100_000]
STATIC_TEST_ROWS = 30_000
STATIC_TRAIN_SEED = 11
STATIC_TEST_SEED = 12

SPEED_TRAIN_ROWS = 100_000
SPEED_TEST_ROWS = 30_000
SPEED_TRAIN_SEED = 21
SPEED_TEST_SEED = 22
# Forests take minutes on this table and say nothing about the target: neither side's is grown.
SPEED_LEFT_OUT = [models.FOREST]
SPEED_OURS = ["logistic", "additive", "additive-pairs", "boosted"]

# Raw columns as a source sends them, and with what somebody who knows the trade derives from them.
STATIC_KINDS = {"raw": False, "derived": True}
MEASUREMENTS = ["ibm", "static", "speed"]

# The load beside this run from which seconds are not to be believed.
BUSY = 0.5


def main():
    arguments = parse()
    hold_to_the_same_cores()
    silence()
    warn_of_neighbours()
    binary = find_product(arguments)
    measured, verdicts, whole = [], [], True
    with tempfile.TemporaryDirectory(prefix="tenure-peers-") as directory:
        for name in arguments.measurements or MEASUREMENTS:
            try:
                for one, reached in RUN[name](arguments, binary, Path(directory)):
                    report.print_table(one)
                    measured.append(one)
                    verdicts += reached
            except product.Missing as reason:
                print(f"\nNot measured: {name}, because {reason}.\n", flush=True)
                whole = False
    if not arguments.peers_only:
        report.print_verdicts(verdicts)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "tables": measured, "targets": verdicts}, indent=2) + "\n")
    if arguments.peers_only:
        return 0
    outcomes = {verdict["outcome"] for verdict in verdicts}
    if targets.MISSED in outcomes:
        return 1
    # What could not be measured was not shown to be good: that is no success to whoever called this.
    return 0 if whole and targets.NOT_MEASURED not in outcomes else 2


def parse():
    parser = argparse.ArgumentParser(prog="benches/peers/run", description=__doc__)
    parser.add_argument("measurements", nargs="*", metavar="MEASUREMENT", help="ibm, static, speed; all of them by default")
    parser.add_argument("--ibm", type=Path, default=(product.ROOT / "../shared/data/ibm-attrition.csv").resolve(), metavar="PATH")
    drawn = "has train-1000.csv and so on, and test.csv, already drawn"
    parser.add_argument("--static-tables", type=Path, metavar="DIRECTORY", help=drawn)
    parser.add_argument("--peers-only", action="store_true", help="without Tenure's models; there are no targets then")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write all figures to this file")
    arguments = parser.parse_args()
    for name in arguments.measurements:
        if name not in MEASUREMENTS:
            parser.error(f"there is no measurement called {name}")
    return arguments


def hold_to_the_same_cores():
    """Whatever this starts, Tenure and the peers' workers too, runs on the same two cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: models.THREADS])


def silence():
    """Two warnings come with each fit and say nothing here: a category that only the test rows have, a plot that is not drawn."""
    warnings.filterwarnings("ignore", message="Found unknown categories")
    warnings.filterwarnings("ignore", message="Missing values detected. Our visualizations")


def warn_of_neighbours():
    busy = os.getloadavg()[0]
    if busy > BUSY:
        print(f"\nOther programs keep {busy:.1f} cores busy: seconds are too high here, the other figures are right.\n", flush=True)


def find_product(arguments):
    try:
        return product.find(build=not arguments.peers_only)
    except product.Missing as reason:
        if not arguments.peers_only:
            print(f"\nTenure is not measured: {reason}. The peers are.\n", flush=True)
        return None


def measure_ibm(arguments, binary, directory):
    if not arguments.ibm.exists():
        raise product.Missing(f"there is no {arguments.ibm}; --ibm PATH says where it is")
    everything = over_folds("IBM attrition, all attributes", arguments, binary, directory, IBM_LEFT_OUT)
    yield everything, targets.of_ibm(everything)
    blind = "IBM attrition without age, gender and marital status"
    yield over_folds(blind, arguments, binary, directory, IBM_LEFT_OUT + IBM_PROTECTED), []


def measure_static(arguments, binary, directory):
    if arguments.static_tables:
        directory = arguments.static_tables
    elif binary is None:
        raise product.Missing("only Tenure draws its tables, and TENURE names no binary; --static-tables has them drawn already")
    else:
        for kind, derived in STATIC_KINDS.items():
            for rows in STATIC_TRAIN_ROWS:
                product.draw_static_table(binary, directory / f"{kind}-train-{rows}.csv", rows, STATIC_TRAIN_SEED, derived)
            product.draw_static_table(binary, directory / f"{kind}-test.csv", STATIC_TEST_ROWS, STATIC_TEST_SEED, derived)
    for kind, derived in STATIC_KINDS.items():
        for rows in STATIC_TRAIN_ROWS:
            title = f"Static generator, {kind} columns, {rows:,} rows to train on"
            train, test = directory / f"{kind}-train-{rows}.csv", directory / f"{kind}-test.csv"
            measured = on_test(title, arguments, binary, train, test, label="leaves", truth="true_probability")
            # The product derives its features itself: the targets are about those.
            yield measured, targets.of_static(measured) if derived else []


def measure_speed(arguments, binary, directory):
    train, test = directory / "speed-train.csv", directory / "speed-test.csv"
    tables.draw_speed_table(train, SPEED_TRAIN_ROWS, SPEED_TRAIN_SEED)
    tables.draw_speed_table(test, SPEED_TEST_ROWS, SPEED_TEST_SEED)
    title = f"Training time: {SPEED_TRAIN_ROWS:,} rows of {tables.SPEED_COLUMNS} numbers"
    measured = on_test(title, arguments, binary, train, test, label="label", ours=SPEED_OURS, without=SPEED_LEFT_OUT)
    yield measured, targets.of_speed(measured)


RUN = {"ibm": measure_ibm, "static": measure_static, "speed": measure_speed}


def over_folds(title, arguments, binary, directory, exclude):
    """Tenure cuts the folds, the peers follow. Without Tenure they are cut here."""
    table = tables.read(arguments.ibm, "Attrition", "Yes", exclude)
    folds = directory / "folds.csv"
    folds.unlink(missing_ok=True)
    asked = {"label": "Attrition", "positive": "Yes", "exclude": exclude, "folds": folds}
    answer = ask(arguments, binary, arguments.ibm, **asked)
    if not folds.exists():
        tables.write_folds(folds, table.label)
    repeats = tables.read_folds(folds)
    measured = begin(title, table, answer)
    models.warm_up(models.PEERS, *table.rows(np.concatenate(repeats[0][0])[:500]))
    for name in models.PEERS:
        print(f"{title}: {name}", file=sys.stderr)
        measured["models"].append(peer_over_folds(name, table, repeats))
    return measured


def peer_over_folds(name, table, repeats):
    of_folds, errors, seconds = [], [], []
    for repeat in repeats:
        predicted = np.full(len(table.label), np.nan)
        for train, test in repeat:
            model, fit_seconds = models.fit(name, *table.rows(train))
            predicted[test] = models.probability(model, table.features.iloc[test])
            of_folds.append(scores.of_fold(table.label[test], predicted[test]))
            seconds.append(fit_seconds)
        # One fold is too small to fill ten bins; the repeat as a whole is not.
        tested = ~np.isnan(predicted)
        errors.append(scores.calibration_error(table.label[tested], predicted[tested]))
    figures = {key: {"mean": mean_of(of_folds, key), "sd": deviation_of(of_folds, key)} for key in of_folds[0]}
    return peer(name, figures | {"ece": float(np.mean(errors))}, float(np.mean(seconds)), model, table)


def on_test(title, arguments, binary, train, test, label, truth=None, ours=(), without=()):
    """Tenure and the peers train on one table and are judged on another."""
    trained, tested = tables.read(train, label, truth=truth), tables.read(test, label, truth=truth)
    answer = ask(arguments, binary, train, label=label, test=test, truth=truth, models=ours)
    measured = begin(title, trained, answer) | {"test_rows": len(tested.label)}
    if truth:
        measured["optimum_auc"] = scores.expected_roc_auc(tested.truth, tested.truth)
        check_optimum(measured, answer)
    names = [name for name in models.PEERS if name not in without]
    models.warm_up(names, *trained.rows(np.arange(500)))
    for name in names:
        print(f"{title}: {name}", file=sys.stderr)
        model, seconds = models.fit(name, *trained.rows(slice(None)))
        figures = scores.of_test(tested.label, models.probability(model, tested.features), tested.truth)
        measured["models"].append(peer(name, figures, seconds, model, tested))
    return measured


def ask(arguments, binary, table, **asked):
    """Tenure's answer, or one that has no models and says why."""
    if arguments.peers_only or binary is None:
        return {"models": [], "warnings": []}
    try:
        return product.evaluate(binary, table, **asked)
    except product.Missing as reason:
        return {"models": [], "warnings": [f"Tenure is not measured here: {reason}."]}


def begin(title, table, answer):
    rows, positives = len(table.label), int(table.label.sum())
    measured = {"title": title, "rows": rows, "positives": positives, "warnings": list(answer.get("warnings", []))}
    if answer.get("positives", positives) != positives:
        measured["warnings"].append(f"Tenure counts {answer['positives']:,} positives, not {positives:,}: it left some out.")
    measured["models"] = [
        model | {"name": model["model"], "model": f"Tenure {model['model']}", "ours": True} for model in answer.get("models", [])
    ]
    return measured


def check_optimum(measured, answer):
    """Both sides compute the best reachable ROC-AUC. If they do not agree, they do not mean the same by regret."""
    theirs = answer.get("optimum_auc")
    if theirs is not None and abs(theirs - measured["optimum_auc"]) > 1e-4:
        measured["warnings"].append(f"Tenure takes {theirs:.4f} for the best: its regret is not comparable.")


def peer(name, figures, fit_seconds, model, table):
    predict_seconds = models.predict_seconds(model, table.features)
    seconds = {"fit_seconds": fit_seconds, "predict_seconds_per_100k": predict_seconds}
    return {"name": name, "model": name, "ours": False, **figures, **seconds}


def mean_of(of_folds, key):
    return float(np.mean([fold[key] for fold in of_folds]))


def deviation_of(of_folds, key):
    return float(np.std([fold[key] for fold in of_folds]))


def machine():
    packages = ["numpy", "pandas", "scikit-learn", "lightgbm", "interpret-core"]
    return {
        "processor": platform.machine(),
        "cores": models.THREADS,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


if __name__ == "__main__":
    sys.exit(main())
