"""Requests that are refused for their headers: what is there twice, and a large body of nobody."""

import json

import pytest
import requests

from harness import MAX_WAIT, token
from rest import exchange, path_of, refused, statuses
from ws import set_to


@pytest.fixture
def session(phone):
    return phone.create({"a": 1})


@pytest.mark.parametrize("name, value", [("Authorization", "Bearer x"), ("Content-Type", "application/merge-patch+json"),
                                         ("Idempotency-Key", "k"), ("X-Device-Id", "phone"), ("Origin", "http://a")])
def test_what_may_be_there_once_is_not_there_twice(suite, phone, session, name, value):
    lines = "".join(f"{name}: {value}\r\n" for _ in range(1 if name in ("Authorization", "Content-Type") else 2))
    body = json.dumps({"operations": set_to("a", 2)})
    received = exchange(suite, (f"PATCH {path_of(session)} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {phone.token}\r\n"
                                f"Content-Type: application/json\r\n{lines}Content-Length: {len(body)}\r\n"
                                f"Connection: close\r\n\r\n{body}").encode())
    assert statuses(received) == [400] and f'"field":"{name}"'.encode() in received, received
    assert phone.read(session["id"]) == session


def test_a_large_body_of_nobody_is_not_kept_and_the_refusal_is_that_of_the_token(suite, phone):
    """Up to 16 KiB are: what strangers send cannot fill what all bodies may have together."""
    large, small = ({"name": "n", "type": "t", "data": {"x": "x" * size}} for size in (100_000, 10))
    expired = suite.bearer(token(phone.user, "phone", seconds=-3600), phone.user, "phone")
    for body in (small, large):
        assert phone.post("/sessions", json=body).status_code == 201
        refused(requests.post(f"{suite.api_url}/sessions", json=body, timeout=MAX_WAIT), 401, "unauthenticated")
        refused(expired.post("/sessions", json=body), 401, "token_expired")
    chunked = requests.post(f"{suite.api_url}/sessions", data=iter([b"x" * 60_000] * 2), timeout=MAX_WAIT)
    refused(chunked, 401, "unauthenticated")
