#!/usr/bin/env python3
"""A subscriber that is killed and comes back, again and again, while records flow.

usage: subscriber.py drive --address HOST:PORT --stubs FOLDER --journal FILE [--kills N] [--seed N]
       subscriber.py follow --address HOST:PORT --stubs FOLDER --journal FILE      (what is killed)

`follow` is a plain gRPC client over stubs made from our .proto files. It writes a line to its journal for every message it has handled, and
comes back with the token of the last whole line. `drive` pushes records until `follow` has been killed N times (SIGKILL, at random points:
before the first message, between messages, while one is written), lets it catch up, and compares what the journal adds up to with what
the server says (GetRisk). It prints one line of JSON and fails where anything is missing, repeated or wrong.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

DEADLINE = 60.0
POLL = 0.005


def stubs(folder):
    sys.path.insert(0, str(folder))
    import grpc
    from shiyu.v1 import event_pb2, intake_pb2, intake_pb2_grpc, risk_pb2, risk_pb2_grpc

    return grpc, event_pb2, intake_pb2, intake_pb2_grpc, risk_pb2, risk_pb2_grpc


def score_of(score):
    """Everything a subscriber keeps of a score; `input_offset` and `scored_at_us` name the rescoring."""
    contributions = [[part.factor, part.value, part.points] for part in score.contributions]
    return [score.score, score.level, score.window_end_us, score.input_offset, score.scored_at_us, contributions]


def read_journal(path):
    """The whole lines: the last one may be torn by the kill."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1]]


def cut_torn_line(path):
    if path.exists():
        text = path.read_bytes()
        os.truncate(path, text.rfind(b"\n") + 1)


