"""What stands between a client and the server in tests: a TCP proxy that cuts, mends, changes and says what the server did not."""

import contextlib
import re
import socket
import ssl
import struct
import threading


def close_frame(code, reason=""):
    payload = struct.pack(">H", code) + reason.encode()
    return bytes([0x88, len(payload)]) + payload


class Wire:
    """Listens at `port` of 127.0.0.1, for 127.0.0.1:there. certificate: (file, key file): TLS towards the client."""

    def __init__(self, there, certificate=None):
        self.there, self.n_accepted, self.changes = there, 0, []
        self.is_cut, self.is_closed = False, False
        self.lock, self.open = threading.Lock(), []  # (towards the client, towards the server)
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*map(str, certificate))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_closed = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

    def _accept(self):
        while not self.is_closed:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(here,), daemon=True).start()

    def _serve(self, here):
        try:
            if self.is_cut:
                raise OSError
            here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                here = self.context.wrap_socket(here, server_side=True)
            there = socket.create_connection(("127.0.0.1", self.there))
        except OSError:  # ssl.SSLError is one
            here.close()
            return
        with self.lock:
            self.n_accepted += 1
            self.open.append((here, there))
        threading.Thread(target=self._pump, args=(here, there, here, there, False), daemon=True).start()
        self._pump(there, here, here, there, True)

    def _pump(self, source, target, here, there, is_from_server):
        with contextlib.suppress(OSError, ValueError):
            while data := source.recv(65536):
                if is_from_server:
                    data = self._changed(data)
                target.sendall(data)
        self._end(here, there)

    def _changed(self, data):
        for change in list(self.changes):
            old, new = change
            if isinstance(old, bytes):
                old, new = re.compile(re.escape(old)), lambda _, new=new: new
            found = old.search(data)
            if found:
                self.changes.remove(change)
                changed = new(found)
                assert len(changed) == len(found[0])
                data = data[:found.start()] + changed + data[found.end():]
        return data

    def _end(self, here, there):
        with self.lock:
            if (here, there) in self.open:
                self.open.remove((here, there))
        for end in (here, there):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut(self):
        """Ends all connections; new ones are refused until mend()."""
        self.is_cut = True
        with self.lock:
            pairs = list(self.open)
        for pair in pairs:
            self._end(*pair)

    def mend(self):
        self.is_cut = False

    def change(self, old, new):
        """The next `old` that the server says, of the same length: a frame's length stands before it."""
        assert len(old) == len(new)
        self.changes.append((old, new))

    def rewrite(self, pattern, other):
        """The same for the next bytes that a pattern of re finds: other(match) is what comes instead."""
        self.changes.append((pattern, other))

    def say(self, data):
        """To the clients, as if the server had; between two of its frames, so when it is silent."""
        with self.lock:
            pairs = list(self.open)
        for here, _ in pairs:
            here.sendall(data)
