"""Programs that this run starts, and that do not outlive it."""

import os
import signal
import subprocess
import sys
import time

END_TIMEOUT_SECONDS = 15


class Missing(Exception):
    """Something cannot be installed or measured here. The rest is, and the table says why."""


def run(command, timeout_seconds=None, **options):
    """The standard output of a command. It has a process group of its own, so that an interruption ends what it started, too."""
    words = [str(word) for word in command]
    try:
        child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, process_group=0, **options)
    except FileNotFoundError as error:
        raise Missing(f"there is no `{words[0]}`") from error
    try:
        output, _ = child.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        end(child)
        raise Missing(f"`{os.path.basename(words[0])}` did not end within {timeout_seconds} s") from error
    except BaseException:
        end(child)
        raise
    if child.returncode:
        raise Missing(f"`{os.path.basename(words[0])} {' '.join(words[1:3])}` ended with {child.returncode}")
    return output


def end(child):
    """Ends all of its group: in order, as a Postgres among them understands it, and what is still there later by force."""
    deadline = time.monotonic() + END_TIMEOUT_SECONDS
    try:
        os.killpg(child.pid, signal.SIGINT)
        while time.monotonic() < deadline:
            child.poll()
            os.killpg(child.pid, 0)
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nobody is left
    child.wait()


def exit_when_terminated():
    """So that what a `with` block ends is ended then, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
