"""The Kafka lab: orders pushed at a steady rate while brokers and processes are killed, stopped and cut off; then everything is counted.

A department pushes (department.py), a nemesis does the faults, an auditor reads the tables (count.py). Prints one JSON line: sent,
acknowledged, stored, lost, duplicated, invented, reordered, miscounted, and for each kind of fault how long it took and how long until the
schedule was met again, by what is acknowledged and by what the tables have.

  kill    a broker is killed and started again; the outage ends when the brokers answer
  stop    a broker is stopped (SIGSTOP) for --stop-seconds
  cut     nothing passes between one broker and the hub for --cut-seconds
  move    one of three ingest processes is killed and another one added; the outage ends when others have all its partitions
  freeze  an ingest process is stopped until others have its partitions, and goes on as if it still had them

usage: lab.py SHIYU [--seed N] [--rate N] [--brokers N] [--kills N] [--stops N] [--stop-seconds S] [--cuts N] [--cut-seconds S]
                    [--moves N] [--freezes N] [--move-seconds S]

Needs grpcio, grpcio-tools, numpy, pyarrow.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from count import count, folded
from cut import Cut
from department import ROOT, Department

HERE = Path(__file__).resolve().parent
PORT = 29092
PROXY_OFFSET = 5
PARTITIONS = 6
# The schedule is met when the tables are as far behind it as they were before the fault, and this much.
SLACK_S = 1.0
# How long that is watched: tables are committed every five seconds.
CALM_S = 6.0
CATCH_UP_RATIO_MAX = 2.0
TAKEN = re.compile(r'took over a partition topic="([^"]+)" number=(\d+) generation=(\d+)')


class Lab:
    def __init__(self, options):
        self.options = options
        self.work = Path(tempfile.mkdtemp(prefix="shiyu-kafka-lab-"))
        self.shared = self.work / "shared"
        self.random = random.Random(options.seed + 1)
        self.environment = dict(
            os.environ,
            KAFKA_LAB=str(self.work / "kafka"),
            KAFKA_LAB_PORT=str(PORT),
            KAFKA_LAB_ADVERTISED_OFFSET=str(PROXY_OFFSET),
            RUST_LOG="warn,shiyu=info,shiyu_ingest=info,shiyu_log=info",
            NO_COLOR="1",
        )
        self.processes, self.started = {}, 0
        self.proxies, self.outages = [], []
        self.usual_s = 0.0

    def kafka(self, *words):
        subprocess.run(["bash", HERE / "kafka", *words], check=True, env=self.environment, stdout=subprocess.DEVNULL)

    def log_url(self):
        servers = ",".join(f"127.0.0.1:{PORT + node * 10 + PROXY_OFFSET}" for node in range(self.options.brokers))
        return f"kafka://{servers}/lab?partitions={PARTITIONS}"

    def start(self, role):
        self.started += 1
        name = f"{role}-{self.started}"
        command = [self.options.shiyu, "--data-dir", self.work / name, "serve", "--city", HERE / "city", "--var", f"CITY_DATA={self.work}"]
        command += ["--log", self.log_url(), "--shared", self.shared, "--role", role]
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

    def owners(self):
        """Who folds which partition, as the processes themselves say."""
        owners = {}
        for log in self.work.glob("ingest-*.log"):
            for topic, number, generation in TAKEN.findall(log.read_text()):
                owners[topic, number] = max(owners.get((topic, number), (0, "")), (int(generation), log.stem))
        return {partition: owner for partition, (_, owner) in owners.items()}

    def behind(self):
        """Seconds of the schedule that the tables do not have, of each partition: of a good hash each gets the same share."""
        due = self.department.due() / PARTITIONS
        return [(due - records) * PARTITIONS / self.options.rate for records in folded(self.shared, PARTITIONS)]

    def calm(self):
        """Nothing happens for a while; how far the tables are behind the schedule then, of each partition."""
        usual = [0.0] * PARTITIONS
        over = time.monotonic() + CALM_S + self.random.uniform(0.0, 2.0)
        while time.monotonic() < over:
            usual = [max(pair) for pair in zip(usual, self.behind())]
            time.sleep(0.1)
        self.usual_s = max(self.usual_s, *usual)
        return usual

    def caught_up(self, usual):
        """Whether the department and every partition of the tables are where they were before the fault."""
        if self.department.behind() > 0.5:
            return False
        return all(now <= before + SLACK_S for now, before in zip(self.behind(), usual))

    def outage(self, kind, begin, end):
        """An outage; notes how long it was, and how long afterwards until the schedule is met again."""
        usual = self.calm()
        begun = time.monotonic()
        begin()
        end()
        over = time.monotonic()
        deadline = over + 240
        while time.monotonic() < deadline and not self.caught_up(usual):
            time.sleep(0.05)
        outage = {"kind": kind, "outage_s": over - begun, "catch_up_s": time.monotonic() - over}
        self.outages.append(outage)
        print(f"lab: {kind}: {outage['outage_s']:.1f} s, caught up in {outage['catch_up_s']:.1f} s", file=sys.stderr)

    def nemesis(self):
        options = self.options
        of_brokers = ["kill"] * options.kills + ["stop"] * options.stops + ["cut"] * options.cuts
        of_processes = ["move"] * options.moves + ["freeze"] * options.freezes
        self.random.shuffle(of_brokers)
        self.random.shuffle(of_processes)
        for fault in of_brokers:
            node = str(self.random.randint(1, options.brokers))
            if fault == "kill":
                pause = self.random.uniform(0.5, 3.0)
                self.outage(fault, lambda: (self.kafka("kill", node), time.sleep(pause)), lambda: (self.kafka("up", node), self.kafka("ready")))
            elif fault == "stop":
                self.outage(fault, lambda: (self.kafka("pause", node), time.sleep(options.stop_seconds)), lambda: self.kafka("resume", node))
            else:
                proxy = self.proxies[int(node) - 1]
                self.outage(fault, lambda: (proxy.cut(), time.sleep(options.cut_seconds)), proxy.mend)
        for fault in of_processes:
            begun = time.monotonic()
            self.move() if fault == "move" else self.freeze()
            time.sleep(max(0.0, begun + options.move_seconds - time.monotonic()))

    def others_own_what_it_had(self, name):
        deadline = time.monotonic() + 120
        while name in self.owners().values() and time.monotonic() < deadline:
            time.sleep(0.2)

    def move(self):
        """Kills one ingest process and starts another one."""
        name = self.random.choice(sorted(name for name in self.processes if name.startswith("ingest")))
        victim = self.processes.pop(name)
        self.outage("move", lambda: (victim.kill(), victim.wait(), self.start("ingest")), lambda: self.others_own_what_it_had(name))

    def freeze(self):
        """Stops an ingest process until others have its partitions, and lets it go on: it may write nothing of them any more."""
        name = self.random.choice(sorted(name for name in self.processes if name.startswith("ingest")))
        process = self.processes[name]
        self.outage("freeze", lambda: process.send_signal(signal.SIGSTOP), lambda: (self.others_own_what_it_had(name), process.send_signal(signal.SIGCONT)))

    def run(self):
        options = self.options
        for node in range(options.brokers):
            self.proxies.append(Cut(PORT + node * 10 + PROXY_OFFSET, PORT + node * 10))
        self.kafka("start", str(options.brokers))
        ingest = [self.start("ingest") for _ in range(3)]
        connect = [self.start("connect") for _ in range(2)]
        query = self.start("query")
        for name in [*ingest, *connect, query]:
            self.address(name)
        self.department = Department(options, self.work, [self.address(name) for name in connect])
        time.sleep(CALM_S)
        self.nemesis()
        time.sleep(2)
        sent = self.department.end()
        settled = self.settle(len(self.department.acknowledged))
        alive = {name: process.poll() for name, process in self.processes.items()}
        codes = self.end()
        report = self.report(sent, settled, alive, codes)
        print(json.dumps(report), flush=True)
        bad = sum(report[figure] for figure in ("lost", "duplicated", "invented", "reordered", "miscounted"))
        good = bad == 0 and settled and not report["died"] and not any(codes.values()) and report["catch_up_ratio_max"] <= CATCH_UP_RATIO_MAX
        if good:
            shutil.rmtree(self.work)
        else:
            print(f"lab: see {self.work}", file=sys.stderr)
        return 0 if good else 1

    def settle(self, acknowledged):
        """Waits until the tables have what was acknowledged, or do not grow any more; what would come twice has time to come."""
        last, since = -1, time.monotonic()
        while time.monotonic() - since < 60:
            found = sum(folded(self.shared, PARTITIONS))
            if found != last:
                last, since = found, time.monotonic()
            elif found >= acknowledged and time.monotonic() - since > 7:
                return True
            time.sleep(0.5)
        return False

    def report(self, sent, settled, alive, codes):
        options = self.options
        acknowledged = self.department.acknowledged
        revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
        kinds = {}
        for outage in self.outages:
            ratio = outage["catch_up_s"] / outage["outage_s"]
            kind = kinds.setdefault(outage["kind"], {"times": 0, "outage_s": 0.0, "catch_up_s_max": 0.0, "ratio_max": 0.0})
            kind["times"] += 1
            kind["outage_s"] = round(kind["outage_s"] + outage["outage_s"], 1)
            kind["catch_up_s_max"] = round(max(kind["catch_up_s_max"], outage["catch_up_s"]), 1)
            kind["ratio_max"] = round(max(kind["ratio_max"], ratio), 2)
        return {
            "check": "kafka",
            "seed": options.seed,
            "revision": revision.stdout.strip(),
            "brokers": options.brokers,
            "rate_per_s": options.rate,
            "faults": kinds,
            "sent": len(sent),
            "acknowledged": len(acknowledged),
            **count(self.shared, sent, acknowledged),
            "settled": settled,
            "push_errors": self.department.errors,
            "usual_delay_s": round(self.usual_s, 1),
            "catch_up_ratio_max": max((kind["ratio_max"] for kind in kinds.values()), default=0.0),
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
        subprocess.run(["bash", HERE / "kafka", "stop"], check=False, env=self.environment)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shiyu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--brokers", type=int, default=1)
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--stops", type=int, default=1)
    parser.add_argument("--stop-seconds", type=float, default=6.0)
    parser.add_argument("--cuts", type=int, default=1)
    parser.add_argument("--cut-seconds", type=float, default=5.0)
    parser.add_argument("--moves", type=int, default=1)
    parser.add_argument("--freezes", type=int, default=0)
    parser.add_argument("--move-seconds", type=float, default=20.0)
    lab = Lab(parser.parse_args())
    try:
        sys.exit(lab.run())
    finally:
        lab.clean()


if __name__ == "__main__":
    main()
