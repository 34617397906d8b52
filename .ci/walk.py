#!/usr/bin/env python3
"""Walks through a deployed cluster by its load balancer, then replaces its workers under load.

Usage: walk.py URL SETUP-CODE [CONTAINER ...]: the containers are restarted one after the other, twice, while requests
go on; none may fail and no session may be lost. Prints what it saw; exit 0 only if all was right.
"""

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

URL, CODE = sys.argv[1].rstrip("/"), sys.argv[2]
CONTAINERS = " ".join(sys.argv[3:]).split()
PASSWORD = "a-password-of-the-walk"
JAIL = "/api/v1/servers/host/jails/login"


def call(method, path, body=None, token=None, expect=None):
    """Status, document and worker; each call is a connection of its own, so the load balancer chooses anew."""
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, text, worker = answer.status, answer.read(), answer.headers.get("x-bangui-worker")
    except urllib.error.HTTPError as error:
        status, text, worker = error.code, error.read(), error.headers.get("x-bangui-worker")
    if expect and status != expect:
        sys.exit(f"{method} {path}: {status} instead of {expect}: {text[:600]!r}")
    is_json = text[:1] in (b"{", b"[")
    return status, json.loads(text) if is_json else text, worker


def until(what, look, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    sys.exit(f"waited {seconds} s in vain for: {what}")


def login():
    _, document, worker = call("POST", "/api/v1/session", {"password": PASSWORD}, expect=201)
    return document["token"], worker


def walk():
    call("POST", "/api/v1/setup", {"password": PASSWORD, "token": CODE}, expect=201)
    token, first = login()
    others = set()
    until("a check on another worker", lambda: others.add(call("GET", "/api/v1/session", token=token, expect=200)[2]) or others - {first})
    print(f"logged in on worker {first}, checked on {', '.join(sorted(others - {first}))}")
    until("the server to be up", lambda: call("GET", "/api/v1/servers/host", token=token, expect=200)[1]["status"]["condition"] == "up")
    status, document, _ = call("GET", "/metrics")
    if status != 404:
        sys.exit(f"/metrics is passed on to the outside: {status}")
    _, jail, _ = call("PATCH", JAIL, {"maxretry": 7}, token=token, expect=200)
    if jail["maxretry"] != 7:
        sys.exit(f"the setting was not changed: {jail}")
    call("POST", JAIL + "/deactivate", token=token, expect=200)
    call("POST", JAIL + "/activate", token=token, expect=200)
    print("changed a jail's setting, switched the jail off and on")
    call("DELETE", "/api/v1/session", token=token, expect=204)
    for _ in range(12):
        call("GET", "/api/v1/session", token=token, expect=401)
    print("logged out: refused on every worker")


def replace_under_load():
    """Each container is stopped and started in turn, twice."""
    sessions = [login()[0] for _ in range(5)]
    tally, failures, stop = {"login": 0, "check": 0, "write": 0}, [], threading.Event()

    def load(kind, pause):
        while not stop.is_set():
            began = time.monotonic()
            try:
                token = sessions[tally[kind] % len(sessions)]
                if kind == "login":
                    status = call("POST", "/api/v1/session", {"password": PASSWORD})[0]
                    good = status in (201, 429)
                elif kind == "check":
                    status = call("GET", "/api/v1/session", token=token)[0]
                    good = status == 200
                else:
                    status = call("POST", "/api/v1/servers/host/probe", token=token)[0]
                    good = status == 202
            except OSError as error:
                status, good = error, False
            tally[kind] += 1
            if not good:
                failures.append(f"{kind}: {status}")
            stop.wait(max(0.0, pause - (time.monotonic() - began)))

    threads = [threading.Thread(target=load, args=arguments) for arguments in
               [("check", 0.04)] * 6 + [("write", 0.1)] * 3 + [("login", 1.0)]]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for _ in range(2):
        for container in CONTAINERS:
            subprocess.run(["docker", "restart", "--time", "20", container], check=True, stdout=subprocess.DEVNULL)
            until("the worker to be healthy again", lambda: subprocess.run(
                ["docker", "inspect", "--format", "{{.State.Health.Status}}", container],
                check=True, capture_output=True, text=True).stdout.strip() == "healthy")
    stop.set()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    lost = sum(call("GET", "/api/v1/session", token=token)[0] != 200 for token in sessions)
    total = sum(tally.values())
    print(f"{len(CONTAINERS)} workers replaced twice under {total / seconds:.0f} requests a second "
          f"({', '.join(f'{count} {kind}s' for kind, count in tally.items())} in {seconds:.0f} s): "
          f"{len(failures)} failed, {lost} of {len(sessions)} sessions lost")
    if failures or lost:
        sys.exit("; ".join(failures[:10]))


walk()
if CONTAINERS:
    replace_under_load()
