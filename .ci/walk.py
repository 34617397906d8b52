#!/usr/bin/env python3
"""Walks through a deployed cluster via its load balancer: login, check on another worker, ban, jail settings, logout.

Usage: walk.py URL ..., with SETUP_CODE in the environment, PASSWORD if the account is to have another one than the walk's,
FAIL2BAN_CLIENT if fail2ban itself can be asked from here, FAIL2BAN_STOP if it can be stopped and the agent can start it, and
OUTSIDE=no if the workers are asked directly (several in
turn), where nothing keeps their figures inside. Prints what it saw; exit 0 only if all was right. Needs python3 and
nothing else, since it also runs in a pod.
"""

import itertools
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

URLS = itertools.cycle([url.rstrip("/") for url in sys.argv[1:]])
CODE = os.environ["SETUP_CODE"]
PASSWORD = os.environ.get("PASSWORD", "a-password-of-the-walk")
OUTSIDE = os.environ.get("OUTSIDE", "yes") == "yes"
CLIENT = os.environ.get("FAIL2BAN_CLIENT", "").split()
JAIL = os.environ.get("JAIL", "login")
BANNED = "203.0.113.7"
ELSEWHERE = "198.51.100.9"


def call(method, path, body=None, token=None, expect=None):
    """Status, document and worker; each call is a new connection, so the load balancer chooses again."""
    # The second header claims to come from somebody else: it must be ignored.
    headers = {"content-type": "application/json", "x-forwarded-for": ELSEWHERE}
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(next(URLS) + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=150) as answer:
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


def demand(right, what):
    if not right:
        sys.exit(what)


def log_in():
    call("POST", "/api/v1/setup", {"password": PASSWORD, "token": CODE}, expect=201)
    _, document, first = call("POST", "/api/v1/session", {"password": PASSWORD}, expect=201)
    token, others = document["token"], set()

    def check():
        _, session, worker = call("GET", "/api/v1/session", token=token, expect=200)
        if OUTSIDE and session["ip"] == ELSEWHERE:
            sys.exit(f"a client's own X-Forwarded-For is trusted: {session}")
        others.add(worker)
        return others - {first}

    until("a check on another worker", check)
    print(f"logged in on worker {first}, checked on {', '.join(sorted(others - {first}))}")
    return token


def the_inside_stays_inside():
    for path in ("/metrics", "/metrics/", "/metrics?x=1", "//metrics", "/%6detrics", "/./metrics"):
        status, _, _ = call("GET", path)
        demand(status == 404, f"{path} is passed on to the outside: {status}")
    print("metrics are not passed on to the outside")


def ban(token, jail):
    status, answer, _ = call("POST", f"{jail}/bans", {"ips": [BANNED]}, token=token, expect=200)
    result = answer["results"][0]
    demand(result["banned"] is True and result["changed"] is True, f"not banned: {answer}")
    if CLIENT:
        said = subprocess.run([*CLIENT, "get", JAIL, "banip"], check=True, capture_output=True, text=True).stdout
        demand(BANNED in said.split(), f"fail2ban does not ban it: {said!r}")

    def listed():
        _, page, _ = call("GET", f"{jail}/bans?q={BANNED}", token=token, expect=200)
        return any(item["ip"] == BANNED for item in page["items"])

    until("the ban in the list", listed)
    _, where, _ = call("GET", f"/api/v1/bans/{BANNED}", token=token, expect=200)
    demand(JAIL in json.dumps(where), f"the search does not find the ban: {where}")
    call("DELETE", f"{jail}/bans/{BANNED}", token=token, expect=200)
    if CLIENT:
        said = subprocess.run([*CLIENT, "get", JAIL, "banip"], check=True, capture_output=True, text=True).stdout
        demand(BANNED not in said.split(), f"fail2ban still bans it: {said!r}")
    until("the ban to leave the list", lambda: not listed())
    asked = ", which fail2ban confirmed" if CLIENT else ""
    print(f"banned {BANNED}{asked}, saw it in the list and in the search, lifted it")


def change(token, jail):
    _, shown, _ = call("PATCH", jail, {"maxretry": 7, "persistent": True}, token=token, expect=200)
    demand(shown["maxretry"] == 7, f"the setting was not changed: {shown}")
    call("POST", jail + "/deactivate", token=token, expect=200)
    call("POST", jail + "/activate", token=token, expect=200)
    _, shown, _ = call("GET", jail, token=token, expect=200)
    demand(shown["maxretry"] == 7, f"the setting did not last: {shown}")
    print("changed a jail's setting for good, switched the jail off and on")


def fall(token, server, jail):
    """fail2ban goes down soon after a jail was switched on: that jail is switched off, and fail2ban comes back."""
    call("POST", jail + "/deactivate", token=token, expect=200)
    call("POST", jail + "/activate", token=token, expect=200)
    subprocess.run(os.environ["FAIL2BAN_STOP"].split(), check=True)
    until("the crash to be noticed", lambda: call("GET", server, token=token, expect=200)[1]["pending_recovery"])
    call("POST", server + "/recovery/rollback", token=token, expect=200)
    until("fail2ban to be up", lambda: call("GET", server, token=token, expect=200)[1]["status"]["condition"] == "up")
    _, shown, _ = call("GET", jail, token=token, expect=200)
    demand(not shown["active"], f"the jail runs again: {shown}")
    call("POST", jail + "/activate", token=token, expect=200)
    print("stopped fail2ban after a jail was switched on: rolled back, the agent has started fail2ban")


def walk():
    token = log_in()
    if OUTSIDE:
        the_inside_stays_inside()
    servers = until("a server", lambda: call("GET", "/api/v1/servers", token=token, expect=200)[1]["items"])
    for server in servers:
        name = server["name"]
        until(f"server {name} to be up", lambda: call(
            "GET", f"/api/v1/servers/{name}", token=token, expect=200)[1]["status"]["condition"] == "up")
    name = servers[0]["name"]
    print(f"fail2ban is up on {', '.join(server['name'] for server in servers)}")
    jail = f"/api/v1/servers/{name}/jails/{JAIL}"
    ban(token, jail)
    change(token, jail)
    if os.environ.get("FAIL2BAN_STOP"):
        fall(token, f"/api/v1/servers/{name}", jail)
    call("DELETE", "/api/v1/session", token=token, expect=204)
    for _ in range(12):
        call("GET", "/api/v1/session", token=token, expect=401)
    print("logged out: refused on every worker")


walk()
