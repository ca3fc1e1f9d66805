"""Child processes that never outlive their parent, and the small things around them."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

_PR_SET_PDEATHSIG = 1
_given = set()  # by free_ports
_libc = ctypes.CDLL(None, use_errno=True)


class StartError(Exception):
    """Something could not be started; the text says what and what to do."""


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(argv, *, log=None, env=None, user=None, cwd=None):
    """Starts argv in a session of its own (a Ctrl-C at the terminal is for the parent alone).

    log: a file for its output, or None to inherit. user: a name to run as (needs root).
    """
    output = open(log, "ab") if log else None
    try:
        extra = {"user": user, "group": user, "extra_groups": []} if user else {}
        return subprocess.Popen(
            [str(a) for a in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            env=env,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_die_with_parent,
            **extra,
        )
    finally:
        if output:
            output.close()


def stop(process, sig=signal.SIGTERM, timeout=15):
    """Stops a child by its pid; kills it when it does not listen."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(sig)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(what, condition, timeout=30, process=None, log=None):
    """Waits for condition() to be true; a StartError names `what` and shows the end of its log."""
    deadline = time.monotonic() + timeout
    while True:
        if condition():
            return
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > deadline:
            why = f"ended with {process.returncode}" if ended else f"not within {timeout} s"
            raise StartError(f"{what}: {why}\n{tail(log)}")
        time.sleep(0.02)


def tail(path, n=15):
    try:
        with open(path, errors="replace") as f:
            return "".join(f.readlines()[-n:])
    except (OSError, TypeError):
        return ""


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(n):
    """n ports that are free now, and none that was given before: out of HANDOFF_TEST_PORTS, a range below
    those that the system gives to clients; runs side by side have ranges of their own."""
    low, high = map(int, os.environ.get("HANDOFF_TEST_PORTS", "10000-31999").split("-"))
    ports = []
    while len(ports) < n:
        port = random.randint(low, high)
        if port not in _given and port_is_free(port):
            ports.append(port)
            _given.add(port)
        assert len(_given) < high - low, "no port is left in HANDOFF_TEST_PORTS"
    return ports


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def http_status(url, timeout=2):
    """The status of a GET, 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return 0


def am_root():
    return os.geteuid() == 0
