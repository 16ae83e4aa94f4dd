#!/usr/bin/env python3
"""What a push has settled is in the tables of the next query, long before files of the tables hold it, and is there once when they do.

usage: fresh.py --grpc HOST:PORT --flight HOST:PORT --stubs FOLDER [--rounds N]

Prints one line of JSON: rounds, questions, and how many of them did not show what was pushed.
"""

import argparse
import json
import sys
import time

import adbc_driver_flightsql.dbapi as flight_sql
import grpc

# Rows wait for the tables at most 5 s.
FLUSHED_WITHIN = 8.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--flight", required=True)
    parser.add_argument("--stubs", required=True)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    sys.path.insert(0, arguments.stubs)
    from shiyu.v1 import intake_pb2, intake_pb2_grpc

    intake = intake_pb2_grpc.IntakeServiceStub(grpc.insecure_channel(arguments.grpc))
    connection = flight_sql.connect(f"grpc://{arguments.flight}", autocommit=True)

    def ask(query):
        with connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone()
            return row and tuple(row)

    def push(number, status, minute):
        order = {
            "id": f"F{number:05d}",
            "at": "2026-03-04 10:30:00",
            "updated": f"2026-03-05 10:{minute:02d}:00",
            "kind": "噪声",
            "lng": "120.21",
            "lat": "30.21",
            "status": status,
        }
        request = intake_pb2.PushRequest(
            feed="orders", records=[json.dumps(order)], idempotency_key=f"fresh-{number}-{minute}", wait=intake_pb2.WAIT_SETTLED
        )
        (receipt,) = intake.Push(request).receipts
        assert receipt.outcome == intake_pb2.OUTCOME_ACCEPTED, receipt

    sums = {"events": "count(*) FROM events", "cases": "count(*) FROM cases", "counted": "sum(count) FROM cells", "opened": "sum(open) FROM cells"}
    totals = "SELECT " + ", ".join(f"(SELECT {sum_of}) AS {name}" for name, sum_of in sums.items())
    events, cases, counted, opened = ask(totals)
    questions, missed = 0, []
    begun = time.monotonic()

    def expect(query, wanted):
        nonlocal questions
        questions += 1
        found = ask(query)
        if found != wanted:
            missed.append({"query": query, "found": found, "wanted": wanted})

    for number in range(arguments.rounds):
        case = f"SELECT state, open, versions FROM cases WHERE record_id = 'F{number:05d}'"
        push(number, "派单", 0)
        expect(case, ("dispatched", True, 1))
        expect(totals, (events + 1, cases + 1, counted + 1, opened + 1))
        push(number, "办结", 1)
        expect(case, ("resolved", False, 2))
        events, cases, counted = events + 2, cases + 1, counted + 1
        expect(totals, (events, cases, counted, opened))
    pushed = time.monotonic() - begun
    # While the tables get them, and after.
    while time.monotonic() < begun + pushed + FLUSHED_WITHIN:
        expect(totals, (events, cases, counted, opened))
        time.sleep(0.02)
    print(json.dumps({"rounds": arguments.rounds, "questions": questions, "missed": len(missed)}))
    if missed:
        sys.exit(f"FAILED: {missed[0]}")


main()
