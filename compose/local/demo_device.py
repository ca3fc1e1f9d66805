"""A device of the demos: REST calls and WebSockets with its token; and what is printed of it, as a timeline."""

import json
import time

import requests
import websocket

from make_token import make

API, WS = "http://127.0.0.1:8080", "ws://127.0.0.1:8081/ws"


class Timeline:
    def __init__(self):
        self.start = time.perf_counter()

    def say(self, who, what):
        print(f"{(time.perf_counter() - self.start) * 1000:9.1f} ms  {who:8} {what}", flush=True)


class Device:
    def __init__(self, secret, user, name):
        self.name = name
        self.token = make(secret, user, name)
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {self.token}"

    def call(self, method, path, **more):
        answer = self.http.request(method, API + path, timeout=10, **more)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def watch(self, session_id):
        socket = websocket.create_connection(
            f"{WS}?session={session_id}", subprotocols=["handoff.v1"], timeout=10, suppress_origin=True,
            header=[f"Authorization: Bearer {self.token}"])
        return socket

    def patch(self, session_id, path, value):
        return self.call("PATCH", f"/sessions/{session_id}",
                         json={"operations": [{"op": "replace", "path": path, "value": value}]})


def next_frame(socket, type, **members):
    while True:
        frame = json.loads(socket.recv())
        if frame["type"] == type and all(frame[name] == value for name, value in members.items()):
            return frame
