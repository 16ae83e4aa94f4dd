"""shiyu beside Apache Flink over the same orders; one JSON line per run. `run` starts it.

Both find the latest version of every order and count orders per cell and hour. Each run's counts per hour must equal those a few lines of
Python find in the files, else the comparison ends with an error. What a run is, and what it leaves out:

  flink files      reads CSV and counts (Job.java): no check of rows, no scrub, no H3, no checkpoint, nothing stored
  flink kafka      the same from a topic of CSV rows
  shiyu files      `shiyu load` on the local log: door (checks, scrub, datum, H3, areas), log with fsync, state, Delta tables
  shiyu both       the same with the log on Kafka: one process reads files, writes the topic, and folds from it
  shiyu append     its first half alone: files to Kafka, nothing folded; not compared
  shiyu kafka      its second half alone: `shiyu serve --role ingest` on an empty state folds what `append` left, until the tables have it

Wall clock and CPU time are those of the whole process, a JVM's start included; `rate_to_flink_job` compares with the rate of Flink's job
alone. Memory is the resident set of all processes of a system. Kafka's broker belongs to neither.
"""

import argparse
import collections
import csv
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "lab"))
from audit import tables_of  # noqa: E402
from measure import Measured  # noqa: E402

CITY = ROOT / "benches" / "city"
PARTITIONS = 2
# The city's zone; it has no summer time.
ZONE = datetime.timedelta(hours=8)
OPENED = ("java.util", "java.util.concurrent", "java.lang", "java.net", "java.io", "java.nio", "java.text", "java.time")


def expected(files):
    """Rows, and orders per local hour by the latest version of each."""
    rows, newest = 0, {}
    for file in files:
        with open(file, encoding="utf-8", newline="") as text:
            for row in csv.DictReader(text):
                rows += 1
                version = (row["updated_at"], row["accepted_at"][:13])
                newest[row["order_id"]] = max(newest.get(row["order_id"], version), version)
    return rows, collections.Counter(hour for _, hour in newest.values())


def counts_of_flink(output):
    counts = collections.Counter()
    for part in output.parent.glob(f"{output.name}.*"):
        for line in part.read_text().splitlines():
            hour, count = line.split()
            counts[hour[:13].replace("T", " ")] += int(count)
    return +counts


def counts_of_shiyu(folder):
    changes = tables_of(folder)["cell_changes"].rows(["hour", "count"])
    summed = changes.group_by("hour").aggregate([("count", "sum")]).to_pydict()
    hours = ((hour.replace(tzinfo=None) + ZONE).strftime("%Y-%m-%d %H") for hour in summed["hour"])
    return +collections.Counter(dict(zip(hours, summed["count_sum"])))


