"""A session's delta window as it stands in Redis, read without Handoff's code: docs/ARCHITECTURE.md says how its
entries are packed."""

import base64
import json
import re
from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
PIECES = [
    '{"type":"state_delta","sessionId":"', '{"type":"session_created","sessionId":"', '","sessionId":"',
    '","epoch":1,"version":', ',"version":', ',"timestamp":"', '","userId":"', '","deviceId":"', '","baseVersion":',
    ',"operations":[{"op":"replace","path":"/data/', '{"op":"replace","path":"/data/', '{"op":"add","path":"/data/',
    '{"op":"remove","path":"/data/', ',"operations":[', '","value":', '}],"checksum":"', '],"checksum":"',
    ',"checksum":"', '","session":{"id":"', '","name":"', '","type":"',
    '","status":"active","role":"owner","version":1,"epoch":1,"createdAt":"', '","updatedAt":"',
    '","completedAt":null,"ttlSeconds":3600,"onIdle":"pause","expiresAt":"', '","activeDeviceId":"',
    '","lastModified":"', '","modifiedBy":"',
]
CODE = re.compile("\0(?s:.)|\1|\2.{22}|\3.{43}|\4.{8}|[\5-\x1f]")


def unpacked(text, session_id):
    def meaning(match):
        code, rest = ord(match[0][0]), match[0][1:]
        if code == 0:
            return rest
        if code == 1:
            return session_id
        if code in (2, 3):
            digits = base64.urlsafe_b64decode(rest + "=" * (-len(rest) % 4)).hex()
            return digits if code == 3 else "-".join(
                digits[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
        if code == 4:
            ms = 0
            for digit in rest:
                ms = ms * 64 + DIGITS.index(digit)
            return (EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03}Z"
        return PIECES[code - 5]
    return CODE.sub(meaning, text)


def packed_id(uuid):
    """As it goes to Redis."""
    return "\2" + base64.urlsafe_b64encode(bytes.fromhex(uuid.replace("-", ""))).decode().rstrip("=")


def window_of(redis, session_id):
    """The window's events, oldest first; the client decodes what it reads."""
    entries = redis.xrange(f"session:{{{session_id}}}:deltas")
    events = [json.loads(unpacked(fields["e"], session_id)) for _, fields in entries]
    assert [f"{e['version']}-0" for e in events] == [name for name, _ in entries]
    return events
