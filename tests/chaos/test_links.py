"""The proxy breaks what it says, and nothing else."""

import pathlib
import socket
import sys
import threading
import time

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1])]

from harness import free_ports, wait_until  # noqa: E402
from links import Links  # noqa: E402


class Echo(threading.Thread):
    """Sends back what it gets; n_bytes counts."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.n_bytes = self.listener.getsockname()[1], 0
        self.n_ended = 0
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            while data := connection.recv(65536):
                self.n_bytes += len(data)
                connection.sendall(data)
        except OSError:
            pass
        connection.close()
        self.n_ended += 1


@pytest.fixture
def link():
    control, port = free_ports(2)
    echo, links = Echo(), Links(control)
    links.add("a", port, echo.port)
    links.start()
    links.echo = echo
    yield links
    links.stop()
    echo.listener.close()


def connect(links, timeout=5):
    return socket.create_connection(("127.0.0.1", links.ports["a"]), timeout)


def exactly(connection, n):
    data = b""
    while len(data) < n:
        piece = connection.recv(65536)
        assert piece, "ended"
        data += piece
    return data


def ask(connection, data=b"x"):
    connection.sendall(data)
    return exactly(connection, len(data))


def test_bytes_go_on_both_ways_and_ends_too(link):
    data = bytes(range(256)) * 4096
    with connect(link) as connection:
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        assert exactly(connection, len(data)) == data
        sender.join()
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_cut_resets_open_connections_and_new_ones(link):
    with connect(link) as connection:
        ask(connection)
        assert link.set("a", "cut") == 1
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises((ConnectionResetError, AssertionError)):
        with connect(link) as connection:
            ask(connection)
    link.set("a", "pass")
    with connect(link) as connection:
        assert ask(connection) == b"x"


def test_a_hole_takes_bytes_and_resets_who_lost_some(link):
    with connect(link) as torn, connect(link) as quiet:
        ask(torn), ask(quiet)
        link.set("a", "hole")
        torn.sendall(b"lost")
        torn.settimeout(0.3)
        with pytest.raises(TimeoutError):
            torn.recv(1)
        assert link.echo.n_bytes == 2
        link.set("a", "pass")
        torn.settimeout(5)
        with pytest.raises(ConnectionResetError):
            torn.recv(1)
        assert ask(quiet) == b"x"


def test_half_resets_the_target_alone(link):
    with connect(link) as connection:
        ask(connection)
        link.set("a", "half")
        wait_until(lambda: link.echo.n_ended == 1, 5, "the reset at the target")
        connection.sendall(b"lost")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        link.set("a", "pass")
        connection.settimeout(5)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_held_bytes_go_on_afterwards(link):
    with connect(link) as connection:
        ask(connection)
        link.set("a", "hold")
        connection.sendall(b"held")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        link.set("a", "pass")
        connection.settimeout(5)
        assert exactly(connection, 4) == b"held"


def test_one_way_only(link):
    with connect(link) as connection:
        ask(connection)
        link.set("a", "hold", "down")
        connection.sendall(b"up")
        wait_until(lambda: link.echo.n_bytes == 3, 5, "the bytes upwards")
        link.set("a", "pass")
        assert exactly(connection, 2) == b"up"


def test_delay_and_throttle_cost_the_time_they_say(link):
    with connect(link) as connection:
        ask(connection)
        link.set("a", "delay")
        began = time.monotonic()
        ask(connection)
        assert time.monotonic() - began >= 0.2  # 100 ms each way
        link.set("a", "throttle", "up")
        began = time.monotonic()
        ask(connection, b"x" * 32768)
        assert time.monotonic() - began >= 0.4  # 32 of 64 KB/s, less the first piece