class Comparison:
    def __init__(self, options):
        self.options = options
        self.work = options.work
        self.files = sorted(options.orders.glob("orders-*.csv"))
        self.rows, self.wanted = expected(self.files)
        self.flink = {}
        self.wrong = 0

    def report(self, name, source, figures, counts, job_s=None):
        rate = self.rows / figures["wall_s"]
        line = {
            "check": "flink",
            "run": name,
            "rows": self.rows,
            "orders": sum(self.wanted.values()),
            "wall_s": round(figures["wall_s"], 2),
            "rows_per_s": round(rate),
            "cpu_s": round(figures["cpu_s"], 2),
            "peak_mib": round(figures["peak_bytes"] / 2**20),
        }
        if job_s is not None:
            line["job_s"] = job_s
            self.flink[source] = {"rate": rate, "job_rate": self.rows / job_s, **figures}
        elif source in self.flink:
            flink = self.flink[source]
            line["rate_to_flink"] = round(rate / flink["rate"], 2)
            line["rate_to_flink_job"] = round(rate / flink["job_rate"], 2)
            line["cpu_to_flink"] = round(figures["cpu_s"] / flink["cpu_s"], 2)
            line["memory_to_flink"] = round(figures["peak_bytes"] / flink["peak_bytes"], 2)
        if counts is not None:
            line["counted"] = sum(counts.values())
            line["same_counts"] = counts == self.wanted
            self.wrong += not line["same_counts"]
        print(json.dumps(line), flush=True)

    def run_flink(self, source, *words):
        installed, output = self.options.installed, self.work / f"counts-{source}"
        command = ["java", f"-Xmx{self.options.heap}"]
        command += [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
        command += ["-cp", f"{installed}/classes:{installed}/lib/*:{installed}/connector/*", "-Dlog4j2.level=WARN"]
        command += ["Job", source, *words, PARTITIONS, output]
        figures, printed = Measured(command, self.work / f"flink-{source}.log").end()
        self.report(f"flink {source}", source, figures, counts_of_flink(output), float(printed.split()[-1]))

    def flink_files(self):
        """Flink's files have no header: it would not know one."""
        bare = self.work / "bare"
        bare.mkdir()
        for file in self.files:
            with open(file, "rb") as whole, open(bare / file.name, "wb") as rest:
                whole.readline()
                while block := whole.read(1 << 20):
                    rest.write(block)
        self.run_flink("files", bare)
        return bare

    def flink_kafka(self, bare):
        tool = ["bash", ROOT / "tests" / "kafka" / "kafka", "tool"]
        topic = ["--bootstrap-server", self.options.servers, "--topic", "rows"]
        subprocess.run([*tool, "org.apache.kafka.tools.TopicCommand", "--create", "--partitions", str(PARTITIONS), *topic], check=True, stdout=sys.stderr)
        for file in sorted(bare.iterdir()):
            with open(file, "rb") as rows:
                subprocess.run([*tool, "org.apache.kafka.tools.ConsoleProducer", *topic], check=True, stdin=rows, stdout=sys.stderr)
            file.unlink()
        self.run_flink("kafka", self.options.servers, "rows")

    def shiyu(self, name, *words, done=None):
        command = [self.options.shiyu, "--data-dir", self.work / name, "--output", "json", *words]
        command += ["--city", CITY, "--var", f"CITY_DATA={self.options.orders}"]
        if words[0] == "load":
            command += ["--input", *self.files]
        environment = dict(os.environ, RUST_LOG="warn", NO_COLOR="1")
        return Measured(command, self.work / f"{name}.log", environment).end(done)[0]

    def kafka_log(self, prefix):
        return ["--log", f"kafka://{self.options.servers}/{prefix}?partitions={PARTITIONS}"]

    def stored(self, folder):
        """Rows of `events` that the tables publish, from the numbers in the Delta log."""
        try:
            events = tables_of(folder)["events"]
        except (OSError, ValueError, KeyError):
            return 0
        return sum(json.loads(file["stats"])["numRecords"] for file in events.files.values())

    def run(self):
        bare = self.flink_files()
        self.report("shiyu files", "files", self.shiyu("local", "load"), counts_of_shiyu(self.work / "local"))
        self.flink_kafka(bare)
        self.report("shiyu both", "kafka", self.shiyu("both", "load", *self.kafka_log("both")), counts_of_shiyu(self.work / "both"))
        # What one process appends, another one folds: they share a folder.
        shared = self.work / "fold"
        log = [*self.kafka_log("fold"), "--shared", shared]
        self.report("shiyu append", None, self.shiyu("append-data", "load", "--role", "connect", *log), None)
        doors = [word for door in ("--grpc", "--flight", "--postgres", "--http") for word in (door, "127.0.0.1:0")]
        fold = self.shiyu("fold-data", "serve", "--role", "ingest", *doors, *log, done=lambda: self.stored(shared) >= self.rows)
        self.report("shiyu kafka", "kafka", fold, counts_of_shiyu(shared))
        print(json.dumps(self.machine()), flush=True)
        return self.wrong == 0

    def machine(self):
        model = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr.splitlines()[0]
        return {
            "check": "flink",
            "machine": f"{os.cpu_count()} cores, {model[0] if model else platform.machine()}",
            "java": java,
            "heap": self.options.heap,
            "row_bytes": round(sum(file.stat().st_size for file in self.files) / self.rows),
            "date": datetime.date.today().isoformat(),
        }


def main():
    parser = argparse.ArgumentParser()
    for name in ("shiyu", "orders", "work", "installed"):
        parser.add_argument(f"--{name}", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--servers", required=True)
    parser.add_argument("--heap", default="2g")
    sys.exit(0 if Comparison(parser.parse_args()).run() else 1)


main()
