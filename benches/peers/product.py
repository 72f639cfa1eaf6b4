"""Tenure's own command line: found or built, and asked for folds, figures and tables."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Missing(Exception):
    """Something that a measurement needs is not there. The rest is measured all the same, and the reason is printed."""


def find(build):
    """The binary that TENURE names, or else a release build of this clone."""
    named = os.environ.get("TENURE")
    if named:
        if not os.access(named, os.X_OK):
            raise Missing(f"TENURE names {named}, which cannot be run")
        return str(Path(named).resolve())
    if not build:
        raise Missing("TENURE names no binary")
    command = ["cargo", "build", "--release", "--locked", "--bin", "tenure", "--message-format", "json-render-diagnostics"]
    try:
        built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    except FileNotFoundError as error:
        raise Missing("there is no cargo to build it with") from error
    if built.returncode:
        raise Missing("it does not build")
    # Only cargo knows where it builds to.
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    return next(message["executable"] for message in reversed(messages) if message.get("executable"))


def evaluate(binary, table, label, positive=None, exclude=(), folds=None, test=None, truth=None, models=()):
    """The figures of Tenure's models: over folds, which are written to `folds`, or on the table `test`."""
    arguments = ["evaluate", "--table", table, "--label", label, "--json"]
    if positive:
        arguments += ["--positive", positive]
    if exclude:
        arguments += ["--exclude", ",".join(exclude)]
    if folds:
        arguments += ["--folds-out", folds]
    if test:
        arguments += ["--test", test]
    if truth:
        arguments += ["--truth", truth]
    if models:
        arguments += ["--models", ",".join(models)]
    answer = run(binary, arguments)
    try:
        return json.loads(answer)
    except json.JSONDecodeError as error:
        raise Missing(f"`tenure evaluate` did not answer in JSON: {error}") from error


def draw_static_table(binary, path, rows, seed, domain_features=False):
    derived = ["--domain-features"] if domain_features else []
    run(binary, ["synth", "--mode", "static", "--rows", rows, "--seed", seed, "--out", path, *derived])


def run(binary, arguments):
    words = [str(argument) for argument in arguments]
    print("tenure " + " ".join(words), file=sys.stderr)
    try:
        # What it tells on standard error goes to whoever waits for this.
        ran = subprocess.run([binary, *words], stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise Missing(f"{binary} cannot be run: {error}") from error
    if ran.returncode:
        raise Missing(f"`tenure {words[0]}` ended with {ran.returncode}, and told why on standard error")
    return ran.stdout
