"""The department of the Kafka lab: pushes orders on a schedule, each batch again, with the same key, until it is acknowledged.

An order has up to four versions: filed, dispatched, closed, and then evaluated or, every tenth order, withdrawn. What was acknowledged
is in a ledger on disk before the next batch is pushed.
"""

import importlib
import json
import os
import random
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import grpc

ROOT = Path(__file__).resolve().parent.parent.parent
BATCH = 100
THREADS = 4
VERSIONS = 4
START = datetime(2025, 3, 1, 8, 0, 0)


def stubs(folder):
    """Compiles the intake's protobuf for Python."""
    from grpc_tools import protoc

    source = ROOT / "schemas" / "proto"
    include = Path(importlib.util.find_spec("grpc_tools").submodule_search_locations[0]) / "_proto"
    for name in ["shiyu/v1/event.proto", "shiyu/v1/intake.proto"]:
        code = protoc.main(["protoc", f"-I{source}", f"-I{include}", f"--python_out={folder}", f"--grpc_python_out={folder}", name])
        if code != 0:
            sys.exit(f"cannot compile {name}")
    sys.path.insert(0, str(folder))
    return importlib.import_module("shiyu.v1.intake_pb2"), importlib.import_module("shiyu.v1.intake_pb2_grpc")


def state_of(index, version):
    """The state of a case whose newest version this is."""
    last = "withdrawn" if index % 10 == 0 else "evaluated"
    return ["filed", "dispatched", "closed", last][version - 1]


def order(index, version):
    """One version of an order, as the department has it."""
    filed = START + timedelta(seconds=index)
    return {
        "order_id": f"o{index}",
        "version": str(version),
        "filed_at": filed.strftime("%Y-%m-%d %H:%M:%S"),
        "kind": "noise",
        "lng": f"{112.2 + index * 7919 % 500 / 1000:.6f}",
        "lat": f"{37.6 + index * 104729 % 499 / 1000:.6f}",
        "status": state_of(index, version),
    }


class Department:
    """Names of versions are numbers: eight times the order's, plus the version's."""

    def __init__(self, options, work, addresses):
        self.pb, services = stubs(work)
        self.rate, self.random = options.rate, random.Random(options.seed)
        self.ledger = open(work / "ledger", "a", encoding="utf-8")
        self.lock = threading.Lock()
        self.next_batch, self.acknowledged, self.orders = 0, set(), []
        self.errors = 0
        self.stop = threading.Event()
        self.clients = [services.IntakeServiceStub(grpc.insecure_channel(address)) for address in addresses]
        self.begun = time.monotonic()
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def batch(self):
        """New orders and changes of old ones; which, is decided by the seed. A batch has at most one version of an order."""
        with self.lock:
            number = self.next_batch
            self.next_batch += 1
            chosen = {}
            while len(chosen) < BATCH:
                index = len(self.orders)
                if self.orders and self.random.random() < 0.4:
                    index = self.random.randrange(len(self.orders))
                if index in chosen or (index < len(self.orders) and self.orders[index] == VERSIONS):
                    continue
                if index == len(self.orders):
                    self.orders.append(0)
                self.orders[index] += 1
                chosen[index] = self.orders[index]
        return number, list(chosen.items())

    def work(self, thread):
        client = self.clients[thread % len(self.clients)]
        while not self.stop.is_set():
            number, versions = self.batch()
            records = [json.dumps(order(index, version)) for index, version in versions]
            due = self.begun + number * BATCH / self.rate
            while (left := due - time.monotonic()) > 0 and not self.stop.is_set():
                time.sleep(min(left, 0.2))
            self.push(client, number, records)
            names = [index * 8 + version for index, version in versions]
            with self.lock:
                self.ledger.write("".join(f"{name}\n" for name in names))
                self.ledger.flush()
                os.fsync(self.ledger.fileno())
                self.acknowledged.update(names)

    def push(self, client, number, records):
        """Pushes until the hub says that every record is in the log."""
        request = self.pb.PushRequest(feed="orders", records=records, idempotency_key=f"lab-{number}", wait=self.pb.WAIT_LOGGED)
        while True:
            try:
                answer = client.Push(request, timeout=120)
                break
            except grpc.RpcError as error:
                if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION):
                    print(f"lab: {error.details()}", file=sys.stderr)
                    os._exit(70)
                self.errors += 1
                time.sleep(0.2)
        refused = [receipt for receipt in answer.receipts if receipt.outcome != self.pb.OUTCOME_LOGGED]
        if refused or len(answer.receipts) != len(records):
            print(f"lab: not logged: {refused[:1]}", file=sys.stderr)
            os._exit(70)

    def due(self):
        """Orders the schedule asks for by now."""
        return int((time.monotonic() - self.begun) * self.rate)

    def behind(self):
        """Seconds of the schedule that are not acknowledged."""
        return (self.due() - len(self.acknowledged)) / self.rate

    def end(self):
        """Ends behind what is under way; every version that was ever pushed."""
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.ledger.close()
        return {index * 8 + version for index, last in enumerate(self.orders) for version in range(1, last + 1)}
