"""An identity provider of the tests' own: keys that rotate, served as a JWK set by https with a certificate of an own
CA, or wrongly."""

import base64
import contextlib
import datetime
import ipaddress
import json
import socket
import ssl
import threading
import time

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from harness import MAX_WAIT, free_ports

ISSUER, AUDIENCE = "https://provider.example/", "https://handoff.example"


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject, key, issuer, issuer_key, *extensions):
    now = datetime.datetime.utcnow()
    builder = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer)).public_key(
        key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(
        now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(issuer_key, hashes.SHA256())


class Authority:
    """A CA, and certificates of it. path: its own."""

    def __init__(self, folder, name):
        self.folder, self.name, self.key = folder, name, ec.generate_private_key(ec.SECP256R1())
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(_certificate(
            name, self.key, name, self.key, x509.BasicConstraints(ca=True, path_length=None)).public_bytes(
            serialization.Encoding.PEM))

    def certify(self, *names):
        """The path of a key with a certificate for these host names and addresses."""
        key, path = ec.generate_private_key(ec.SECP256R1()), self.folder / f"{self.name}-{names[0]}.pem"
        certificate = _certificate(names[0], key, self.name, self.key, x509.SubjectAlternativeName([
            x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]))
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption())
                         + certificate.public_bytes(serialization.Encoding.PEM))
        return path


def _base64url(number, n_bytes=None):
    n_bytes = n_bytes or (number.bit_length() + 7) // 8
    return base64.urlsafe_b64encode(number.to_bytes(n_bytes, "big")).rstrip(b"=").decode()


def jwk_of(kid, key):
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {"kid": kid, "kty": "RSA", "use": "sig", "alg": "RS256",
                "n": _base64url(numbers.n), "e": _base64url(numbers.e)}
    return {"kid": kid, "kty": "EC", "crv": "P-256", "x": _base64url(numbers.x, 32), "y": _base64url(numbers.y, 32)}


def new_key(kind="EC"):
    return (rsa.generate_private_key(65537, 2048) if kind == "RSA" else ec.generate_private_key(ec.SECP256R1()))


def sign(kid, key, user, device="phone", **claims):
    """A token as the provider makes them."""
    payload = {"sub": user, "exp": int(time.time()) + 3600, "iss": ISSUER, "aud": [AUDIENCE, "another"],
               "device_id": device, **claims}
    return jwt.encode(payload, key, "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256",
                      headers={"kid": kid} if kid else {})


def http(body, status="200 OK", *headers):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


class Provider:
    """keys: {kid: private key}, changed at will. answer: what is called with each request's socket in place of
    sending them. n_requests: how often it was asked."""

    def __init__(self, authority, keys=None):
        self.authority, self.keys, self.answer, self.n_requests = authority, dict(keys or {}), self.send_keys, 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.use(authority.certify("localhost"))
        self.port = free_ports(1)[0]
        self.ended = threading.Event()
        self.start()

    @property
    def url(self):
        return f"https://localhost:{self.port}/keys"

    @property
    def settings(self):
        return {"HANDOFF_JWT_ALGORITHMS": "HS256,RS256,ES256", "HANDOFF_JWKS_URL": self.url,
                "HANDOFF_JWKS_CA_FILE": str(self.authority.path), "HANDOFF_JWT_ISSUER": ISSUER,
                "HANDOFF_JWT_AUDIENCE": AUDIENCE}

    def use(self, certificate):
        self.context.load_cert_chain(certificate)

    def start(self):
        self.server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self.server,), daemon=True).start()

    def stop(self):
        """Nobody listens any more."""
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()

    def end(self):
        self.ended.set()
        self.stop()

    def _accept(self, server):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(server.accept()[0],), daemon=True).start()

    def _serve(self, plain):
        plain.settimeout(MAX_WAIT)
        with contextlib.suppress(OSError), self.context.wrap_socket(plain, server_side=True) as s:
            request = b""
            while b"\r\n\r\n" not in request:
                got = s.recv(65536)
                if not got:
                    return
                request += got
            self.n_requests += 1
            self.answer(s)

    def send_keys(self, s):
        s.sendall(http({"keys": [jwk_of(kid, key) for kid, key in self.keys.items()]}))

    # ---- wrong answers ----

    def send(self, *pieces):
        """Answers with these bytes."""
        self.answer = lambda s: [s.sendall(piece) for piece in pieces]

    def send_for_ever(self, head, piece):
        def answer(s):
            s.sendall(head)
            while not self.ended.is_set():
                s.sendall(piece)
        self.answer = answer

    def send_nothing(self):
        self.answer = lambda _: self.ended.wait()

    def hold(self):
        """Answers rightly, once the event that is returned is set."""
        event = threading.Event()

        def answer(s):
            if event.wait(MAX_WAIT):
                self.send_keys(s)
        self.answer = answer
        return event
