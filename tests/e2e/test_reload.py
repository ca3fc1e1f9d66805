"""SIGHUP: secrets, keys, passwords and the log level change while services run, all at once or not at all, and without
refusing anybody whose key still counts."""

import signal

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from harness import (NAMES, SECRET, SESSION_KEY, Closed, Suite, metric, query, session_token, thumbprint, token,
                     wait_until, write_keys)
from provider import Authority, Provider, sign
from sse import Ended, streamed
from ws import is_alive, subscribed

GONE = ec.generate_private_key(ec.SECP256R1())
NEXT = "the secret that comes next, of the tests: 0123456789"
TAKEN, REFUSED = 'handoff_reloads_total{result="taken"}', 'handoff_reloads_total{result="refused"}'


class Files:
    """A folder of settings; env: their …_FILE variables."""

    def __init__(self, folder, **texts):
        self.folder, self.env = folder, {}
        folder.mkdir()
        for name, text in texts.items():
            self.env[name], self.env[f"{name}_FILE"] = "", str(folder / name)
            self.write(**{name: text})

    def write(self, **texts):
        for name, text in texts.items():
            (self.folder / name).write_text(text + "\n")


def records(suite, event):
    return [r for name in {s.name for s in suite.services.values()}
            for r in suite.log_records(name) if r["event"] == event]


def hang_up(suite, counter=TAKEN):
    """SIGHUP to all, and until each has read its settings again."""
    was = {s.known_as: metric(s, counter) for s in suite.services.values()}
    for service in suite.services.values():
        service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: all(metric(s, counter) == was[s.known_as] + 1 for s in suite.services.values()),
               what="every service to have read again")


def status(suite, bearer):
    return suite.bearer(bearer).get("/sessions").status_code


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "settings", HANDOFF_JWT_SECRET=SECRET, HANDOFF_JWT_SECRET_PREVIOUS="",
                 HANDOFF_LOG_LEVEL="info")


@pytest.fixture
def front(suite, tmp_path, files):
    """A session_api and a ws_fanout with these files, beside the shared rest."""
    (tmp_path / "front").mkdir()
    front = Suite(suite.servers, tmp_path / "front", names=["session_api", "ws_fanout"], **files.env).start()
    yield front
    front.stop()


def test_secrets_rotate_and_the_one_that_is_gone_takes_its_connections_along(front, files, user):
    old = front.device(user, "phone")
    new = front.bearer(token(user, "laptop", secret=NEXT), user, "laptop")
    session = old.create({})["id"]
    assert new.get(f"/sessions/{session}").status_code == 401
    with subscribed(old, session) as old_socket, streamed(old, session) as old_stream:
        files.write(HANDOFF_JWT_SECRET=NEXT, HANDOFF_JWT_SECRET_PREVIOUS=SECRET)
        hang_up(front)
        assert (old.get("/sessions").status_code, new.get("/sessions").status_code) == (200, 200)
        is_alive(old_socket)
        with subscribed(new, session) as new_socket:
            files.write(HANDOFF_JWT_SECRET_PREVIOUS="")
            hang_up(front)
            # It was verified a moment ago, and is kept.
            assert (old.get("/sessions").status_code, new.get("/sessions").status_code) == (401, 200)
            with pytest.raises(Closed) as closed:
                old_socket.recv_until("never")
            assert (closed.value.code, closed.value.reason) == (4001, "unauthenticated")
            with pytest.raises(Ended):
                old_stream.recv_until("never")
            is_alive(new_socket)
            assert new.patch(session, [{"op": "add", "path": "/data/a", "value": 1}]).status_code == 200
            new_socket.recv_until("state_delta", version=2)
    assert [r["gone"] for r in records(front, "keys_reloaded")] == [0, 1] * 2
    assert sorted(r["connections"] for r in records(front, "connections_disowned")) == [0, 2]


def be_noted(suite, user):
    """Does what is worth a record of level debug to each of them."""
    with suite.device(user, "phone").connect() as socket:
        socket.ws.close(status=1000)
    suite.device(user, "phone").get("/sessions/none")