def follow(arguments):
    grpc, _, _, _, risk_pb2, risk_pb2_grpc = stubs(arguments.stubs)
    cut_torn_line(arguments.journal)
    lines = read_journal(arguments.journal)
    token = lines[-1]["token"] if lines else ""
    journal = os.open(arguments.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    channel = grpc.insecure_channel(arguments.address)
    request = risk_pb2.SubscribeRiskRequest(resume_token=token)
    for message in risk_pb2_grpc.RiskServiceStub(channel).SubscribeRisk(request):
        step = message.WhichOneof("step")
        line = {"token": message.resume_token, "step": step, "resumed_from": token}
        if step == "snapshot":
            line |= {"first": message.snapshot.first, "last": message.snapshot.last, "reset": message.snapshot.reset}
            line["changed"] = {str(score.cell): score_of(score) for score in message.snapshot.scores}
        elif step == "delta":
            line["changed"] = {str(score.cell): score_of(score) for score in message.delta.changed}
            line["removed"] = [str(cell) for cell in message.delta.removed]
        # Two writes, so that a kill may tear the line.
        text = (json.dumps(line) + "\n").encode()
        middle = len(text) // 2
        os.write(journal, text[:middle])
        os.write(journal, text[middle:])


class Pusher(threading.Thread):
    """Pushes orders at random places until it is told to stop."""

    def __init__(self, arguments, chance):
        super().__init__(daemon=True)
        self.arguments, self.chance = arguments, chance
        self.stop = threading.Event()
        self.pushed, self.failure = 0, None

    def order(self):
        number, minute = self.pushed, self.pushed // 4
        return json.dumps(
            {
                "id": f"S{number:07d}",
                "at": f"2026-03-0{min(9, 6 + minute // 1440)} {minute % 1440 // 60:02d}:{minute % 60:02d}:00",
                "updated": "2026-03-10 00:00:00",
                "kind": self.chance.choice(["噪声", "夜间噪声", "路灯"]),
                "lng": f"{self.chance.gauss(120.2, 0.04):.6f}",
                "lat": f"{self.chance.gauss(30.2, 0.04):.6f}",
                "status": self.chance.choice(["派单", "办结"]),
            }
        )

    def run(self):
        try:
            grpc, _, intake_pb2, intake_pb2_grpc, _, _ = stubs(self.arguments.stubs)
            intake = intake_pb2_grpc.IntakeServiceStub(grpc.insecure_channel(self.arguments.address))
            while not self.stop.is_set():
                records = []
                for _ in range(self.chance.randrange(1, 20)):
                    records.append(self.order())
                    self.pushed += 1
                key = f"subscriber-{self.pushed}"
                answer = intake.Push(intake_pb2.PushRequest(feed="orders", records=records, idempotency_key=key, wait=intake_pb2.WAIT_SETTLED))
                wrong = [receipt for receipt in answer.receipts if receipt.outcome != intake_pb2.OUTCOME_ACCEPTED]
                if wrong:
                    raise RuntimeError(f"was not accepted: {wrong[0]}")
        except Exception as error:  # told by the driver
            self.failure = error


def start(arguments, journal):
    command = [sys.executable, __file__, "follow", "--address", arguments.address, "--stubs", str(arguments.stubs), "--journal", str(journal)]
    return subprocess.Popen(command)


def size(journal):
    return journal.stat().st_size if journal.exists() else 0


def wait_for_growth(journal, client, pusher, bytes_more):
    """Until the journal is longer by some bytes: a byte count, so that kills also fall within a line."""
    until, wanted = time.monotonic() + DEADLINE, size(journal) + bytes_more
    while size(journal) < wanted:
        if client.poll() is not None:
            sys.exit(f"FAILED: the subscriber ended by itself: {client.returncode}")
        if pusher.failure:
            sys.exit(f"FAILED: {pusher.failure}")
        if time.monotonic() > until:
            sys.exit("FAILED: the subscriber was sent nothing for a minute")
        time.sleep(POLL)


def replay(lines):
    """What the journal adds up to, and what in it must not be."""
    state, seen, found = {}, set(), {"snapshots": 0, "repeated": 0, "tokens_back": 0}
    newest = -1
    for line in lines:
        offset = int(line["token"].split("-")[1], 16)
        if line["step"] == "snapshot":
            if line["first"]:
                found["snapshots"] += 1
                state = {}
            # The parts before the last carry a token that starts the snapshot again.
            offset = offset if line["last"] else newest
        if offset < newest:
            found["tokens_back"] += 1
        newest = max(newest, offset)
        for cell, score in line.get("changed", {}).items():
            name = (cell, score[3], score[4], score[0])
            found["repeated"] += name in seen
            seen.add(name)
            state[cell] = score
        for cell in line.get("removed", []):
            state.pop(cell, None)
    return state, found


def truth(arguments):
    grpc, _, _, _, risk_pb2, risk_pb2_grpc = stubs(arguments.stubs)
    answer = risk_pb2_grpc.RiskServiceStub(grpc.insecure_channel(arguments.address)).GetRisk(risk_pb2.GetRiskRequest())
    scores = {str(score.cell): json.loads(json.dumps(score_of(score))) for score in answer.scores}
    return scores, int(answer.resume_token.split("-")[1], 16)


def settle(arguments, journal, client):
    """Lets the client catch up with a server at rest."""
    until, before = time.monotonic() + DEADLINE, None
    while time.monotonic() < until:
        scores, offset = truth(arguments)
        lines = read_journal(journal)
        if lines and int(lines[-1]["token"].split("-")[1], 16) >= offset and offset == before:
            return scores
        if client.poll() is not None:
            sys.exit(f"FAILED: the subscriber ended by itself: {client.returncode}")
        before = offset
        time.sleep(0.3)
    sys.exit("FAILED: the subscriber did not catch up within a minute")


def drive(arguments):
    chance = random.Random(arguments.seed)
    journal = arguments.journal
    pusher = Pusher(arguments, random.Random(arguments.seed + 1))
    begun = time.monotonic()
    pusher.start()
    resumes = torn = 0
    client = start(arguments, journal)
    for kill in range(arguments.kills):
        if kill % 10 == 9:
            # Sometimes before it has done anything.
            time.sleep(chance.uniform(0, 0.4))
        else:
            wait_for_growth(journal, client, pusher, chance.randrange(1, 20_000))
        client.send_signal(signal.SIGKILL)
        client.wait()
        data = journal.read_bytes() if journal.exists() else b""
        torn += bool(data) and not data.endswith(b"\n")
        resumes += bool(data)
        client = start(arguments, journal)
    wait_for_growth(journal, client, pusher, 1)
    pusher.stop.set()
    pusher.join(DEADLINE)
    if pusher.failure or pusher.is_alive():
        sys.exit(f"FAILED: pushing: {pusher.failure or 'does not end'}")
    expected = settle(arguments, journal, client)
    client.kill()
    client.wait()
    lines = read_journal(journal)
    state, found = replay(lines)
    figures = {
        "kills": arguments.kills,
        "resumed": resumes,
        "torn_lines": torn,
        "pushed": pusher.pushed,
        "messages": len(lines),
        "changes": sum(len(line.get("changed", {})) for line in lines),
        "places": len(expected),
        **found,
        "missing": len(expected.keys() - state.keys()),
        "superfluous": len(state.keys() - expected.keys()),
        "mismatched": sum(state[cell] != expected[cell] for cell in expected.keys() & state.keys()),
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(figures))
    bad = [name for name in ("repeated", "tokens_back", "missing", "superfluous", "mismatched") if figures[name]]
    if bad or figures["snapshots"] != 1 or not expected or figures["messages"] < arguments.kills:
        sys.exit(f"FAILED: {bad or 'more than one snapshot, or nothing to see'}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["drive", "follow"])
    parser.add_argument("--address", required=True)
    parser.add_argument("--stubs", type=pathlib.Path, required=True)
    parser.add_argument("--journal", type=pathlib.Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    drive(arguments) if arguments.what == "drive" else follow(arguments)


main()
