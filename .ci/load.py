#!/usr/bin/env python3
"""Keeps a deployed cluster busy while its workers are replaced, and reports what its users would have noticed.

Usage: command-that-replaces-the-workers | load.py URL. The load lasts until standard input ends; the lines of the command are
printed with the time in seconds. PASSWORD is the account's password, if it differs from that of walk.py.

A mix of session checks, writes (bans and settings) and logins at fixed times, whether the answers are quick or not, on
connections that stay open as those of browsers do. Nothing is tried twice: a request without the right answer has
failed. At the same time the schedule is watched in `GET /api/v1/cluster`, and streams of events are held open. Exit 0 only if at
least AIM requests a second were answered, none failed, no session was lost, and no job ran late or twice.
"""

import asyncio
import collections
import datetime
import json
import os
import sys
import time
import urllib.parse

URL = urllib.parse.urlsplit(sys.argv[1])
HOST, PORT = URL.hostname, URL.port or 80
PASSWORD = os.environ.get("PASSWORD", "a-password-of-the-walk")
JAIL = os.environ.get("JAIL", "login")
AIM = 200
# Connections and requests a second on each. A ban and its end are two requests.
CHECKS, WRITES, LOGINS = (80, 2.5), (10, 2.0), (4, 0.75)
LISTENERS = 6
# A leader that is stopped releases the lease at once: this is the delay that a busy machine may add.
TAKEOVER = 2.0
PATIENCE = 30

tally, took, failures = collections.Counter(), collections.defaultdict(list), []
sessions, stop, began = [], asyncio.Event(), time.monotonic()


