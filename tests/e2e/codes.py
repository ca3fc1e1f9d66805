"""What the tests of handoff codes share: a session_api that believes where a request says that it came from,
and how a code is made and redeemed."""

import hashlib
import itertools

from harness import Suite
from rest import path_of, refused

WRONG = "AAAAAAAAAAAAAAAAAAAAAA"
addresses = (f"198.51.100.{n}" for n in itertools.cycle(range(1, 255)))


def api_beside(suite, folder, **env):
    return Suite(suite.servers, folder, names=["session_api"], HANDOFF_TRUSTED_PROXIES="127.0.0.1",
                 HANDOFF_LOG_LEVEL="debug", **env).start()


def device_of(api, user, name, address=None, **claims):
    device = api.device(user, name, **claims)
    device.http.headers["X-Forwarded-For"] = address or next(addresses)
    return device


def offer(device, session, **body):
    return device.post(f"{path_of(session)}/handoff-codes", json=body)


def code_of(device, session, **body):
    answer = offer(device, session, **body)
    assert answer.status_code == 201, answer.text
    return answer.json()["code"]


def redeem(device, code, **more):
    return device.post("/handoff", json={"code": code, **more.pop("body", {})}, **more)


def got_in(answer, session, role="owner"):
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["id"], body["role"], body["data"]) == (session["id"], role, session["data"])
    assert answer.headers["ETag"] == f'"{body["version"]}"'
    return body


def wrong(answer):
    body = refused(answer, 404, "not_found")
    del body["requestId"]
    return body


def key_of(code):
    return f"handoff:{{{hashlib.sha256(code.encode()).hexdigest()}}}"


def deny(owner, session, device_name):
    answer = owner.delete(f"{path_of(session)}/devices/{device_name}")
    assert answer.status_code == 204, answer.text
