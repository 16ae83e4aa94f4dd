"""The Kafka lab: orders pushed at a steady rate while brokers and processes are killed, stopped and cut off; then everything is counted.

It is a department (pushes again until it is acknowledged, always with the same key), a nemesis, and an auditor that reads Parquet and the
Delta log itself. Prints one JSON line: sent, acknowledged, stored, lost, duplicated, invented, catch-up.

usage: lab.py SHIYU [--seed N] [--rate N] [--kills N] [--stops N] [--stop-seconds S] [--cuts N] [--cut-seconds S] [--moves N] [--brokers N]

--moves: how often one of the three ingest processes is killed and another one started. Needs grpcio, grpcio-tools, pyarrow.
"""

import argparse
import asyncio
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import grpc
import pyarrow.parquet as parquet

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BATCH = 100
PORT = 29092
PROXY_OFFSET = 5
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


class Cut:
    """A proxy before a broker that can be told to swallow everything."""

    def __init__(self, listen, target):
        self.listen, self.target = listen, target
        self.loop = asyncio.new_event_loop()
        self.open = None
        self.streams = set()
        started = threading.Event()
        threading.Thread(target=self.run, args=(started,), daemon=True).start()
        started.wait()

    def run(self, started):
        asyncio.set_event_loop(self.loop)
        self.open = asyncio.Event()
        self.open.set()
        self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", self.listen))
        started.set()
        self.loop.run_forever()

    async def serve(self, reader, writer):
        await self.open.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pump(reader, far_writer), self.pump(far_reader, writer), return_exceptions=True)

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(1 << 16):
                await self.open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    def cut(self):
        self.loop.call_soon_threadsafe(self.open.clear)

    def mend(self):
        self.loop.call_soon_threadsafe(self.open.set)


class Department:
    """Pushes orders on a schedule; a batch is pushed again, with the same key, until it is acknowledged."""

    def __init__(self, options, work, pb, services, addresses):
        self.pb, self.rate, self.random = pb, options.rate, random.Random(options.seed)
        self.ledger = open(work / "ledger", "a", encoding="utf-8")
        self.lock = threading.Lock()
        self.next_batch, self.acknowledged, self.orders = 0, set(), []
        self.done_batches, self.errors = 0, 0
        self.stop = threading.Event()
        self.begun = time.monotonic()
        self.clients = [services.IntakeServiceStub(grpc.insecure_channel(address)) for address in addresses]
        self.threads = [threading.Thread(target=self.push, args=(number,), daemon=True) for number in range(4)]
        for thread in self.threads:
            thread.start()

    def batch(self):
        """New orders and changes of old ones; which, is decided by the seed."""
        with self.lock:
            number = self.next_batch
            self.next_batch += 1
            records, names = [], []
            for _ in range(BATCH):
                if self.orders and self.random.random() < 0.3:
                    index = self.random.randrange(len(self.orders))
                else:
                    index = len(self.orders)
                    self.orders.append(0)
                self.orders[index] += 1
                version = self.orders[index]
                if version > 1 and any(name == (index, version - 1) for name in names):
                    # One batch holds one version of an order: versions of a batch may come in any order.
                    self.orders[index] -= 1
                    continue
                names.append((index, version))
                place = random.Random(index)
                filed = START + timedelta(seconds=index)
                records.append(
                    json.dumps(
                        {
                            "order_id": f"o{index}",
                            "filed_at": filed.strftime("%Y-%m-%d %H:%M:%S"),
                            "changed_at": (filed + timedelta(hours=version)).strftime("%Y-%m-%d %H:%M:%S"),
                            "kind": "noise",
                            "lng": f"{112.2 + place.random() * 0.5:.6f}",
                            "lat": f"{37.6 + place.random() * 0.5:.6f}",
                            "status": f"step {version}",
                        }
                    )
                )
            return number, records, names

    def push(self, thread):
        client = self.clients[thread % len(self.clients)]
        while not self.stop.is_set():
            number, records, names = self.batch()
            due = self.begun + number * BATCH / self.rate
            while (left := due - time.monotonic()) > 0 and not self.stop.is_set():
                time.sleep(min(left, 0.2))
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
            with self.lock:
                self.ledger.write("".join(f"o{index} {version}\n" for index, version in names))
                self.ledger.flush()
                os.fsync(self.ledger.fileno())
                self.acknowledged.update(names)
                self.done_batches += 1

    def behind(self):
        """Seconds of the schedule that are not acknowledged."""
        due = int((time.monotonic() - self.begun) * self.rate / BATCH)
        return (due - self.done_batches) * BATCH / self.rate

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        return {(index, version) for index, last in enumerate(self.orders) for version in range(1, last + 1)}


