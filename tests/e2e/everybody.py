"""Everybody who may ask for a session, ten kinds and three more: what each is, and how it asks over REST. The tables of who may
what have a column for each."""

import requests

from documents import OpenApi
from harness import MAX_WAIT, new_user
from rest import MISSING_ID, path_of

API = OpenApi()

# nobody: without a token; expired: the owner's token, an hour too late; stranger; viewer; editor; owner; reader: the owner's, with
# the scope to read alone; admin: not a participant, with all scopes; removed: the owner's, on a device that it keeps out; wrong: the
# owner's token for one device, sent as another.
TEN = ["nobody", "expired", "stranger", "viewer", "editor", "owner", "reader", "admin", "removed", "wrong"]
# only_admin: with that scope alone; writer: the owner's, with the scope to write alone; deviceless: the owner's, for no device.
ALL = TEN + ["only_admin", "writer", "deviceless"]

OK, UNAUTHENTICATED, EXPIRED, FORBIDDEN, REMOVED, NOT_FOUND, NO_DEVICE = (
    "ok", (401, "unauthenticated"), (401, "token_expired"), (403, "forbidden"), (403, "device_removed"), (404, "not_found"),
    (400, "invalid_request"))
# What holds wherever a token is asked for.
WITHOUT = {"nobody": UNAUTHENTICATED, "expired": EXPIRED, "wrong": FORBIDDEN}


class Everybody:
    """The same for all sessions that it makes."""

    def __init__(self, suite):
        user = new_user()
        self.suite, self.owner = suite, suite.device(user, "phone")
        self.editor, self.viewer = (suite.device(new_user(), device) for device in ("tablet", "screen"))
        self.stranger, self.removed = suite.device(new_user(), "car"), suite.device(user, "lost")
        self.admin = suite.device(new_user(), "console", scope="sessions:read sessions:write sessions:admin")
        self.only_admin = suite.device(new_user(), "console", scope="sessions:admin")
        self.reader = suite.device(user, "phone", scope="sessions:read")
        self.writer = suite.device(user, "phone", scope="sessions:write")
        self.deviceless, self.wrong = suite.device(user, None), suite.device(user, "phone")
        self.wrong.http.headers["X-Device-Id"] = "another"
        self.expired = suite.device(user, "phone", seconds=-3600)
        for who in ALL:
            if who != "nobody":
                self.of(who).http.hooks["response"] = [API.check_answer]

    def of(self, who):
        return getattr(self, who)

    def session(self, data=None, **more):
        """A new one, at version 4."""
        session = self.owner.create(data if data is not None else {"n": 0}, **more)
        path = path_of(session)
        for device, role in ((self.editor, "editor"), (self.viewer, "viewer")):
            assert self.owner.request("PUT", f"{path}/participants/{device.user}", json={"role": role}).ok
        assert self.owner.delete(f"{path}/devices/lost").status_code == 204
        return session

    def code_of(self, session):
        if "code" not in session:
            answer = self.owner.post(f"{path_of(session)}/handoff-codes", json={})
            session["code"] = answer.json()["code"] if answer.ok else "A" * 22
        return session["code"]

    def ask(self, who, method, path, session, **more):
        """path: behind /sessions/{id}, with what is named in it filled in."""
        path = f"{path_of(session)}{path}".format(version=1, deviceId="tv", userId=MISSING_ID, participantId="a",
                                                  code=self.code_of(session) if "{code}" in path else None)
        return self.request(who, method, path, **more)

    def request(self, who, method, path, **more):
        if who == "nobody":
            return requests.request(method, self.suite.api_url + path, timeout=MAX_WAIT, **more)
        return self.of(who).request(method, path, **more)


def check(answer, expected, who, cache="private, no-cache"):
    """It is OK, or (status, code); with the headers of every answer."""
    assert answer.headers["Cache-Control"] in (cache, "private, no-cache" if not answer.ok else cache)
    assert answer.headers["X-Request-Id"] and answer.headers["X-API-Version"] == "1"
    assert answer.headers["Vary"].startswith("Authorization, Origin")
    if expected == OK:
        assert answer.ok, f"{who}: {answer.status_code} {answer.text[:500]}"
        return
    assert answer.status_code == expected[0], f"{who}: {answer.status_code} {answer.text[:500]}"
    assert answer.headers["Content-Type"] == "application/problem+json" and "ETag" not in answer.headers
    if answer.request.method != "HEAD":
        assert answer.json()["code"] == expected[1], f"{who}: {answer.text[:500]}"
