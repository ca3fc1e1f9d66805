"""make dev on ports of its own, with its data in a folder of its own."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import types

from process import accepts, free_ports, port_is_free

from harness import BUILD, MAX_WAIT

ROOT = pathlib.Path(__file__).resolve().parents[2]
# compose/local/run.py with other ports: argument 1 is {what for: port}.
RUN = """import json, sys
sys.path.insert(0, "compose/local")
import run
ports = json.loads(sys.argv.pop(1))
run.EXAMPLES_PORT, run.ADMIN_PORT = ports.pop("examples"), ports.pop("admin")
run.PORTS.update(ports)
sys.exit(run.main())"""
NAMES = ["RabbitMQ", "RabbitMQ's distribution", "RabbitMQ's epmd", "Redis", "PostgreSQL", "REST", "WebSocket", "examples"]
LAST_LINE = "Ctrl-C stops all of it"


def ports_for_all():
    ports = dict(zip(NAMES, free_ports(len(NAMES))))
    while "admin" not in ports:
        [first] = free_ports(1)
        if all(map(port_is_free, range(first, first + 4))):
            ports["admin"] = first
    return ports


@contextlib.contextmanager
def running():
    """`make dev`: its ports, what it said, its environment. When it ends, nothing of it may be left."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="handoff-dev-", dir="/var/tmp"))  # where the postgres user gets to
    folder.chmod(0o755)
    ports = ports_for_all()
    env = {**os.environ, "HANDOFF_RUN": str(folder)}
    process = subprocess.Popen(["/usr/bin/python3", "-c", RUN, json.dumps(ports), "--binaries", BUILD / "bin", "--dev"], cwd=ROOT,
                               env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith(LAST_LINE):
                break
        assert said[-1].startswith(LAST_LINE), "".join(said)
        yield types.SimpleNamespace(ports=ports, said="".join(said), env=env, folder=folder,
                                    api=f"http://localhost:{ports['REST']}", examples=f"http://localhost:{ports['examples']}")
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=MAX_WAIT)
        left = subprocess.run(["pgrep", "-af", str(folder)], capture_output=True, text=True).stdout
        shutil.rmtree(folder)
    assert (process.returncode, rest.splitlines()[-1], left) == (0, "stopped.", "")
    assert not [name for name, port in ports.items() if accepts(port)]
