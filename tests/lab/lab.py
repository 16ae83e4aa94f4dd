#!/usr/bin/env python3
"""The nemesis of the fault lab: starts shiyu and its load, makes faults, lets the auditor judge. One JSON line per experiment.

    lab.py kill   [--times 200] [--rate 20000]    kill -9 at random instants
    lab.py points                                 abort at every named failpoint
    lab.py bugs                                   plants every bug; each must be caught
    lab.py power  [--times 30]                    power cut: loop ext4 and its shutdown ioctl; needs root
    lab.py full   [--times 50]                    disk full (tmpfs and a filler); needs root
    lab.py errors [--times 50]                    failing writes and syncs: failpoints, and strace where it is there

--binary: shiyu; points, bugs and errors need one built with --features fault-injection. --generator: the example lab-generator.
--work: a folder for data (default: a temporary one, removed when all is well). --seed: of the nemesis and of the load.
"""
import argparse
import array
import contextlib
import fcntl
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CITY = HERE / "city"
SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
NO_LOG_FLUSH = 2
READY_WITHIN = 120


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# Set by a SIGTERM: what has been done is audited and told.
CUT_SHORT = []


def settings_of(arguments):
    return {**os.environ, "RUST_LOG": os.environ.get("RUST_LOG", "warn")}


class Hub:
    """One shiyu serve at fixed ports, so that the load finds it again."""

    def __init__(self, arguments, data, wrap=()):
        self.arguments, self.data, self.wrap = arguments, pathlib.Path(data), list(wrap)
        self.grpc, self.http = free_port(), free_port()
        self.process, self.ready_seconds = None, []
        self.log = open(arguments.work / "hub.log", "ab")

    def command(self, *rest):
        return [str(self.arguments.binary), "--data-dir", str(self.data), *rest, "--city", str(CITY)]

    def environment(self, **more):
        return {**settings_of(self.arguments), "CITY_DATA": str(self.arguments.work / "files"), **more}

    def start(self, **environment):
        doors = ["--grpc", f"127.0.0.1:{self.grpc}", "--http", f"127.0.0.1:{self.http}", "--flight", "127.0.0.1:0", "--postgres", "127.0.0.1:0"]
        self.begun = time.monotonic()
        self.process = subprocess.Popen(self.wrap + self.command("serve", *doors), env=self.environment(**environment), stdout=subprocess.DEVNULL, stderr=self.log)

    def wait_ready(self, within=READY_WITHIN):
        """Seconds since the start, or None where the hub ended before."""
        while time.monotonic() - self.begun < within:
            if self.process.poll() is not None:
                return None
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=1) as answer:
                    if answer.status == 200:
                        self.ready_seconds.append(time.monotonic() - self.begun)
                        return self.ready_seconds[-1]
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit(f"the hub was not ready within {within} s; see {self.arguments.work}/hub.log")

    def start_ready(self, **environment):
        self.start(**environment)
        if self.wait_ready() is None:
            raise SystemExit(f"the hub ended with {self.process.returncode} at the start; see {self.arguments.work}/hub.log")

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        return self.process.wait()

    def metric(self, name):
        """A metric's values, one per label set."""
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=5) as answer:
            return [float(line.split()[-1]) for line in answer.read().decode().splitlines() if line.startswith(name)]
        return []

    def lag(self):
        """Records the fold is behind the log; None before it has folded anything."""
        values = self.metric("shiyu_fold_lag_records")
        return sum(values) if values else None

    def stop(self):
        """Drains; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            return self.kill()


class Load:
    """The generator."""

    def __init__(self, arguments, hub, start=0, rate=None, orders=0, seconds=0, patience=300):
        self.ledger = arguments.work / "ledger"
        command = [str(arguments.generator), "--address", f"127.0.0.1:{hub.grpc}", "--ledger", str(self.ledger), "--seed", str(arguments.seed)]
        command += ["--rate", str(rate or arguments.rate), "--batch", str(arguments.batch), "--streams", str(arguments.streams), "--start", str(start)]
        command += ["--orders", str(orders), "--seconds", str(seconds), "--patience", str(patience)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def acknowledged_lines(self):
        with contextlib.suppress(FileNotFoundError):
            return self.ledger.read_bytes().count(b"\n")
        return 0

    def end(self):
        """Lets every stream end its batch; what the generator says."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        output = self.process.stdout.read()
        self.process.wait()
        return json.loads(output.splitlines()[-1]) if output.strip() else {"failed": self.process.returncode}

    def wait(self):
        """Until it has pushed all its orders."""
        output = self.process.stdout.read()
        self.process.wait()
        return json.loads(output.splitlines()[-1]) if output.strip() else {"failed": self.process.returncode}