def test_what_is_wrong_changes_nothing(front, files, user):
    """Not a part of it, either: the level would be good."""
    kept = token(user, "phone")
    for wrong in ({"HANDOFF_JWT_SECRET": "short"}, {"HANDOFF_JWT_SECRET": ""},
                  {"HANDOFF_JWT_SECRET_PREVIOUS": "short"}, {"HANDOFF_LOG_LEVEL": "loud"}):
        files.write(HANDOFF_LOG_LEVEL="debug")
        files.write(**wrong)
        hang_up(front, REFUSED)
        assert status(front, kept) == 200
        be_noted(front, user)
        for service in front.services.values():
            record = [r for r in front.log_records(service.name) if r["event"] == "reload_refused"][-1]
            assert next(iter(wrong)) in record["err"] and record["level"] == "error"
            assert "short" not in record["err"] or "under 32" in record["err"]
        files.write(HANDOFF_JWT_SECRET=SECRET, HANDOFF_JWT_SECRET_PREVIOUS="")
    files.write(HANDOFF_LOG_LEVEL="debug")
    for name in ("HANDOFF_JWT_SECRET", "HANDOFF_JWT_SECRET_PREVIOUS", "HANDOFF_LOG_LEVEL"):
        (files.folder / name).rename(files.folder / "away")
        hang_up(front, REFUSED)
        (files.folder / "away").rename(files.folder / name)
        assert status(front, kept) == 200
        assert f"{name}_FILE" in (told := records(front, "reload_refused")[-1]["err"]), told
    assert not records(front, "unauthenticated") and not records(front, "reloaded")
    assert not [r for name in NAMES[::2] for r in front.log_records(name) if r["level"] == "debug"]
    files.write(HANDOFF_LOG_LEVEL="debug")
    hang_up(front)
    assert {r["changed"] for r in records(front, "reloaded")} == {"HANDOFF_LOG_LEVEL"}
    be_noted(front, user)
    wait_until(lambda: [r for name in NAMES[::2] for r in front.log_records(name) if r["level"] == "debug"],
               what="records of the new level")


def write_half(path, *keys):
    """As somebody finds it who reads while it is written: the last key is not all there."""
    write_keys(path, *keys)
    path.write_bytes(path.read_bytes()[:-60])


def test_public_keys_in_a_folder_rotate(own_api, tmp_path, user):
    """A file for each, two at once; one that cannot be read changes nothing, of the others neither."""
    (folder := tmp_path / "keys").mkdir()
    old, new = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    write_keys(folder / "old.pem", old.public_key())
    api = own_api(HANDOFF_JWT_ALGORITHMS="ES256", HANDOFF_JWT_SECRET="", HANDOFF_JWT_KEYS=str(folder))
    of_both = [sign(kid, key, user, "phone") for kid, key in (("old", old), ("new", new))]

    def statuses():
        return [status(api, made) for made in of_both]

    assert statuses() == [200, 401]
    write_half(folder / "new.pem", new.public_key())
    (folder / "old.pem").rename(folder / "gone")
    hang_up(api, REFUSED)
    assert statuses() == [200, 401] and str(folder / "new.pem") in records(api, "reload_refused")[-1]["err"]
    (folder / "gone").rename(folder / "old.pem")
    write_keys(folder / "new.pem", new.public_key())
    hang_up(api)
    assert statuses() == [200, 200]
    (folder / "old.pem").unlink()
    hang_up(api)
    assert statuses() == [401, 200]
    (folder / "new.pem").unlink()
    hang_up(api, REFUSED)
    assert statuses() == [401, 200]


def test_keys_of_session_tokens_rotate(own_api, phone, tmp_path):
    following = ec.generate_private_key(ec.SECP256R1())
    signer = write_keys(tmp_path / "signer.pem", SESSION_KEY)
    verified = write_keys(tmp_path / "verified.pem", SESSION_KEY.public_key())
    api = own_api(HANDOFF_SESSION_TOKEN_KEY=signer, HANDOFF_SESSION_TOKEN_PUBLIC_KEYS=verified)
    session = phone.create({})["id"]
    of_both = [session_token(phone.user, session), session_token(phone.user, session, key=following)]

    def statuses():
        return [api.bearer(made).get(f"/sessions/{session}").status_code for made in of_both]

    def signed_by():
        made = api.bearer(of_both[1]).post(f"/sessions/{session}/token")
        assert made.status_code == 200, made.text
        return jwt.get_unverified_header(made.json()["token"])["kid"]

    assert statuses() == [200, 401]
    write_keys(tmp_path / "signer.pem", following)  # nobody could verify what it signs: refused as a whole
    hang_up(api, REFUSED)
    write_keys(tmp_path / "signer.pem", SESSION_KEY)
    write_keys(tmp_path / "verified.pem", SESSION_KEY.public_key(), following.public_key())
    hang_up(api)
    assert statuses() == [200, 200] and signed_by() == thumbprint(SESSION_KEY.public_key())
    for wrong in (lambda: write_half(tmp_path / "verified.pem", SESSION_KEY.public_key(), following.public_key()),
                  (tmp_path / "verified.pem").unlink, (tmp_path / "verified.pem").touch):
        wrong()
        hang_up(api, REFUSED)
        assert statuses() == [200, 200] and "HANDOFF_SESSION_TOKEN_PUBLIC_KEYS" in records(api, "reload_refused")[-1]["err"]
    write_keys(tmp_path / "verified.pem", SESSION_KEY.public_key(), following.public_key())
    write_keys(tmp_path / "signer.pem", following)
    hang_up(api)
    assert statuses() == [200, 200] and signed_by() == thumbprint(following.public_key())
    write_keys(tmp_path / "verified.pem", following.public_key())
    hang_up(api)
    assert statuses() == [401, 200]


