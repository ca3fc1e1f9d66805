"""clients/c against the real services, as an app uses it: by a small program on the shared library (tests/clients/device.c),
told by lines what to do. In its own loop and in libuv's."""

import datetime
import itertools
import json
import pathlib
import re
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness import BUILD, FINDING, MAX_WAIT, checksum_of, token, wait_until
from wire import Wire, close_frame

CLIENT = pathlib.Path(__file__).resolve().parents[2] / "clients" / "c"
HEADER = CLIENT / "handoff.h"
PROGRAM = BUILD / "clients" / "device"


def progress(n):
    return [{"op": "replace", "path": "/data/progress", "value": n}]


class Program:
    """A device in a process of its own; its events as they come."""

    def __init__(self, url, device="phone", loop="own", store="-", ca="-", frame_bytes=0, max_unsent=0):
        argv = [PROGRAM, loop, url, device, store, ca, frame_bytes, max_unsent]
        self.process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.events, self.more, self.at, self.tags = [], threading.Condition(), 0, itertools.count(1)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.more:
                self.events.append(json.loads(line))
                self.more.notify_all()
        with self.more:
            self.events.append(None)
            self.more.notify_all()

    def tell(self, *words):
        texts = [w if isinstance(w, str) else json.dumps(w) for w in words]
        self.process.stdin.write(" ".join(texts) + "\n")
        self.process.stdin.flush()

    def ask(self, verb, session_id, *words):
        """A command; what its answer is known by."""
        tag = f"{verb}{next(self.tags)}" + (f":{words[0]}" if verb == "append" else "")
        self.tell(verb, session_id, tag, *words)
        return tag

    def wait(self, event, fits=lambda e: True, **members):
        """The next event of that name that fits; those before it are passed."""
        with self.more:
            while True:
                while self.at < len(self.events):
                    e = self.events[self.at]
                    assert e is not None, (self.process.stderr.read(), self.events[-5:])
                    self.at += 1
                    if e["event"] == event and all(e.get(k) == v for k, v in members.items()) and fits(e):
                        return e
                assert self.more.wait(MAX_WAIT), (event, members, self.events[-8:])

    def find(self, event, **members):
        """One that has come already, or comes."""
        self.at = 0
        return self.wait(event, **members)

    def of(self, event):
        return [e for e in self.events if e and e["event"] == event]

    def show(self, session_id):
        self.tell("show", session_id)
        return self.wait("show")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        """Ends well, and without a finding of a sanitizer."""
        if self.process.poll() is None:
            self.tell("quit")
        err = self.process.stderr.read()
        self.process.wait(MAX_WAIT)
        assert self.process.returncode in (0, -9) and not FINDING.search(err), err


@pytest.fixture
def start(suite, user):
    """start(device, …) -> a Program with a token of the user; all end well."""
    programs = []

    def start(device="phone", url=None, the_token=None, session=None, **more):
        program = Program(url or suite.ws_url, device, **more)
        programs.append(program)
        if the_token != "":
            program.tell("token", the_token or token(user, None if device == "-" else device))
        if session:
            program.tell("open", session)
            program.wait("sync", state="synced")
        return program

    yield start
    for program in programs:
        program.end()


@pytest.fixture
def wire(suite):
    with Wire(suite.ws_port) as wire:
        wire.url = f"ws://127.0.0.1:{wire.port}"
        yield wire


@pytest.fixture
def session(laptop):
    return laptop.create({"progress": 0, "count": 0, "list": []})["id"]


@pytest.mark.parametrize("loop", ["own", "uv"])
def test_two_devices_see_each_others_changes_at_once_here_and_soon_there(start, session, laptop, loop):
    phone, tablet = start(session=session, loop=loop), start("tablet", session=session)
    tag = phone.ask("patch", session, progress(75))
    assert phone.wait("change", source="local")["data"]["progress"] == 75
    assert phone.wait("answer", tag=tag)["version"] == 2
    assert tablet.wait("change", source="remote", version=2)["data"]["progress"] == 75
    shown = tablet.show(session)
    assert shown["confirmed"] == shown["resource"]["data"] == laptop.read(session)["data"]
    assert shown["resource"]["checksum"] == checksum_of(shown["confirmed"])
    phone.ask("status", session, "paused")
    assert tablet.wait("change", type="status_changed")["status"] == "paused"
    tag = phone.ask("broadcast", session, {"cue": "bell"})
    phone.wait("answer", tag=tag)
    assert tablet.wait("broadcast")["message"] == {"cue": "bell"}
    phone.wait("answer", tag=phone.ask("heartbeat", session))
    watch = start("watch", session=session)
    assert phone.wait("devices", joined=["watch"])["name"] == "a device of the tests"
    assert watch.show(session)["device"] == "watch"


