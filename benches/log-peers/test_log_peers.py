"""What of this can be wrong without a measurement: `python3 -m unittest discover -s benches/log-peers`."""

import json
import os
import signal
import subprocess
import sys
import unittest

import report
import tenure
from children import Missing, run

# As benches/spine/report.rs writes it.
SPINE = [
    {"name": "durable appends, 1 writer", "figure": 1000.0, "unit": "events/s", "target": "", "peer": None, "verdict": "-"},
    {"name": "durable appends, 64 writers", "figure": 20000.0, "unit": "events/s", "target": ">= 8,000", "verdict": "pass"},
    {"name": "durable appends, 256 writers", "figure": 35000.0, "unit": "events/s"},
    {"name": "  64 writers, against batches of 64", "figure": 20000.0, "unit": "events/s", "peer_figure": 34000.0},
    {"name": "reading the log", "figure": 400000.0, "unit": "events/s"},
]
PEER = {"name": "a peer", "version": "1.0", "one_writer": 500.0, "many_writers": 2000.0, "replayed": 100000.0, "append": "a", "replay": "b"}


class Merge(unittest.TestCase):
    def test_rows_of_the_spine_become_one(self):
        row = tenure.row(json.dumps(SPINE))
        self.assertEqual((row["one_writer"], row["many_writers"], row["replayed"]), (1000.0, 20000.0, 400000.0))

    def test_a_row_that_was_renamed_is_missed(self):
        for text in (json.dumps(SPINE[:-1]), "", "[1]"):
            with self.assertRaises(Missing):
                tenure.row(text)


class Table(unittest.TestCase):
    def test_peers_stand_beside_tenure(self):
        lines = report.table([tenure.row(json.dumps(SPINE)), PEER | {"again_share": 0.372}]).splitlines()
        self.assertIn("| 1,000 | 20,000 | 400,000 |", lines[2])
        self.assertIn("| 500 (0.50 ×) | 2,000 (0.10 ×) | 100,000 (0.25 ×) | a (37% of the tries with 64 writers) | b |", lines[3])

    def test_without_tenure_there_is_no_ratio(self):
        missing = {"name": "**Tenure**", "version": "abc", "missing": "there is no `cargo`"}
        for rows in ([PEER], [missing, PEER]):
            self.assertIn("| 500 | 2,000 | 100,000 | a | b |", report.table(rows))
        self.assertIn("not measured: there is no `cargo`", report.table([missing, PEER]))


class Children(unittest.TestCase):
    def test_what_fails_or_is_not_there_is_told(self):
        for command in (["false"], ["no-such-program"]):
            with self.assertRaises(Missing):
                run(command)

    def test_what_takes_too_long_is_ended(self):
        with self.assertRaisesRegex(Missing, "within 0.1 s"):
            run(["sleep", "60"], timeout_seconds=0.1)

    def test_an_interruption_ends_what_runs(self):
        script = "from children import *; exit_when_terminated(); run(['sh', '-c', 'echo $$ >&2; sleep 60; true'])"
        interrupted = subprocess.Popen([sys.executable, "-c", script], cwd=os.path.dirname(__file__), stderr=subprocess.PIPE, text=True)
        child = int(interrupted.stderr.readline())
        interrupted.send_signal(signal.SIGTERM)
        interrupted.communicate(timeout=30)
        self.assertEqual(interrupted.returncode, 128 + signal.SIGTERM)
        with self.assertRaises(ProcessLookupError):
            os.kill(child, 0)


if __name__ == "__main__":
    unittest.main()
