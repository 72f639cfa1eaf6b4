"""Measures the Python library eventsourcing and says what it saw as one line of JSON: the same arguments as rust/src/main.rs."""

import json
import multiprocessing
import os
import sys
import threading
import time
from urllib.parse import urlsplit

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

STREAM_EVENTS = 20
ANSWER = {"on": "2026-01-31", "survey": "Pulse", "answer": "A" * 103}
# Notifications that are read at once.
PAGE = 5_000
# Aggregates that are saved at once when many are loaded.
SAVED_AT_ONCE = 50
# Connections of everything but `append`.
CONNECTIONS = 4
# A Python process keeps one core busy: an application that wants more runs more of them.
PROCESSES = 2


class Employee(Aggregate):
    @event("Registered")
    def __init__(self, on, survey, answer):
        self.answers = 1

    @event("SurveyAnswered")
    def answer_survey(self, on, survey, answer):
        self.answers += 1


class Surveys(Application):
    log_section_size = PAGE

    def register(self):
        employee = Employee(**ANSWER)
        self.save(employee)
        return employee.id

    def answer_survey(self, employee_id):
        employee = self.repository.get(employee_id)
        employee.answer_survey(**ANSWER)
        self.save(employee)


def main():
    action, *numbers = sys.argv[1:]
    numbers = [int(number) for number in numbers]
    print(json.dumps(ACTIONS[action](*numbers)))


def surveys(connections=CONNECTIONS, create_table=False):
    url = urlsplit(os.environ["DATABASE_URL"])
    return Surveys(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": url.path.removeprefix("/"),
            "POSTGRES_HOST": url.hostname,
            "POSTGRES_PORT": str(url.port),
            "POSTGRES_USER": url.username,
            "POSTGRES_PASSWORD": url.password,
            # Two processes that make the same table at once would disturb each other.
            "CREATE_TABLE": "y" if create_table else "n",
            "POSTGRES_POOL_SIZE": str(connections),
            # A writer may wait as long as it takes for a connection.
            "POSTGRES_CONNECT_TIMEOUT": "60",
        }
    )


def prepare():
    with surveys(create_table=True):
        return seen(0, 0)


def load(events):
    begun = time.monotonic()
    with surveys() as application:
        for first in range(0, events // STREAM_EVENTS, SAVED_AT_ONCE):
            aggregates = [Employee(**ANSWER) for _ in range(min(SAVED_AT_ONCE, events // STREAM_EVENTS - first))]
            for aggregate in aggregates:
                for _ in range(STREAM_EVENTS - 1):
                    aggregate.answer_survey(**ANSWER)
            application.save(*aggregates)
    return seen(events, time.monotonic() - begun)


def append(writers, seconds, connections):
    """Writers are threads, of several processes when there are several of them."""
    processes = min(PROCESSES, writers)
    context = multiprocessing.get_context("fork")
    ready, counted = context.Barrier(processes), context.Queue()
    arguments = (ready, counted, writers // processes, seconds, max(1, connections // processes))
    children = [context.Process(target=append_in_process, args=arguments) for _ in range(processes)]
    for child in children:
        child.start()
    results = [counted.get() for _ in children]
    for child in children:
        child.join()
    return seen(sum(events for events, _ in results), max(elapsed for _, elapsed in results))


def append_in_process(ready, counted, writers, seconds, connections):
    with surveys(connections) as application:
        application.factory.datastore.pool.wait()
        ready.wait()
        begun = time.monotonic()
        events = [0] * writers

        def write(writer):
            while True:
                employee_id = None
                for _ in range(STREAM_EVENTS):
                    if time.monotonic() - begun > seconds:
                        return
                    if employee_id is None:
                        employee_id = application.register()
                    else:
                        application.answer_survey(employee_id)
                    events[writer] += 1

        threads = [threading.Thread(target=write, args=(writer,), daemon=True) for writer in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counted.put((sum(events), time.monotonic() - begun))


def replay():
    with surveys() as application:
        begun, start, events = time.monotonic(), 1, 0
        while page := application.notification_log.select(start, PAGE):
            for notification in page:
                application.mapper.to_domain_event(notification)
            start = page[-1].id + 1
            events += len(page)
        return seen(events, time.monotonic() - begun)


def seen(events, seconds):
    return {"events": events, "again": 0, "seconds": seconds}


ACTIONS = {"prepare": prepare, "load": load, "append": append, "replay": replay}

if __name__ == "__main__":
    main()