def audit(arguments, data, load=(), readable=False, watermark=0):
    command = [sys.executable, str(HERE / "audit.py"), "--data", str(data), "--ledger", str(arguments.work / "ledger"), "--seed", str(arguments.seed), "--watermark", str(watermark)]
    for path in load:
        command += ["--load", str(path)]
    done = subprocess.run(command + (["--readable"] if readable else []), capture_output=True, text=True)
    if done.returncode != 0:
        return {"unreadable": 1, "violations": 1, "problem": done.stderr.strip().splitlines()[-1:]}
    return json.loads(done.stdout)


def revision():
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def percentile(values, share):
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2) if ordered else None


def report(check, arguments, **figures):
    line = {"check": check, "seed": arguments.seed, "revision": revision(), **figures}
    print(json.dumps(line), flush=True)
    return line


def fresh(arguments, name):
    """A work folder of its own for one run."""
    folder = arguments.base / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "files").mkdir(parents=True)
    arguments.work = folder
    return folder


def finish(hub):
    """A last start, so that what lies in the outbox reaches the tables; then drains."""
    if hub.process is None or hub.process.poll() is not None:
        hub.start_ready()
    _ = wait_until(lambda: hub.lag() == 0, 15) or wait_until(lambda: hub.lag() in (0, None), 300)
    return hub.stop()


def kill_run(arguments):
    work, chance = fresh(arguments, "kill"), random.Random(arguments.seed)
    hub = Hub(arguments, work / "data")
    hub.start_ready()
    hub.ready_seconds.clear()
    load = Load(arguments, hub)
    begun, kills = time.monotonic(), 0
    while kills < arguments.times and not CUT_SHORT:
        time.sleep(chance.uniform(0.2, arguments.alive))
        hub.kill()
        kills += 1
        hub.start()
        if hub.wait_ready() is None:
            return report("kill", arguments, kills=kills, violations=1, problem=f"exit {hub.process.returncode} at the start") | {"failed": True}
    pushed = load.end()
    seconds = time.monotonic() - begun
    code = finish(hub)
    figures = audit(arguments, hub.data)
    return report(
        "kill", arguments, kills=kills, asked=arguments.times, seconds=round(seconds), offered_per_second=arguments.rate,
        acknowledged_per_second=round(pushed["acknowledged"] / seconds), exit_code=code,
        ready_p50=percentile(hub.ready_seconds, 0.5), ready_p99=percentile(hub.ready_seconds, 0.99), ready_most=percentile(hub.ready_seconds, 1), load=pushed, **figures,
    )


POINTS = re.compile(r'^    \("([a-z.]+)",', re.M)


def points_of():
    text = (ROOT / "ingest/log/src/fault.rs").read_text().split("pub const BUGS")[0]
    return POINTS.findall(text)


