"""Prints a token for the local stack: make_token.py USER DEVICE [SECONDS]; signed with .run/jwt.secret."""

import base64
import hashlib
import hmac
import json
import sys
import time


def make(secret, user, device, seconds=86400, **claims):
    """A JWT (HS256) that says: this user, on this device."""
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    payload = {"sub": user, "device_id": device, "iat": int(time.time()),
               "exp": int(time.time()) + seconds, **claims}
    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(payload)
    mac = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def main():
    if len(sys.argv) < 3 or not sys.argv[1] or not sys.argv[2]:
        sys.exit("usage: make token USER=alice DEVICE=phone")
    try:
        with open(".run/jwt.secret") as f:
            secret = f.read().strip()
    except OSError:
        sys.exit("error: there is no .run/jwt.secret\nhint: start the local stack first: make run")
    print(make(secret, sys.argv[1], sys.argv[2], *map(int, sys.argv[3:4])))


if __name__ == "__main__":
    main()