class Lab:
    def __init__(self, options):
        self.options = options
        self.work = Path(tempfile.mkdtemp(prefix="shiyu-kafka-lab-"))
        self.random = random.Random(options.seed + 1)
        self.environment = dict(
            os.environ,
            KAFKA_LAB=str(self.work / "kafka"),
            KAFKA_LAB_PORT=str(PORT),
            KAFKA_LAB_ADVERTISED_OFFSET=str(PROXY_OFFSET),
            RUST_LOG="warn,shiyu=info",
        )
        self.processes, self.started = {}, 0
        self.proxies, self.outages = [], []

    def kafka(self, *words):
        subprocess.run([HERE / "kafka", *words], check=True, env=self.environment, stdout=subprocess.DEVNULL)

    def log_url(self):
        servers = ",".join(f"127.0.0.1:{PORT + node * 10 + PROXY_OFFSET}" for node in range(self.options.brokers))
        return f"kafka://{servers}/lab?partitions=6"

    def start(self, role):
        self.started += 1
        name = f"{role}-{self.started}"
        folder = self.work / name
        command = [self.options.shiyu, "--data-dir", folder, "serve", "--city", HERE / "city", "--var", f"CITY_DATA={self.work}"]
        command += ["--log", self.log_url(), "--shared", self.work / "shared", "--role", role]
        command += ["--grpc", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--postgres", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        log = open(self.work / f"{name}.log", "w", encoding="utf-8")
        self.processes[name] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        return name

    def address(self, name, door="grpc"):
        file = self.work / name / "run" / "serve.json"
        for _ in range(1200):
            if file.exists():
                try:
                    found = json.loads(file.read_text())
                    if found["pid"] == self.processes[name].pid:
                        return found[door]
                except (ValueError, KeyError):
                    pass
            if self.processes[name].poll() is not None:
                sys.exit(f"lab: {name} ended:\n{(self.work / f'{name}.log').read_text()}")
            time.sleep(0.1)
        sys.exit(f"lab: {name} does not serve")

    def outage(self, kind, seconds, begin, end):
        """An outage of that length; notes how long the department needs afterwards until its schedule is met again."""
        begun = time.monotonic()
        begin()
        time.sleep(seconds)
        end()
        over = time.monotonic()
        deadline = over + 240
        while self.department.behind() > 0.5 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.outages.append({"kind": kind, "outage_s": over - begun, "catch_up_s": time.monotonic() - over})

    def nemesis(self):
        options = self.options
        faults = ["kill"] * options.kills + ["stop"] * options.stops + ["cut"] * options.cuts + ["move"] * options.moves
        self.random.shuffle(faults)
        for fault in faults:
            time.sleep(self.random.uniform(1.0, 3.0))
            node = str(self.random.randint(1, options.brokers))
            if fault == "kill":
                self.outage("kill", self.random.uniform(0.5, 3.0), lambda: self.kafka("kill", node), lambda: (self.kafka("up", node), self.kafka("ready")))
            elif fault == "stop":
                self.outage("stop", options.stop_seconds, lambda: self.kafka("pause", node), lambda: self.kafka("resume", node))
            elif fault == "cut":
                proxy = self.proxies[int(node) - 1]
                self.outage("cut", options.cut_seconds, proxy.cut, proxy.mend)
            else:
                self.move()

    def move(self):
        """Kills one ingest process and starts another one."""
        name = self.random.choice([name for name in self.processes if name.startswith("ingest")])
        victim = self.processes.pop(name)
        victim.kill()
        victim.wait()
        self.start("ingest")
        time.sleep(self.options.move_seconds)

    def stored(self):
        """Every row of the tables `events` that the Delta log names, as (order, version): how often it is there."""
        folder = self.work / "shared" / "tables" / "events"
        files = {}
        for entry in sorted((folder / "_delta_log").glob("*.json")):
            for line in entry.read_text().splitlines():
                action = json.loads(line)
                if "add" in action:
                    files[action["add"]["path"]] = True
                if "remove" in action:
                    files.pop(action["remove"]["path"], None)
        counts = {}
        for path in files:
            table = parquet.ParquetFile(folder / path).read(columns=["record_id", "source_status"])
            for order, status in zip(table["record_id"].to_pylist(), table["source_status"].to_pylist()):
                key = (int(order[1:]), int(status.removeprefix("step ")))
                counts[key] = counts.get(key, 0) + 1
        return counts

    def run(self):
        options = self.options
        pb, services = stubs(self.work)
        for node in range(options.brokers):
            self.proxies.append(Cut(PORT + node * 10 + PROXY_OFFSET, PORT + node * 10))
        self.kafka("start", str(options.brokers))
        ingest = [self.start("ingest") for _ in range(3)]
        connect = [self.start("connect") for _ in range(2)]
        query = self.start("query")
        for name in [*ingest, *connect, query]:
            self.address(name)
        self.department = Department(options, self.work, pb, services, [self.address(name) for name in connect])
        self.nemesis()
        time.sleep(2)
        sent = self.department.end()
        settled = self.settle(sent)
        alive = {name: process.poll() for name, process in self.processes.items()}
        codes = self.end()
        report = self.report(sent, settled, alive, codes)
        print(json.dumps(report))
        good = report["lost"] == report["duplicated"] == report["invented"] == 0 and settled and not report["died"]
        good = good and report["catch_up_ratio_max"] <= 2.0
        if good:
            shutil.rmtree(self.work)
        else:
            print(f"lab: see {self.work}", file=sys.stderr)
        return 0 if good else 1

    def settle(self, sent):
        """Waits until the tables hold everything that was sent, or do not grow any more."""
        last, since = -1, time.monotonic()
        while time.monotonic() - since < 60:
            found = len(self.stored())
            if found >= len(sent):
                # Whatever would come twice has time to come.
                time.sleep(6)
                return True
            if found != last:
                last, since = found, time.monotonic()
            time.sleep(1)
        return False

    def report(self, sent, settled, alive, codes):
        stored, acknowledged = self.stored(), self.department.acknowledged
        ratios = [max(0.0, o["catch_up_s"]) / o["outage_s"] for o in self.outages]
        return {
            "check": "kafka",
            "seed": self.options.seed,
            "brokers": self.options.brokers,
            "rate_per_s": self.options.rate,
            "kills": self.options.kills,
            "stops": self.options.stops,
            "cuts": self.options.cuts,
            "moves": self.options.moves,
            "sent": len(sent),
            "acknowledged": len(acknowledged),
            "stored": len(stored),
            "lost": len(acknowledged - stored.keys()),
            "duplicated": sum(count - 1 for count in stored.values()),
            "invented": len(stored.keys() - sent),
            "settled": settled,
            "push_errors": self.department.errors,
            "catch_up_ratio_max": round(max(ratios, default=0.0), 3),
            "died": sorted(name for name, code in alive.items() if code is not None),
            "exit_codes": codes,
        }

    def end(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        codes = {}
        for name, process in self.processes.items():
            try:
                codes[name] = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = "killed"
        return codes

    def clean(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
        subprocess.run([HERE / "kafka", "stop"], check=False, env=self.environment)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shiyu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--brokers", type=int, default=1)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--stops", type=int, default=1)
    parser.add_argument("--stop-seconds", type=float, default=6.0)
    parser.add_argument("--cuts", type=int, default=1)
    parser.add_argument("--cut-seconds", type=float, default=5.0)
    parser.add_argument("--moves", type=int, default=1)
    parser.add_argument("--move-seconds", type=float, default=12.0)
    lab = Lab(parser.parse_args())
    try:
        sys.exit(lab.run())
    finally:
        lab.clean()


if __name__ == "__main__":
    main()