def test_a_providers_keys_are_fetched_at_once(own_fanout, tmp_path, user):
    provider = Provider(Authority(tmp_path, "ca"), {"a": GONE, "b": SESSION_KEY})
    try:
        fanout = own_fanout(**provider.settings)
        of_key = [fanout.bearer(sign(kid, key, user, kid), user, kid) for kid, key in (("a", GONE), ("b", SESSION_KEY))]
        wait_until(lambda: metric(fanout.services["ws_fanout"], "handoff_jwks_keys") == 2, what="the provider's key")
        with of_key[0].connect() as goes, of_key[1].connect() as stays:
            goes.expect("hello")
            stays.expect("hello")
            del provider.keys["a"]
            hang_up(fanout)
            with pytest.raises(Closed) as closed:
                goes.recv_until("never")
            assert closed.value.code == 4001
            is_alive(stays)
    finally:
        provider.end()


def test_passwords_change_without_a_restart(suite, tmp_path, phone):
    """The servers take another one, and end the connections that came with the old one."""
    servers, name = suite.servers, "reloaded"

    def urls(password):
        def with_login(url):
            scheme, _, rest = url.partition("://")
            return f"{scheme}://{name}:{password}@{rest.rpartition('@')[2]}"
        return {"HANDOFF_REDIS_URL": with_login(servers.redis.url), "HANDOFF_AMQP_URL": with_login(servers.rabbitmq.url),
                "HANDOFF_DATABASE_URL": with_login(servers.postgresql.url)}

    def ask_redis(*words):
        for node in servers.redis.nodes:
            assert node.ask(*words) == "OK" or words[0] == "client"

    def ask_database(sql):
        query(servers, f"do $$ begin {sql}; end $$; select 1")

    ask_redis("acl", "setuser", name, "on", ">one", "~*", "&*", "+@all")
    ask_database(f"create role {name} superuser login password 'one'")
    grant = ", ".join(['<<".*">>'] * 3)
    servers.eval_in_broker(f'rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"one">>, <<"test">>), '
                           f'rabbit_auth_backend_internal:set_permissions(<<"{name}">>, <<"handoff">>, {grant}, <<"test">>).')
    files = Files(tmp_path / "urls", **urls("one"))
    (tmp_path / "logs").mkdir()
    all_four = Suite(servers, tmp_path / "logs", **files.env).start()
    try:
        files.write(**urls("two"))
        hang_up(all_four)
        ask_redis("acl", "setuser", name, "resetpass", ">two")
        ask_redis("client", "kill", "user", name)
        ask_database(f"alter role {name} password 'two'")
        query(servers, "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", name)
        servers.eval_in_broker(
            f'rabbit_auth_backend_internal:change_password(<<"{name}">>, <<"two">>, <<"test">>), '
            f'rabbit_networking:close_all_user_connections(<<"{name}">>, <<"test">>).')
        wait_until(lambda: records(all_four, "dependency_lost"), what="connections to be lost")
        for service in all_four.services.values():
            wait_until(lambda s=service: all(
                metric(s, f'handoff_dependency_up{{dependency="{d}"}}') == 1
                for d in ("redis", "rabbitmq", *(["postgresql"] if s.name != "ws_fanout" else []))),
                what=f"{service.name} with the new password")
        session = all_four.device(phone.user, "phone").create({})["id"]
        with subscribed(all_four.device(phone.user, "laptop"), session):
            pass
        assert {r["changed"] for r in records(all_four, "reloaded")} == {
            "HANDOFF_AMQP_URL HANDOFF_REDIS_URL HANDOFF_DATABASE_URL", "HANDOFF_AMQP_URL HANDOFF_REDIS_URL"}
        files.write(HANDOFF_REDIS_URL=urls("two")["HANDOFF_REDIS_URL"].replace("127.0.0.1", "localhost"))
        hang_up(all_four)
        assert {r["settings"] for r in records(all_four, "reload_needs_restart")} == {"HANDOFF_REDIS_URL"}
        ask_redis("client", "kill", "user", name)
        wait_until(lambda: all(metric(s, 'handoff_dependency_up{dependency="redis"}') == 1
                               for s in all_four.services.values()), what="Redis, where it was")
    finally:
        all_four.stop()
