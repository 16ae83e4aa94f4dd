"""One command, measured: wall clock, CPU time, and the most memory that it and all its children held at once."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(session):
    """Bytes that the processes of a session hold."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        # Behind the name: state, parent, group, session, …; the 24th field of the whole is the resident set in pages.
        if int(fields[3]) == session and fields[0] != "Z":
            total += int(fields[21]) * PAGE
    return total


class Measured:
    """A command in a session of its own; `end` waits for it, or tells it to end where `done` says that its work is done."""

    def __init__(self, command, log, environment=None):
        self.log = log
        self.begun = time.monotonic()
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        self.peak, self.over = 0, threading.Event()
        self.watch = threading.Thread(target=self.sample, daemon=True)
        self.watch.start()

    def sample(self):
        while not self.over.wait(0.05):
            self.peak = max(self.peak, resident(self.process.pid))

    def end(self, done=None, patience_s=540):
        """Returns what was measured and what the command printed. The wall clock stops when `done` first holds, else when the command ends."""
        output, wall = b"", None
        deadline = self.begun + patience_s
        while done is not None and wall is None:
            if done():
                wall = time.monotonic() - self.begun
                self.process.terminate()
            elif self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise SystemExit(f"compare: {self.process.args[0]} is not done:\n{self.tail()}")
            else:
                time.sleep(0.05)
        killer = threading.Timer(max(1.0, deadline - time.monotonic()), self.process.kill)
        killer.start()
        output = self.process.stdout.read()
        _, status, usage = os.wait4(self.process.pid, 0)
        killer.cancel()
        wall = wall or time.monotonic() - self.begun
        self.over.set()
        self.watch.join()
        self.process.returncode = os.waitstatus_to_exitcode(status)
        # A process that is done before its start is over ends at once when told to.
        fine = (0,) if done is None else (0, -signal.SIGTERM)
        if self.process.returncode not in fine:
            raise SystemExit(f"compare: {self.process.args[0]} ended with {self.process.returncode}:\n{self.tail()}")
        # The kernel's own mark of the greatest process, which sampling may have missed.
        peak = max(self.peak, usage.ru_maxrss * 1024)
        return {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_bytes": peak}, output.decode()

    def tail(self):
        return Path(self.log).read_text(errors="replace")[-3000:]
