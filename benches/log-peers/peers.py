"""The peers: how each is installed at its pinned version, and what it does when it appends and replays."""

import filecmp
import functools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from children import Missing, run

HERE = Path(__file__).resolve().parent
HOME = Path(os.environ.get("TENURE_LOG_PEERS_HOME") or Path.home() / ".cache/tenure/log-peers")
MESSAGE_DB = "1.3.1"
# Longer than any action takes on a slow machine.
MEASURE_TIMEOUT_SECONDS = 300
NO_INPUT = {"stdin": subprocess.DEVNULL}


@dataclass(frozen=True)
class Peer:
    name: str
    version: str
    # Returns the command that measures it; the actions are appended.
    install: callable
    # Makes a database of this name on the server.
    create: callable
    # Connections for the writers: the size with which it was quickest (README.md).
    connections: int
    # What differs, for the table.
    append: str
    replay: str


def python_environment():
    """Made anew only when a version changes. The list of versions is copied last: what broke off is not taken for whole."""
    environment, wanted = HOME / "environment", HERE / "requirements.txt"
    installed = environment / "requirements.txt"
    if not (installed.exists() and filecmp.cmp(wanted, installed, shallow=False)):
        tell(f"Installing eventsourcing into {environment}")
        shutil.rmtree(environment, ignore_errors=True)
        run([sys.executable, "-m", "venv", environment], **NO_INPUT)
        pip = [environment / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", wanted]
        run(pip, **NO_INPUT)
        shutil.copy(wanted, installed)
    return environment / "bin/python"


@functools.cache
def rust_program():
    """cargo knows by itself what is up to date."""
    target = HOME / "target"
    tell(f"Building the Rust peers into {target}")
    manifest = HERE / "rust/Cargo.toml"
    run(["cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", manifest, "--target-dir", target], **NO_INPUT)
    return target / "release/log-peers"


def message_db_scripts():
    """The folder with `install.sh`: the package is SQL and shell, and nothing of it runs in Node."""
    installed = HOME / f"message-db-{MESSAGE_DB}"
    if not installed.exists():
        tell(f"Fetching message-db into {installed}")
        HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=HOME) as folder:
            archive = run(["npm", "pack", "--silent", f"@eventide/message-db@{MESSAGE_DB}"], cwd=folder, **NO_INPUT).split()[-1]
            with tarfile.open(Path(folder) / archive) as packed:
                packed.extractall(folder, filter="data")
            (Path(folder) / "package").rename(installed)
    return installed / "database"


def create_empty(server, command, database):
    server.ask("postgres", f"create database {database}")
    measure(server, command, database, "prepare")


def create_message_db(server, command, database):
    run([message_db_scripts() / "install.sh"], env=server.environment() | {"DATABASE_NAME": database}, **NO_INPUT)


def measure(server, command, database, *action):
    """One line of JSON on what was seen."""
    return run([*command, *action], MEASURE_TIMEOUT_SECONDS, env=os.environ | {"DATABASE_URL": server.url(database)}, **NO_INPUT)


def tell(what):
    print(what, file=sys.stderr, flush=True)


def install_message_db():
    message_db_scripts()
    return [rust_program(), "message-db"]


PEERS = [
    Peer(
        name="eventsourcing (Python)",
        version="9.5.6",
        install=lambda: [python_environment(), HERE / "peer_eventsourcing.py"],
        create=create_empty,
        connections=8,
        append="loads the aggregate's events, then a transaction under an exclusive lock of the table, with NOTIFY; writers are threads of two processes",
        replay="the notification log in pages of 5,000, each decoded to an event object",
    ),
    Peer(
        name="message-db",
        version=MESSAGE_DB,
        install=install_message_db,
        create=create_message_db,
        connections=16,
        append="`write_message` with the expected version, a transaction under an advisory lock of the category; nothing is loaded; called by sqlx",
        replay="`get_category_messages` in pages of 5,000, JSON decoded",
    ),
    Peer(
        name="cqrs-es, postgres-es (Rust)",
        version="0.5.0",
        install=lambda: [rust_program(), "cqrs-es"],
        create=create_empty,
        connections=32,
        append="loads the aggregate's events, then a transaction; the log has no order across aggregates",
        replay="`replay_all`, by the aggregates' own sequence, JSON decoded",
    ),
    Peer(
        name="disintegrate (Rust)",
        version="4.0.0, disintegrate-postgres 4.0.1",
        install=lambda: [rust_program(), "disintegrate"],
        create=create_empty,
        connections=4,
        append="loads the events of the decision's query, then a serializable transaction, tried again on a conflict",
        replay="`stream` of all events, JSON decoded",
    ),
]
