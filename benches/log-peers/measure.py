"""Measures how fast Tenure's log and other logs on Postgres append and replay, in one run, and prints a table."""

import argparse
import json
import os
import platform
import statistics
import sys
from pathlib import Path

import report
import tenure
from children import Missing, exit_when_terminated
from peers import PEERS, measure, tell
from server import Server

ROUNDS = 3
ROUND_SECONDS = 5
MANY_WRITERS = 64
EVENTS = 200_000


def main():
    arguments = parse()
    exit_when_terminated()
    load_before = os.getloadavg()
    rows = [] if arguments.without_tenure else [tenures_row(arguments)]
    with Server() as server:
        version = server.version()
        rows += peers_rows(server, arguments)
    load_after = os.getloadavg()
    loads = [round(load[0], 1) for load in (load_before, load_after)]
    print(f"Postgres {version}, {os.cpu_count()} cores; load before and after: {loads[0]}, {loads[1]}.\n")
    print(report.table(rows))
    if arguments.json:
        machine = {"processor": platform.machine(), "cores": os.cpu_count(), "postgres": version, "load": loads}
        arguments.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2, ensure_ascii=False) + "\n")
    return 2 if any("missing" in row for row in rows) else 0


def parse():
    parser = argparse.ArgumentParser(prog="benches/log-peers/run", description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="PEER", help="words of the peers' names; all of them by default")
    parser.add_argument("--without-tenure", action="store_true", help="the peers only")
    recorded = "takes Tenure's figures from what `" + " ".join(tenure.COMMAND) + "` has printed"
    parser.add_argument("--tenure-json", type=Path, metavar="FILE", help=recorded)
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write all figures to this file")
    parser.add_argument("--seconds", type=int, default=ROUND_SECONDS, help="of one round of appends")
    parser.add_argument("--events", type=int, default=EVENTS, help="stored before the replay")
    parser.add_argument("--connections", type=int, help="of the writers, in place of each peer's own number")
    arguments = parser.parse_args()
    for word in arguments.peers:
        if not any(word in peer.name for peer in PEERS):
            parser.error(f"no peer is called {word}")
    return arguments


def tenures_row(arguments):
    try:
        tell("Tenure")
        return tenure.measure(arguments.tenure_json)
    except Missing as reason:
        return {"name": "**Tenure**", "version": tenure.version(), "missing": str(reason)}


def peers_rows(server, arguments):
    """Everyone takes part in each round, so that whatever else the machine does meets all of them."""
    chosen = [peer for peer in PEERS if not arguments.peers or any(word in peer.name for word in arguments.peers)]
    entrants = [Entrant(number, peer, server, arguments) for number, peer in enumerate(chosen)]
    for entrant in entrants:
        entrant.attempt(entrant.prepare)
    for number in range(1, ROUNDS + 1):
        for entrant in entrants:
            tell(f"round {number} of {ROUNDS}: {entrant.peer.name}")
            entrant.attempt(entrant.round)
    return [entrant.row() for entrant in entrants]


class Entrant:
    """A peer in this run, until something of it fails."""

    def __init__(self, number, peer, server, arguments):
        self.peer, self.server, self.arguments = peer, server, arguments
        self.appends, self.replays = f"appends_{number}", f"replays_{number}"
        self.figures = {figure: [] for figure in report.FIGURES}
        self.again, self.tries, self.missing = 0, 0, None

    def attempt(self, step):
        if self.missing:
            return
        try:
            step()
        except Missing as reason:
            self.missing = str(reason)
            tell(f"{self.peer.name}: {reason}")

    def prepare(self):
        self.command = self.peer.install()
        tell(f"{self.peer.name}: storing {self.arguments.events:,} events")
        self.peer.create(self.server, self.command, self.replays)
        self.measure(self.replays, "load", self.arguments.events)
        self.server.ask(self.replays, "vacuum analyze")
        # Nobody appends to an empty table: the planner takes the whole of it then, and disintegrate conflicts by what is read.
        self.server.ask("postgres", f"create database {self.appends} template {self.replays}")
        self.server.ask("postgres", "checkpoint")

    def round(self):
        connections = self.arguments.connections or self.peer.connections
        one = self.measure(self.appends, "append", 1, self.arguments.seconds, 1)
        many = self.measure(self.appends, "append", MANY_WRITERS, self.arguments.seconds, connections)
        replayed = self.measure(self.replays, "replay")
        if replayed["events"] != self.arguments.events:
            raise Missing(f"{replayed['events']:,} events were replayed, and {self.arguments.events:,} stored")
        for figure, seen in zip(report.FIGURES, (one, many, replayed)):
            self.figures[figure].append(seen["events"] / seen["seconds"])
        self.again += many["again"]
        self.tries += many["events"] + many["again"]

    def measure(self, database, *action):
        seen = json.loads(measure(self.server, self.command, database, *action))
        tell(f"  {' '.join(map(str, action))}: {seen['events']:,} in {seen['seconds']:.1f} s")
        return seen

    def row(self):
        row = {"name": self.peer.name, "version": self.peer.version}
        if self.missing:
            return row | {"missing": self.missing}
        medians = {figure: statistics.median(rates) for figure, rates in self.figures.items()}
        share = self.again / self.tries if self.tries else 0
        return row | medians | {"again_share": share, "rounds": self.figures, "append": self.peer.append, "replay": self.peer.replay}


if __name__ == "__main__":
    sys.exit(main())
