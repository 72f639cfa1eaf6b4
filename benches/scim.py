"""An identity provider that makes the accounts of a company, looking for each before, and then changes each: how many a second.

    cargo build --release --locked
    python3 benches/scim.py target/release/tenure 5000

Eight requests at a time, as fast as they are answered. Entra ID asks for 25 requests a second of a tenant. Works in a folder of its own,
which it removes.
"""

import http.client
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from files import Tenure

AT_ONCE = 8
EMPLOYMENT = "urn:ietf:params:scim:schemas:extension:tenure:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def everybody(listen, token, people, work):
    """Calls `work(ask, number)` for everybody; answers the seconds of each request and of all."""
    numbers, seconds, lock = iter(range(people)), [], threading.Lock()

    def run():
        connection = http.client.HTTPConnection(listen)

        def ask(method, path, body=None):
            begun = time.time()
            headers = {"authorization": f"Bearer {token}", "content-type": "application/scim+json"}
            connection.request(method, f"/scim/v2{path}", body and json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status < 300, text
            seconds.append(time.time() - begun)
            return json.loads(text)

        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            work(ask, number)

    begun, threads = time.time(), [threading.Thread(target=run) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, time.time() - begun


def main(binary, people):
    folder = tempfile.mkdtemp(prefix="tenure-scim-")
    os.chmod(folder, 0o755)
    tenure = Tenure(os.path.abspath(binary), folder)
    try:
        _, connected = tenure.ask("/v1/integrations/scim", json.dumps({"name": "bench"}).encode())
        ids = {}

        def make(ask, number):
            name = f"p{number}@acme.example"
            found = ask("GET", "/Users?filter=" + urllib.parse.quote(f'userName eq "{name}"'))
            assert found["totalResults"] == 0
            account = {
                "userName": name, "externalId": f"00u{number}", "active": True, "title": "Cashier",
                "name": {"givenName": f"First{number}", "familyName": f"Last{number % 997}"},
                "emails": [{"type": "work", "value": name, "primary": True}],
                ENTERPRISE: {"department": "Sales", **({"manager": {"value": f"p{number // 10}@acme.example"}} if number else {})},
                EMPLOYMENT: {"startDate": "2024-03-01"},
            }
            ids[number] = ask("POST", "/Users", account)["id"]

        def change(ask, number):
            ask("PATCH", f"/Users/{ids[number]}", {"Operations": [{"op": "Replace", "path": f"{ENTERPRISE}:department", "value": "Stores"}]})

        for what, work in (("looked for and made", make), ("changed", change)):
            seconds, all_of_it = everybody(tenure.listen, connected["token"], people, work)
            slowest = statistics.quantiles(seconds, n=100)[98]
            print(f"{people:,} accounts {what}: {people / all_of_it:,.0f} accounts/s, {len(seconds) / all_of_it:,.0f} requests/s, "
                  f"median {statistics.median(seconds) * 1000:.1f} ms, 99 of 100 within {slowest * 1000:.1f} ms")
            begun = time.time()
            while tenure.lag():
                time.sleep(0.2)
            print(f"  projected and scored {time.time() - begun:.1f} s later; most memory {tenure.peak} MB")
    finally:
        tenure.process.send_signal(signal.SIGTERM)
        tenure.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
