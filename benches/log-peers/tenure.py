"""Tenure's own rows: the repository's benchmarks of its log, and what of them belongs into this table."""

import json
import subprocess
from pathlib import Path

from children import Missing, run

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ["cargo", "bench", "--locked", "--bench", "spine", "--", "log", "replay", "--json"]
# Names of rows in benches/spine.
FIGURES = {
    "one_writer": "durable appends, 1 writer",
    "many_writers": "durable appends, 64 writers",
    "replayed": "reading the log",
}


def measure(recorded=None):
    """Runs the benchmarks, or reads what `COMMAND` printed before."""
    return row(recorded.read_text() if recorded else run(COMMAND, cwd=ROOT, stdin=subprocess.DEVNULL))


def row(text):
    try:
        figures = {row["name"]: row["figure"] for row in json.loads(text)}
        found = {key: figures[name] for key, name in FIGURES.items()}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise Missing(f"the benchmarks of the spine do not print what is expected: {error!r}") from error
    return {
        "name": "**Tenure**",
        "version": version(),
        **found,
        "append": "with the expected version; nothing is loaded; who waits at the same time shares a transaction; positions without gaps",
        "replay": "in pages of 5,000; JSON is neither opened nor decoded",
    }


def version():
    described = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return described.stdout.strip() or "this clone"
