"""A Postgres of its own for the measurement: the settings of the embedded one, on a free port of loopback, in a temporary folder."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

USER = "owner"
# As in infra/src/embedded/postgres.rs: durable, so an append that is acknowledged is on disk.
SETTINGS = [
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "max_connections=80",
    f"shared_buffers={min(max(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2**23, 128), 4096)}MB",
    "wal_compression=on",
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
    "checkpoint_completion_target=0.9",
    "autovacuum_naptime=30s",
    "jit=off",
    "random_page_cost=1.1",
    "client_connection_check_interval=5s",
    "log_min_messages=warning",
    "log_min_error_statement=panic",
    "unix_socket_directories=",
]
START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 30


class Server:
    """Runs as long as the `with` block that it is made in."""

    def __enter__(self):
        self.programs = find_programs()
        self.folder = Path(tempfile.mkdtemp(prefix="tenure-log-peers-", dir="/tmp"))
        self.process = None
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def start(self):
        self.password, self.port = secrets.token_hex(16), free_port()
        password_file = self.folder / "password"
        password_file.touch(0o600)
        password_file.write_text(self.password)
        self.folder.chmod(0o711)
        self.unprivileged = {}
        if os.geteuid() == 0:
            user = unprivileged_user()
            self.unprivileged = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            for path in (self.folder, password_file):
                os.chown(path, user.pw_uid, user.pw_gid)
        data = self.folder / "data"
        initdb = [self.programs / "initdb", "-D", data, "-U", USER, "-E", "UTF8", "--locale=C", "-A", "scram-sha-256"]
        initdb += ["--data-checksums", "--no-sync", "--pwfile", password_file]
        subprocess.run(initdb, cwd=self.folder, stdout=subprocess.DEVNULL, check=True, **self.unprivileged)
        command = [self.programs / "postgres", "-D", data, "-p", str(self.port), "-h", "127.0.0.1"]
        for setting in SETTINGS:
            command += ["-c", setting]
        # A session of its own: Ctrl-C is for this program, which then ends the server in order.
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self.unprivileged
            )
        self.wait_for_answer()

    def wait_for_answer(self):
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while subprocess.run(self.psql("postgres", "select 1"), env=self.environment(), capture_output=True).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Postgres does not start: " + (self.folder / "log").read_text(errors="replace"))
            time.sleep(0.05)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database):
        return f"postgres://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def environment(self):
        """For programs that are libpq's: psql, and scripts that call it."""
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": USER, "PGPASSWORD": self.password, "PATH": path}

    def psql(self, database, statement):
        return [self.programs / "psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement]

    def ask(self, database, statement):
        ran = subprocess.run(self.psql(database, statement), env=self.environment(), stdout=subprocess.PIPE, text=True, check=True)
        return ran.stdout.strip()

    def version(self):
        return self.ask("postgres", "show server_version").split()[0]


def find_programs():
    """The newest of the machine's, in the order of infra/src/embedded/postgres.rs."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    on_path = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    for folder in packaged + on_path:
        if all((folder / program).exists() for program in ("postgres", "initdb", "psql")):
            return folder
    raise SystemExit("There is no Postgres on this machine (Debian: apt-get install postgresql).")


def unprivileged_user():
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise SystemExit("Postgres does not run as root, and there is neither a user postgres nor nobody.")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