class Connection:
    """One connection that is kept open until the other side says `close`."""

    def __init__(self):
        self.reader = self.writer = None

    async def ask(self, method, path, body=None, token=None, **headers):
        """Status, document and headers."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(HOST, PORT)
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"host: {URL.netloc}", f"content-length: {len(data)}",
                 "content-type: application/json"]
        if token:
            lines.append(f"authorization: Bearer {token}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(head[0].split(" ")[1])
            heads = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in head[1:] if ":" in line}
            text = b""
            if status != 204:
                text = await self.reader.readexactly(int(heads["content-length"]))
        except BaseException:
            self.close()
            raise
        if heads.get("connection", "").lower() == "close":
            self.close()
        return status, json.loads(text) if text[:1] in (b"{", b"[") else text, heads

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


async def right(connection, kind, expect, *request, **more):
    """The document of one request, or None: then it has failed, and is counted."""
    start = time.monotonic()
    try:
        status, document, _ = await asyncio.wait_for(connection.ask(*request, **more), PATIENCE)
        wrong = None if status == expect else f"{status} {document!r:.300}"
    except (OSError, EOFError, asyncio.TimeoutError, ValueError, KeyError) as error:
        connection.close()
        document, wrong = None, repr(error)
    tally[kind] += 1
    took[kind].append(time.monotonic() - start)
    if wrong is None:
        return document
    failures.append(f"{time.monotonic() - began:.1f} s: {kind} {request[0]} {request[1]}: {wrong}")
    return None


async def at_fixed_times(index, count, rate, step):
    """Runs `step` on a separate connection, `rate` times a second: an answer that is late makes none be left out."""
    connection, turn = Connection(), 0
    due = time.monotonic() + index / (rate * count)
    while not stop.is_set():
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await step(connection, index, turn)
        turn, due = turn + 1, due + 1 / rate
    connection.close()


async def check(connection, index, turn):
    await right(connection, "check", 200, "GET", "/api/v1/session", token=sessions[(index + turn * 7) % len(sessions)])


async def login(connection, index, turn):
    document = await right(connection, "login", 201, "POST", "/api/v1/session", body={"password": PASSWORD})
    if document:
        sessions.append(document["token"])


def write_to(server):
    jail = f"/api/v1/servers/{server}/jails/{JAIL}/bans"

    async def write(connection, index, turn):
        token = sessions[turn % len(sessions)]
        if index == 0:
            # Only one client, or each would see the other's revisions.
            body = {"activation_crash_window_seconds": 60 + turn % 2}
            await right(connection, "write", 200, "PATCH", "/api/v1/settings", body=body, token=token, if_match="*")
            return
        address = f"203.0.113.{index * 25 + turn // 2 % 25}"
        if turn % 2 == 0:
            answer = await right(connection, "write", 200, "POST", jail, body={"ips": [address]}, token=token)
        else:
            answer = await right(connection, "write", 200, "DELETE", f"{jail}/{address}", token=token)
        banned = answer["results"][0]["banned"] if answer else None
        if answer and banned is not (turn % 2 == 0):
            failures.append(f"write: {address} is banned: {banned}")

    return write


class Listeners:
    """Streams of events, which a worker that stops ends, and which another takes up where they were."""

    def __init__(self):
        self.heard, self.ends, self.there = [[] for _ in range(LISTENERS)], 0, True

    async def listen(self, index):
        while not stop.is_set() and self.there:
            try:
                await self.one_stream(self.heard[index])
            except (OSError, EOFError, asyncio.TimeoutError, ValueError) as error:
                failures.append(f"{time.monotonic() - began:.1f} s: events: {error!r}")
                await asyncio.sleep(0.2)

    async def one_stream(self, heard):
        reader, writer = await asyncio.open_connection(HOST, PORT)
        lines = ["GET /api/v1/events HTTP/1.1", f"host: {URL.netloc}", f"authorization: Bearer {sessions[0]}",
                 "connection: close"]
        lines += [f"last-event-id: {heard[-1]}"] if heard else []
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            status = int(head.split(b" ")[1])
            self.there = self.there and status != 404
            if self.there and status != 200:
                raise ValueError(f"a stream of events was answered {status}")
            # At least a comment must come in this time; otherwise a proxy buffers the stream.
            place, is_event = None, False
            while self.there and (line := await asyncio.wait_for(reader.readline(), 20)):
                # A block ends with an empty line; that of a chunk has a carriage return. The first block has a place, and no event.
                if line.startswith(b"id:"):
                    place = line[3:].strip().decode()
                elif line.startswith(b"data:"):
                    is_event = True
                elif line == b"\n":
                    heard += [place] if place and is_event else []
                    place, is_event = None, False
            self.ends += not stop.is_set()
        finally:
            writer.close()

    def report(self):
        if not self.there:
            print("  NOT RUN: streams of events, since this version has none")
            return []
        events = sorted({event for heard in self.heard for event in heard}, key=lambda event: [int(part) for part in event.split("-")])
        mistakes = []
        for heard in self.heard:
            # All streams must have the same events, from the first to the last that each of them got.
            wanted = events[events.index(heard[0]):events.index(heard[-1]) + 1] if heard else events
            if heard != wanted:
                where = next((at for at, pair in enumerate(zip(heard, wanted)) if pair[0] != pair[1]), "the end")
                mistakes.append(f"a stream has {len(heard)} events, {len(set(heard))} of them once, instead of "
                                f"{len(wanted)}; the first that is another one is at {where}")
        print(f"  {LISTENERS} streams of {len(events)} events, ended {self.ends} times and taken up again; {len(mistakes)} with gaps or repeats")
        return mistakes


class Schedule:
    """What the cluster reports about its jobs and workers, read five times a second."""

    def __init__(self):
        self.jobs, self.epochs, self.together = {}, set(), set()

    async def watch(self):
        connection = Connection()
        while not stop.is_set():
            document = await right(connection, "look", 200, "GET", "/api/v1/cluster", token=sessions[0])
            epoch = document["lease"]["epoch"] if document and document["lease"] else None
            for job in document["jobs"] if document else []:
                self.note(job, epoch)
            if document:
                self.epochs.update([document["lease"]["epoch"]] if document["lease"] else [])
                self.together.add(" and ".join(sorted({worker["version"] for worker in document["workers"]})))
            await asyncio.sleep(0.2)

    def note(self, job, epoch):
        if not job["last_started_at"]:
            return
        moment = lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
        at = moment(job["last_started_at"])
        seen = self.jobs.setdefault(
            job["name"],
            {"at": at, "runs": job["runs"], "epoch": epoch, "ended": False, "gaps": [], "doubled": 0, "repeated": 0},
        )
        seen["interval"] = job["interval_seconds"]
        if job["runs"] != seen["runs"]:
            gap, runs = at - seen["at"], job["runs"] - seen["runs"]
            # A run that a leader began and did not end is begun again at once by the next leader, off the grid.
            if runs == 1 and gap < seen["interval"] - 1 and not seen["ended"] and epoch != seen["epoch"]:
                seen["repeated"] += 1
            else:
                seen["gaps"].append(gap)
                # Two runs between two polls would be one too many, unless the polls were too far apart to tell, or the second
                # is the first begun again by the next leader: the poll did not see that the first had not ended.
                if runs != 1 and gap < runs * (seen["interval"] - 1):
                    seen["repeated" if runs == 2 and epoch != seen["epoch"] else "doubled"] += 1
                seen["at"] = at
            seen.update(runs=job["runs"], epoch=epoch)
        seen["ended"] = job["last_finished_at"] is not None and moment(job["last_finished_at"]) >= at

    def report(self):
        mistakes = []
        for name, seen in sorted(self.jobs.items()):
            gaps, interval = seen["gaps"], seen["interval"]
            if not gaps:
                continue
            print(f"  job {name}, each {interval} s: {len(gaps)} runs, "
                  f"{min(gaps):.2f} to {max(gaps):.2f} s from one to the next"
                  + (f"; {seen['repeated']} begun again that a leader had not ended" if seen["repeated"] else ""))
            if max(gaps) > interval + TAKEOVER:
                mistakes.append(f"job {name} was late: {max(gaps):.2f} s instead of {interval}")
            if seen["doubled"] or min(gaps) < interval - 1:
                mistakes.append(f"job {name} ran twice: {min(gaps):.2f} s apart")
        if "probe" not in self.jobs or len(self.jobs["probe"]["gaps"]) < 3:
            mistakes.append("the schedule was not seen to run")
        print(f"  {len(self.epochs)} terms of leaders; versions at once: {', '.join(sorted(self.together))}")
        return mistakes


async def marks():
    """Prints what comes on standard input; at its end the load ends."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(f"  {time.monotonic() - began:5.1f} s  {line.decode().rstrip()}", flush=True)
    stop.set()


