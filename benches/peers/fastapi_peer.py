"""The same work in Python: FastAPI on uvicorn, one GET on one Redis connection for each request (see src/main.rs)."""

import json
import os
import socket

import redis.asyncio
import uvicorn
from fastapi import FastAPI, Request, Response

answer = json.load(open(os.environ["PEER_ANSWER"], encoding="utf-8"))
store = redis.asyncio.from_url(os.environ["PEER_REDIS_URL"])
app = FastAPI()


@app.post("/login")
async def log_in() -> Response:
    await store.set("peer-session-python", "x" * 160)
    return Response(headers={"set-cookie": "token=peer-session-python"})


@app.get("/session")
async def session(request: Request) -> Response:
    token = request.cookies.get("token")
    if token is None or await store.get(token) is None:
        return Response(status_code=401)
    return Response(answer["body"], headers=dict(answer["headers"]))


listener = socket.create_server(("127.0.0.1", 0))
print("{}:{}".format(*listener.getsockname()), flush=True)
uvicorn.run(app, fd=listener.fileno(), log_level="warning", access_log=False)