def test_what_is_not_there_or_not_allowed_says_so_with_its_code(start, session, laptop, stranger):
    phone = start(session=session)
    phone.tell("open", "0197a1b2-0000-7000-8000-000000000000")
    lost = phone.wait("lost")
    assert lost["code"] == "not_found" and lost["reason"]
    phone.tell("open", "no id")
    assert phone.wait("refused")["code"] == "invalid_value"
    for text, code in [("{", "invalid_json"), ([{"op": "remove", "path": "/data/none"}], "patch_failed"),
                       ([{"op": "add", "path": "/version", "value": 1}], "path_not_writable"),
                       ([{"op": "add", "path": "/data/x", "value": "x" * 70000}], "body_too_large")]:
        phone.ask("patch", session, text)
        assert phone.wait("refused")["code"] == code
    put = laptop.request("PUT", f"/sessions/{session}/participants/{stranger.user}", json={"role": "viewer"})
    assert put.status_code == 204
    seen = start("stranger-device", the_token=stranger.token, session=session)
    tag = seen.ask("patch", session, progress(9))
    assert seen.wait("change", source="local")["data"]["progress"] == 9
    assert seen.wait("change", source="rollback")["data"]["progress"] == 0
    assert seen.wait("conflict")["resolved"] is False
    assert seen.wait("answer", tag=tag)["code"] == "forbidden"
    laptop.request("PUT", f"/sessions/{session}/participants/{stranger.user}", json={"role": "editor"})
    wait_until(lambda: seen.show(session)["role"] == "editor")
    seen.wait("answer", tag=seen.ask("patch", session, progress(9)), code=None)


def test_a_counter_counts_right_on_two_devices(start, session, laptop):
    devices = [start("phone", session=session), start("tablet", session=session)]
    tags = [(devices[n % 2], devices[n % 2].ask("count", session)) for n in range(30)]
    for device, tag in tags:
        assert "code" not in device.find("answer", tag=tag)
    assert laptop.read(session)["data"]["count"] == 30
    for conflict in devices[0].of("conflict") + devices[1].of("conflict"):
        assert conflict["code"] == "version_conflict" and conflict["resolved"] and conflict["reason"]


def test_operations_are_made_anew_on_top_of_anothers_or_taken_back(start, session, laptop, wire):
    """What is written to meanwhile is known when the phone comes back: its own change was made without."""
    phone = start(session=session, url=wire.url)
    for verb, is_resolved, value in (("patch", True, 1), ("reject", False, 2)):
        wire.cut()
        phone.wait("sync", state="offline")
        tag = phone.ask(verb, session, progress(10 + value))
        laptop.patch(session, progress(20 + value))
        wire.mend()
        phone.tell("reconnect")
        conflict = phone.wait("conflict")
        assert (conflict["code"], conflict["resolved"]) == ("version_conflict", is_resolved)
        assert phone.wait("answer", tag=tag).get("code") == (None if is_resolved else "version_conflict")
        assert laptop.read(session)["data"]["progress"] == (11 if is_resolved else 22)
    assert wait_until(lambda: phone.show(session)["confirmed"]["progress"] == 22)


def test_in_libuvs_loop_it_begins_whenever_it_is_told(start, session):
    """Nothing of its own happens before: what wakes it is what was told."""
    for _ in range(10):
        phone = start(the_token="", loop="uv")
        phone.tell("close", session)  # which there is not
        phone.tell("open", session)
        phone.wait("token")
        phone.tell("token", token("somebody", "phone"))
        assert phone.wait("lost")["code"] == "not_found"
        phone.end()


@pytest.mark.parametrize("loop", ["own", "uv"])
def test_connections_cut_again_and_again_lose_nothing_and_do_nothing_twice(start, session, laptop, wire, loop):
    phone, tablet = start(session=session, url=wire.url, loop=loop), start("tablet", session=session)
    tags = {phone: [], tablet: []}
    n_each, n_cuts = 40, 0
    for n in range(n_each):
        tags[phone].append(phone.ask("append", session, n))
        tags[tablet].append(tablet.ask("append", session, 1000 + n))
        if n % 8 == 5:
            phone.find("answer", tag=tags[phone][n - 3])
            wire.cut()  # with the later ones on their way
            wire.mend()
            phone.tell("reconnect")
            n_cuts += 1
    for device, asked in tags.items():
        for tag in asked:
            assert "code" not in device.find("answer", tag=tag)
    assert wire.n_accepted > n_cuts
    resource = laptop.read(session)
    listed = resource["data"]["list"]
    assert [n for n in listed if n < 1000] == list(range(n_each))
    assert [n for n in listed if n >= 1000] == list(range(1000, 1000 + n_each))
    assert resource["version"] == 1 + 2 * n_each
    for device in (phone, tablet):
        wait_until(lambda device=device: device.show(session)["confirmed"] == resource["data"])
        assert device.show(session)["unsent"] == 0


