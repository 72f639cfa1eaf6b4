"""A first import of a company from one CSV file, and a merit round in another: how fast, in how much memory.

    cargo build --release --locked
    python3 benches/files.py target/release/tenure 80000        # KAFKA_BROKERS=… for a real Kafka, which has to be new

Says for each file how long it takes until it is durable (202), in the log, and in every read model with scores. Works in a folder of its
own, which it removes.
"""

import csv
import datetime
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request


def company(folder, people):
    """Three rows of each person, a year apart; and one with more pay."""
    rng = random.Random(7)
    header = ["Employee ID", "First Name", "Last Name", "Work Email", "Hire Date", "Effective Date", "Job Title", "Department", "Manager ID", "Annual Salary", "Currency"]
    paths = [os.path.join(folder, name) for name in ("company.csv", "merit.csv")]
    with open(paths[0], "w", newline="") as first, open(paths[1], "w", newline="") as second:
        files = [csv.writer(first), csv.writer(second)]
        for file in files:
            file.writerow(header)
        for number in range(1, people + 1):
            hired = datetime.date(2020, 1, 1) + datetime.timedelta(days=rng.randrange(1200))
            pay, boss = rng.randrange(20000, 60000), "" if number < 10 else rng.randrange(1, max(2, number // 10))
            person = [number, f"First{number}", f"Last{number % 997}", f"p{number}@acme.example", hired]
            job = [rng.choice(["Cashier", "Baker", "Driver"]), rng.choice(["Sales", "Bakery", "Logistics"]), boss]
            for year in range(3):
                on = max(hired, datetime.date(2023 + year, 4, 1)) if year else hired
                pay = round(pay * 1.03) if year else pay
                files[0].writerow([*person, on, *job, f"{pay}.00", "EUR"])
            files[1].writerow([*person, "2026-06-01", *job, f"{round(pay * 1.04)}.00", "EUR"])
    return paths


class Tenure:
    def __init__(self, binary, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{free.getsockname()[1]}"
        data = os.path.join(folder, "data")
        self.log = open(os.path.join(folder, "log"), "w")
        self.process = subprocess.Popen([binary, "up", "--data-dir", data, "--listen", self.listen], stdout=self.log, stderr=self.log)
        tokens = os.path.join(data, "dev-tokens.json")
        deadline = time.time() + 300
        while not os.path.exists(tokens) or self.lag() is None:
            if self.process.poll() is not None or time.time() > deadline:
                sys.exit(f"tenure did not start: see {self.log.name}")
            time.sleep(0.5)
        self.token = json.load(open(tokens))["admin"]
        self.peak = 0
        threading.Thread(target=self.watch, daemon=True).start()

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS"))

    def watch(self):
        while self.process.poll() is None:
            try:
                self.peak = max(self.peak, self.memory())
            except (OSError, StopIteration):
                return
            time.sleep(0.2)

    def ask(self, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            headers |= {"authorization": f"Bearer {self.token}", "content-type": headers.get("content-type", "application/json")}
        request = urllib.request.Request(f"http://{self.listen}{path}", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return answer.status, json.loads(answer.read())

    def lag(self):
        try:
            standing = self.ask("/health/detailed")[1]["standing"]
        except OSError:
            return None
        return standing["relay"]["lag_events"] + sum(projection["lag_events"] for projection in standing["projections"])


def send(tenure, connection, path):
    body, name = open(path, "rb").read(), os.path.basename(path)
    tenure.peak, begun = 0, time.time()
    of = f"/v1/connections/{connection}/files"
    # The same key: sent again it is the same commands, and what became of them is told.
    status, report = tenure.ask(of, body, content_type="text/csv", prefer="respond-async", idempotency_key=name)
    durable = time.time() - begun
    while status == 202:
        status, report = tenure.ask(of, body, content_type="text/csv", prefer="wait=30", idempotency_key=name)
    logged = time.time() - begun
    while tenure.lag():
        time.sleep(0.5)
    people, outcome = report["people"], report["outcome"]
    print(f"{name}: {report['rows']:,} rows, {people:,} people, {outcome['changed']:,} changed, {outcome['refused']:,} refused, {report['rows_with_problems']:,} rows with problems")
    for what, seconds in (("durable", durable), ("in the log", logged), ("projected and scored", time.time() - begun)):
        print(f"  {what} after {seconds:.1f} s: {people / seconds:,.0f} people/s, {report['rows'] / seconds:,.0f} rows/s")
    print(f"  most memory {tenure.peak} MB")


def main(binary, people):
    folder = tempfile.mkdtemp(prefix="tenure-files-")
    os.chmod(folder, 0o711)
    files = company(folder, people)
    tenure = Tenure(os.path.abspath(binary), folder)
    try:
        print(f"at rest {tenure.memory()} MB")
        begun = time.time()
        proposal = tenure.ask("/v1/files/proposal", open(files[0], "rb").read(), content_type="text/csv")[1]
        print(f"proposal after {time.time() - begun:.1f} s, unclear: {proposal['unclear']}")
        request = json.dumps({"name": "load", "mapping": proposal["mapping"]}).encode()
        connection = tenure.ask("/v1/integrations/files", request)[1]["id"]
        for path in files:
            send(tenure, connection, path)
    finally:
        tenure.process.send_signal(signal.SIGINT)
        tenure.process.wait()
        tenure.log.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
