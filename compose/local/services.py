"""The four services as child processes, with their environment."""

import os
import secrets

from process import StartError, http_status, spawn, stop, wait_until

NAMES = ["session_api", "state_engine", "ws_fanout", "audit_writer"]


def instance_name(name, n):
    """What the n-th instance of a service is known as: session_api, session_api-2, …"""
    return name if n == 1 else f"{name}-{n}"


class Service:
    """known_as: among several of the same name. port: where devices speak to it, None where they do not."""

    def __init__(self, name, binary, env, admin_port, log=None, *, known_as=None, port=None):
        self.name, self.binary, self.env, self.admin_port, self.log = name, binary, env, admin_port, log
        self.known_as, self.port = known_as or name, port
        self.process = None

    def start(self):
        self.process = spawn([self.binary], log=self.log, env=self.env)
        return self

    def is_ready(self):
        return http_status(f"http://127.0.0.1:{self.admin_port}/ready") == 200

    def wait_ready(self, timeout=60):
        wait_until(self.known_as, self.is_ready, timeout, self.process, self.log)
        return self

    def stop(self, timeout=15):
        stop(self.process, timeout=timeout)


def environment(*, redis_url, amqp_url, database_url, jwt_secret, **more):
    """What every service gets. Nothing of the caller's own HANDOFF_… gets through."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HANDOFF_")}
    env.update(
        HANDOFF_REDIS_URL=redis_url,
        HANDOFF_AMQP_URL=amqp_url,
        HANDOFF_DATABASE_URL=database_url,
        HANDOFF_JWT_SECRET=jwt_secret,
    )
    env.update({k: str(v) for k, v in more.items()})
    return env


def make_service(name, binaries, env, *, admin_port, api_port=None, ws_port=None, log=None,
                 known_as=None, host="127.0.0.1"):
    """host: where devices speak to it, if they do."""
    binary = os.path.join(binaries, name)
    if not os.path.exists(binary):
        raise StartError(f"{binary} is not built; run make")
    env = dict(env, HANDOFF_ADMIN_LISTEN=f"127.0.0.1:{admin_port}")
    port = {"session_api": api_port, "ws_fanout": ws_port}.get(name)
    if name == "session_api":
        env["HANDOFF_API_LISTEN"] = f"{host}:{port}"
    if name == "ws_fanout":
        env["HANDOFF_WS_LISTEN"] = f"{host}:{port}"
    return Service(name, binary, env, admin_port, log, known_as=known_as, port=port)


def new_secret():
    return secrets.token_urlsafe(48)