def test_what_a_process_that_was_killed_left_unsent_is_sent_by_the_next(start, session, laptop, wire, tmp_path):
    phone = start(session=session, url=wire.url, store=tmp_path / "commands")
    wire.cut()
    phone.wait("sync", state="offline")
    for n in range(5):
        phone.ask("patch", session, [{"op": "add", "path": "/data/list/-", "value": n}])
        phone.wait("sync", unsent=n + 1)
    second = start("phone", store=tmp_path / "commands", the_token="")
    second.tell("open", session)
    assert second.wait("error")["code"] == "store_failed"  # the first has it
    second.end()
    phone.kill()
    kept, = (tmp_path / "commands").glob("*.log")
    with kept.open("a") as file:
        file.write('{"key":"cut')  # as a machine that died leaves it
    again = start(session=session, store=tmp_path / "commands")
    wait_until(lambda: laptop.read(session)["data"]["list"] == [0, 1, 2, 3, 4])
    again.find("sync", unsent=0, state="synced")
    again.end()
    third = start(session=session, store=tmp_path / "commands")
    assert third.show(session)["unsent"] == 0
    assert laptop.read(session)["version"] == 6


def test_a_copy_that_drifted_is_noticed_by_its_checksum_and_replaced(start, session, laptop, wire):
    phone = start(session=session, url=wire.url)
    wire.change(b'"value":41}', b'"value":14}')
    laptop.patch(session, progress(41))
    assert phone.wait("change", source="sync")["data"]["progress"] == 41
    phone.wait("sync", state="synced")
    laptop.patch(session, progress(42))
    assert phone.wait("change", source="remote")["data"]["progress"] == 42


def test_a_token_that_runs_out_is_replaced_on_the_same_connection(start, session, user):
    phone = start(the_token=token(user, "phone", seconds=62))
    phone.tell("open", session)
    phone.wait("sync", state="synced")
    phone.tell("token", token(user, "phone"))
    phone.wait("token")  # token_expiring: 60 s before its end
    phone.wait("answer", tag=phone.ask("patch", session, progress(1)))
    assert [s["state"] for s in phone.of("state")] == ["connecting", "open"]


def test_a_token_that_is_not_good_stops_and_with_another_it_goes_on(start, session, user):
    phone = start(the_token=token(user, "phone", secret="another secret of somebody else: 0123456789"))
    phone.tell("open", session)
    stopped = phone.wait("state", state="stopped")
    assert stopped["code"] == "unauthenticated" and stopped["reason"]
    phone.tell("token", token(user, "phone", seconds=-100))
    phone.tell("reconnect")
    assert phone.wait("state", state="stopped")["code"] == "token_expired"
    phone.tell("token", token(user, "phone"))
    phone.tell("reconnect")
    phone.wait("sync", state="synced")


def test_without_a_token_it_stops(start, session, user):
    phone = start(the_token="")
    phone.tell("open", session)
    phone.wait("token")
    phone.tell("deny")
    stopped = phone.wait("state", state="stopped")
    assert (stopped["code"], stopped["reason"]) == ("no_token", "signed out")


def test_the_device_is_the_tokens_when_none_is_given(start, session, user):
    phone = start("-", the_token=token(user, "of-the-token"))
    phone.tell("open", session)
    phone.wait("sync", state="synced")
    assert phone.show(session)["device"] == "of-the-token"


@pytest.mark.parametrize("code, reason, state", [
    (1001, '{"retryAfterMs":150}', "waiting"), (1006, None, "waiting"), (1011, "", "waiting"), (4002, "", "waiting"),
    (4008, "", "waiting"), (4029, '{"retryAfterMs":150}', "waiting"), (1003, "", "stopped"), (4001, "", "stopped")])
def test_it_comes_back_as_the_close_codes_ask(start, session, wire, code, reason, state):
    phone = start(session=session, url=wire.url)
    if reason is None:
        wire.cut()
        wire.mend()
    else:
        wire.say(close_frame(code, reason))
    told = phone.wait("state", fits=lambda s: s["state"] in ("waiting", "stopped"))
    assert told["state"] == state and str(code) in told["reason"]
    if state == "stopped":
        phone.tell("reconnect")
    phone.wait("sync", state="synced")