async def main():
    global began
    setup = Connection()
    for _ in range(20):
        status, document, _ = await setup.ask("POST", "/api/v1/session", {"password": PASSWORD})
        if status != 201:
            sys.exit(f"cannot log in: {status} {document}")
        sessions.append(document["token"])
    _, servers, _ = await setup.ask("GET", "/api/v1/servers", token=sessions[0])
    server = servers["items"][0]["name"]
    schedule, began = Schedule(), time.monotonic()
    steps = [(CHECKS, check), (WRITES, write_to(server)), (LOGINS, login)]
    tasks = [at_fixed_times(index, count, rate, step) for (count, rate), step in steps for index in range(count)]
    listeners = Listeners()
    streams = [asyncio.ensure_future(listeners.listen(index)) for index in range(LISTENERS)]
    await asyncio.gather(marks(), schedule.watch(), *tasks)
    seconds = time.monotonic() - began
    await asyncio.sleep(1)
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)

    # A new connection: the old one was idle for too long for any load balancer.
    setup.close()
    lost = 0
    for token in sessions:
        lost += await right(setup, "last look", 200, "GET", "/api/v1/session", token=token) is None
    tally.pop("last look")
    answered = (sum(tally.values()) - len(failures)) / seconds
    offered = sum(count * rate for (count, rate), _ in steps)
    print(f"{answered:.0f} requests a second answered of {offered:.0f} offered, for {seconds:.0f} s: "
          f"{', '.join(f'{count} {kind}s' for kind, count in sorted(tally.items()))}")
    for kind, times in sorted(took.items()):
        times.sort()
        print(f"  {kind}: p50 {times[len(times) // 2] * 1e3:.0f} ms, p99 {times[len(times) * 99 // 100] * 1e3:.0f} ms, "
              f"longest {times[-1] * 1e3:.0f} ms")
    print(f"  {len(failures)} requests failed, {lost} of {len(sessions)} sessions lost")
    mistakes = schedule.report() + listeners.report() + failures[:20]
    if answered < AIM:
        mistakes.append(f"only {answered:.0f} requests a second were answered: {AIM} are the aim")
    if mistakes:
        sys.exit("\n".join(mistakes))


asyncio.run(main())
