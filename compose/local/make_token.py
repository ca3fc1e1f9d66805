"""Prints a token for the local stack, good for a day: make_token.py USER [DEVICE [SCOPE]]; signed with .run/jwt.secret. HANDOFF_RUN
names another folder than .run."""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import sys
import time


def run_folder():
    """Where the local stack keeps its data and secrets."""
    return pathlib.Path(os.environ.get("HANDOFF_RUN") or ".run")


def secret():
    """What the local stack's tokens are signed with; OSError: it was never started."""
    return (run_folder() / "jwt.secret").read_text().strip()


def make(secret, user, device, seconds=86400, **claims):
    """A JWT (HS256) that says: this user, on this device (None: on any)."""
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=")

    payload = {"sub": user, "iat": int(time.time()), "exp": int(time.time()) + seconds, **claims}
    if device:
        payload["device_id"] = device
    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(payload)
    mac = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def main():
    user, device, scope = (*sys.argv[1:], "", "", "")[:3]
    if not user or len(sys.argv) > 4:
        sys.exit('usage: make token USER=alice [DEVICE=phone] [SCOPE="sessions:read sessions:admin"]')
    try:
        key = secret()
    except OSError:
        sys.exit(f"error: there is no {run_folder()}/jwt.secret\nhint: start the local stack first: make run")
    print(make(key, user, device, **({"scope": scope} if scope else {})))


if __name__ == "__main__":
    main()