def test_a_removed_device_is_told_and_what_it_had_not_sent_is_answered(start, session, laptop, wire):
    phone = start(session=session, url=wire.url)
    wire.cut()
    phone.wait("sync", state="offline")
    tag = phone.ask("patch", session, progress(1))
    assert laptop.delete(f"/sessions/{session}/devices/phone").status_code == 204
    wire.mend()
    phone.tell("reconnect")
    assert phone.wait("answer", tag=tag)["code"] == "device_removed"
    assert phone.wait("lost")["code"] == "device_removed"
    phone.ask("patch", session, progress(2))
    assert phone.wait("refused")["code"] == "closed"
    assert laptop.read(session)["data"]["progress"] == 0


def test_a_session_that_is_closed_and_opened_again_goes_on(start, session, laptop):
    phone = start(session=session)
    tag = phone.ask("patch", session, progress(1))
    phone.tell("close", session)
    phone.wait("answer", tag=tag, code="closed")
    phone.tell("open", session)
    phone.wait("sync", state="synced")
    phone.wait("answer", tag=phone.ask("patch", session, progress(2)))
    assert laptop.read(session)["data"]["progress"] == 2


def test_more_than_the_limits_is_refused_and_a_frame_too_large_stops(start, session, laptop, wire):
    phone = start(session=session, url=wire.url, max_unsent=3, frame_bytes=20000)
    wire.cut()
    phone.wait("sync", state="offline")
    for n in range(4):
        phone.ask("patch", session, progress(n))
    assert phone.wait("refused")["code"] == "outbox_full"
    laptop.merge_patch(session, {"data": {"text": "x" * 20000}})
    wire.mend()
    phone.tell("reconnect")
    assert phone.wait("state", state="stopped")["code"] == "frame_too_large"


def test_who_follows_hears_every_version_once_and_in_order(start, session, laptop, wire):
    phone = start(url=wire.url)
    phone.tell("follow", session, "0 1")
    for n in range(12):
        laptop.patch(session, progress(n))
        if n % 4 == 2:
            wire.cut()
            wire.mend()
            phone.tell("reconnect")
    phone.wait("event", version=13, type="state_delta")
    versions = [e["version"] for e in phone.of("event") if e["type"] in ("session_created", "state_delta")]
    assert versions == list(range(1, 14))
    phone.ask("patch", session, progress(1))
    assert phone.wait("refused")["code"] == "not_ready"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Of localhost, signed by itself: (file, its key's)."""
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
              .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
              .not_valid_after(now + datetime.timedelta(days=2))
              .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
              .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, hashes.SHA256()))
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                       serialization.NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


def test_tls_is_checked(start, suite, session, certificate):
    with Wire(suite.ws_port, certificate) as wire:
        good = start(url=f"wss://localhost:{wire.port}", ca=certificate[0], session=session)
        good.wait("answer", tag=good.ask("patch", session, progress(1)))
        for url, ca in ((f"wss://localhost:{wire.port}", "-"), (f"wss://127.0.0.1:{wire.port}", certificate[0])):
            phone = start(url=url, ca=ca)
            phone.tell("open", session)
            assert phone.wait("state", state="waiting")["code"] == "connection_lost"
            assert not [s for s in phone.of("state") if s["state"] == "open"]


def test_the_archive_and_the_shared_library_have_handoffs_names_alone():
    for argv in (["nm", "-g", "--defined-only", BUILD / "libhandoff_client.a"],
                 ["nm", "-D", "--defined-only", BUILD / "libhandoff_client.so"]):
        listed = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout
        names = {line.split()[-1] for line in listed.splitlines() if len(line.split()) == 3}
        if "asan" in str(BUILD):
            names = {n for n in names if not n.startswith(("__", "_", "asan."))}
        declared = set(re.findall(r"\b(handoff_\w+)\(", HEADER.read_text()))
        assert names and names <= declared


def test_the_header_is_cplusplus_too():
    subprocess.run(["clang", "-x", "c++", "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-pedantic", HEADER], check=True)


def test_the_example_counts(suite, laptop, user):
    session = laptop.create({"count": 0})["id"]
    keys = f"{token(user, 'counter')}\n\n\n\n"
    done = subprocess.run([BUILD / "clients" / "counter", suite.ws_url, session], input=keys, capture_output=True, text=True,
                          timeout=MAX_WAIT)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert laptop.read(session)["data"]["count"] == 3