def crash_scenario(arguments, name, fault, bug=""):
    """Load, a fault that ends the hub (or not), a restart, the rest of the load, audit."""
    work = fresh(arguments, name)
    hub = Hub(arguments, work / "data")
    environment = {"SHIYU_BUG": bug} if bug else {}
    hub.start(SHIYU_FAULT=fault, **environment)
    hub.wait_ready()
    # The tables are committed every five seconds: a fault there must find the load still going on.
    late = fault.startswith(("outbox.", "table."))
    load = Load(arguments, hub, orders=arguments.orders, rate=arguments.orders // 12 if late else 2 * arguments.rate)
    died = wait_until(lambda: hub.process.poll() is not None, 20 if fault else 1)
    if not died:
        hub.kill()
    code = hub.process.wait()
    hub.start_ready(**environment)
    pushed = load.wait()
    watermark = max(hub.metric("shiyu_fold_watermark_seconds"), default=0)
    finish(hub)
    figures = audit(arguments, hub.data, watermark=watermark)
    return {"died": died, "code": code, **figures, "load": pushed}


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def load_scenario(arguments, name, fault, bug=""):
    """A file with bad rows, loaded; the fault; loaded again; audit."""
    work = fresh(arguments, name)
    path = work / "files" / "orders.csv"
    rows = [f"R{number},1,{'never' if number % 7 == 3 else '2025-03-01 10:00:00'},noise,filed,112.5,38.0,title {number}" for number in range(500)]
    path.write_text("id,version,at,category,status,lng,lat,title\n" + "\n".join(rows) + "\n")
    (work / "ledger").touch()
    hub = Hub(arguments, work / "data")
    environment = {"SHIYU_BUG": bug} if bug else {}
    codes = []
    for faults in ({"SHIYU_FAULT": fault}, {}):
        done = subprocess.run(hub.command("load"), env=hub.environment(**environment, **faults), stdout=subprocess.DEVNULL, stderr=hub.log)
        codes.append(done.returncode)
    figures = audit(arguments, hub.data, load=[path])
    # The file's statuses and categories are not the generator's.
    ours = sum(figures.get(key, 0) for key in ("lost", "duplicated", "invented", "rejections_lost", "rejections_duplicated", "rejections_invented"))
    return {**figures, "died": codes[0] != 0, "codes": codes, "violations": ours}


def sim_scenario(arguments, bug):
    """The crash points of the simulated file system, with a bug planted in the log."""
    environment = {**settings_of(arguments), "SHIYU_BUG": bug, "SHIYU_CRASH_STEPS": "200"}
    done = subprocess.run([str(arguments.log_tests), "crash_points", "--nocapture"], env=environment, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"check"')]
    return {"violations": lines[0]["violations"] if lines else int(done.returncode != 0), "died": True}


BUG_SCENARIOS = {
    "offset-before-state": ("crash", "fold.between=abort@4"),
    "dedupe-key-apart": ("crash", "fold.between=abort@4"),
    "ack-before-sync": ("sim", ""),
    "no-folder-sync": ("sim", ""),
    "sync-retried": ("sim", ""),
    "trim-too-early": ("sim", ""),
    "txn-not-read": ("crash", "outbox.trim=abort"),
    "epoch-reused": ("crash", "outbox.trimmed=abort"),
    "outbox-trimmed-first": ("crash", "table.commit=abort@2"),
    "rejection-after-position": ("load", "position.appended=abort"),
    "late-overwrites": ("crash", ""),
    "wall-clock-watermark": ("crash", ""),
    "no-retraction": ("crash", ""),
}
SEEN = ("lost", "duplicated", "invented", "reordered", "miscounted", "rejections_lost", "windows_ahead", "unreadable")


def bugs_run(arguments):
    begun, caught, missed = time.monotonic(), {}, []
    for bug, (kind, fault) in BUG_SCENARIOS.items():
        if kind == "sim":
            figures = sim_scenario(arguments, bug)
            by = f"crash points: {figures['violations']} violations" if figures["violations"] else ""
        else:
            scenario = crash_scenario if kind == "crash" else load_scenario
            figures = scenario(arguments, f"bug-{bug}", fault, bug)
            by = "auditor: " + ", ".join(f"{key} {figures[key]}" for key in SEEN if figures.get(key)) if figures["violations"] else ""
        if fault and not figures["died"]:
            by = ""
            print(f"bug {bug}: the fault {fault} was never reached", file=sys.stderr)
        (caught.__setitem__(bug, by) if by else missed.append(bug))
    # The same scenarios without a bug must find nothing, or catching says nothing.
    controls = {}
    for kind, fault in sorted({scenario for scenario in BUG_SCENARIOS.values() if scenario[0] != "sim"}):
        if fault.startswith("fold.between"):
            fault = "fold.committed=abort@4"
        figures = (crash_scenario if kind == "crash" else load_scenario)(arguments, "control", fault)
        controls[f"{kind} {fault}".strip()] = figures["violations"]
    return report("planted_bugs", arguments, planted=len(BUG_SCENARIOS), caught=len(caught), missed=missed, by=caught, control_violations=sum(controls.values()), controls=controls, violations=len(missed) + sum(controls.values()), seconds=round(time.monotonic() - begun))


def points_run(arguments):
    begun, violations, unreached, points = time.monotonic(), {}, [], [point for point in points_of() if point != "fold.between"]
    chance = random.Random(arguments.seed)
    for point in points:
        once = point in ("log.create", "log.created", "log.trim", "position.append", "position.appended", "snapshot.replace", "snapshot.replaced", "replace.rename", "table.committed")
        scenario = load_scenario if point.startswith("position") else crash_scenario
        figures = scenario(arguments, "point", f"{point}=abort@{1 if once else chance.randint(1, 3)}")
        if not figures["died"]:
            unreached.append(point)
        if figures["violations"]:
            violations[point] = {key: value for key, value in figures.items() if value and key != "load"}
    return report("failpoints", arguments, points=len(points), unreached=unreached, failed=violations, violations=len(violations), seconds=round(time.monotonic() - begun))


class LoopDisk:
    """An ext4 file system in a file."""

    def __init__(self, folder, megabytes):
        self.image, self.mount = folder / "disk.img", folder / "disk"
        self.mount.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True)
        self.attach()

    def attach(self):
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.mount)], check=True)

    def cut(self):
        """All that was not synced is gone from here on."""
        folder = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, SHUTDOWN, array.array("I", [NO_LOG_FLUSH]))
        finally:
            os.close(folder)

    def detach(self):
        for _ in range(100):
            if subprocess.run(["umount", str(self.mount)], capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        subprocess.run(["umount", "-l", str(self.mount)], check=True)


def skip(check, reason):
    print(f"skipped: {check}: {reason}", flush=True)
    return {"violations": 0}


def power_run(arguments):
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None or not os.path.exists("/dev/loop-control"):
        return skip("power", "needs root, mkfs.ext4 and loop devices")
    work, chance = fresh(arguments, "power"), random.Random(arguments.seed)
    disk = LoopDisk(work, arguments.disk)
    hub, unreadable, begun, codes = Hub(arguments, disk.mount / "data"), 0, time.monotonic(), {}
    try:
        hub.start_ready()
        hub.ready_seconds.clear()
        load = Load(arguments, hub)
        for _ in range(arguments.times):
            time.sleep(chance.uniform(0.5, arguments.alive))
            disk.cut()
            # A moment in which a hub that does not notice could still acknowledge.
            time.sleep(chance.uniform(0.0, 0.3))
            code = hub.process.poll()
            codes[str(code)] = codes.get(str(code), 0) + 1
            hub.kill()
            disk.detach()
            disk.attach()
            if (hub.data / "tables" / "snapshot.json").exists():
                unreadable += audit(arguments, hub.data, readable=True)["unreadable"]
            hub.start()
            if hub.wait_ready() is None:
                load.process.kill()
                return report("power", arguments, violations=1, problem=f"exit {hub.process.returncode} after a cut")
        pushed = load.end()
        code = finish(hub)
        figures = audit(arguments, hub.data)
    finally:
        hub.process.kill()
        hub.process.wait()
        disk.detach()
    figures["violations"] += unreadable
    return report("power_cut", arguments, cuts=arguments.times, unreadable_tables=unreadable, seconds=round(time.monotonic() - begun), exit_code=code, ended_by_itself=codes, ready_p99=percentile(hub.ready_seconds, 0.99), load=pushed, **figures)


def fill(mount):
    """Takes all room there is; the file that does."""
    path = mount / "filler"
    with open(path, "wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 16, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while filler.write(b"\1" * size) == size:
                    pass
    return path


def full_run(arguments):
    if os.geteuid() != 0:
        return skip("full", "needs root to mount a tmpfs")
    work, chance = fresh(arguments, "full"), random.Random(arguments.seed)
    mount = work / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={arguments.disk}m", "tmpfs", str(mount)], check=True)
    hub, begun, resumed, deaths, refused = Hub(arguments, mount / "data"), time.monotonic(), [], [], 0
    try:
        hub.start_ready()
        load = Load(arguments, hub)
        for _ in range(arguments.times):
            time.sleep(chance.uniform(0.3, arguments.alive))
            filler = fill(mount)
            time.sleep(chance.uniform(0.3, 2.0))
            before = load.acknowledged_lines()
            filler.unlink()
            freed = time.monotonic()
            back = wait_until(lambda: load.acknowledged_lines() > before or hub.process.poll() is not None, 60)
            resumed.append(time.monotonic() - freed)
            if hub.process.poll() is not None or not back:
                deaths.append(hub.process.poll())
                hub.kill()
                hub.start_ready()
        pushed = load.end()
        refused = pushed.get("errors", {}).get("ResourceExhausted", 0)
        code = finish(hub)
        figures = audit(arguments, hub.data)
    finally:
        hub.process.kill()
        hub.process.wait()
        subprocess.run(["umount", "-l", str(mount)], check=True)
    figures["violations"] += len(deaths)
    return report("disk_full", arguments, times=arguments.times, ended=deaths, refused=refused, resumed_p50=percentile(resumed, 0.5), resumed_most=percentile(resumed, 1), seconds=round(time.monotonic() - begun), exit_code=code, load=pushed, **figures)


FULL_POINTS = ["log.append", "log.create", "cells.append", "table.write", "table.commit", "replace.rename", "fold.commit", "outbox.trim", "snapshot.replace"]
ERROR_POINTS = ["log.append", "log.sync", "log.create", "log.created", "fold.commit", "table.write", "table.commit", "replace.rename", "outbox.trim", "cells.append"]


# These are passed every few seconds only: the first time is the one to fail.
SELDOM = ("log.create", "table.", "replace.", "outbox.")


def errors_run(arguments):
    """Until as many as asked were met: a write or sync fails once, the hub must end with 74 and never acknowledge what is not there."""
    work, chance = fresh(arguments, "errors"), random.Random(arguments.seed)
    hub, begun, codes, unreached = Hub(arguments, work / "data"), time.monotonic(), {}, 0
    strace = shutil.which("strace")
    load = None
    tries = 0
    while tries - unreached < arguments.times and tries < 4 * arguments.times:
        tries += 1
        environment, hub.wrap = {}, []
        if strace and tries % 2:
            call = chance.choice(["fsync", "fdatasync"])
            hub.wrap = [strace, "-D", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", "/dev/null", "-e", f"inject={call}:error=EIO:when={chance.randint(1, 60)}"]
        else:
            point = chance.choice(ERROR_POINTS)
            environment["SHIYU_FAULT"] = f"{point}=error:EIO@{1 if point.startswith(SELDOM) else chance.randint(1, 12)}"
        hub.start(**environment)
        if load is None:
            load = Load(arguments, hub)
        ended = wait_until(lambda: hub.process.poll() is not None, 8)
        if ended:
            codes[str(hub.process.returncode)] = codes.get(str(hub.process.returncode), 0) + 1
        else:
            unreached += 1
            hub.kill()
    hub.wrap = []
    hub.start_ready()
    pushed = load.end()
    code = hub.stop()
    figures = audit(arguments, hub.data)
    other = sum(count for name, count in codes.items() if name != "74")
    figures["violations"] += other
    return report("disk_errors", arguments, times=tries - unreached, exit_codes=codes, not_reached=unreached, seconds=round(time.monotonic() - begun), exit_code=code, load=pushed, **figures)


RUNS = {"kill": kill_run, "points": points_run, "bugs": bugs_run, "power": power_run, "full": full_run, "errors": errors_run}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--rate", type=int, default=2000, help="records per second offered")
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--orders", type=int, default=8000, help="orders of one scenario of points and bugs")
    parser.add_argument("--alive", type=float, default=5.0, help="longest time between two faults, seconds")
    parser.add_argument("--disk", type=int, default=512, help="size of the disk for power and full, MiB")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--generator", type=pathlib.Path, required=True)
    parser.add_argument("--log-tests", type=pathlib.Path, help="test binary of shiyu-log, built with fault-injection (bugs)")
    parser.add_argument("--work", type=pathlib.Path)
    arguments = parser.parse_args()
    given = arguments.work
    arguments.base = given or pathlib.Path(tempfile.mkdtemp(prefix="shiyu-lab-"))
    signal.signal(signal.SIGTERM, lambda *_: CUT_SHORT.append(True))
    line = RUNS[arguments.run](arguments)
    good = line.get("violations") == 0
    if good and given is None:
        shutil.rmtree(arguments.base, ignore_errors=True)
    elif not good:
        print(f"data and logs are kept in {arguments.base}", file=sys.stderr)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
