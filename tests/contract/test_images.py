"""compose/Dockerfile, compose.yaml and make-secrets: they say what the services are and take. Whether they run
takes an engine; here they are held against the code, the documents and their formats' own rules."""

import json
import pathlib
import re
import stat
import subprocess
import time

import pytest
import redis
import yaml
from deployed import BINARIES, COMPOSE, ROOT, SERVICES, VERSION, check_config, drain_seconds, most_bytes, settings_of

IN_CONTAINERS = "/run/secrets"


# The images

@pytest.fixture(scope="module")
def stages():
    """Each stage's name → what it is from, and its instructions."""
    text = (COMPOSE / "Dockerfile").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        begins = re.match(r"FROM (\S+) AS (\S+)$", line)
        if begins:
            found[begins[2]] = (begins[1], stage := [])
        elif found and line and not line.startswith("#"):
            stage.append(line)
    return found


def packages_of(stages, name):
    """What a stage and those that it is from install."""
    base, instructions = stages[name]
    own = {word for line in instructions for names in re.findall(r"install -y --no-install-recommends ([^&]+)", line)
           for word in names.split()}
    return own | (packages_of(stages, base) if base in stages else set())


def needed_by(name):
    """The shared libraries that a program names, less what every image has."""
    told = subprocess.run(["objdump", "-p", BINARIES / name], capture_output=True, text=True, check=True).stdout
    return {soname for soname in re.findall(r"NEEDED\s+(\S+)", told) if not re.match(r"lib[cm]\.so|ld-linux|lib[au]\w*san\.", soname)}


@pytest.fixture(scope="module")
def package_of():
    """A shared library → its package."""
    patterns = {f"*/lib/*-linux-gnu/{soname}" for name in (*SERVICES, "handoff") for soname in needed_by(name)}
    done = subprocess.run(["dpkg-query", "-S", *patterns], capture_output=True, text=True, check=True)
    lines = [line.split(": ") for line in done.stdout.splitlines()]
    return {pathlib.Path(path).name: package.partition(":")[0] for package, path in lines}


def test_there_is_a_target_for_each_service_and_the_command(stages):
    assert set(stages) == {*SERVICES, "handoff", "build", "common", "service"}


@pytest.mark.parametrize("name", [*SERVICES, "handoff"])
def test_an_image_is_nobodys_and_has_the_libraries_that_its_program_needs(stages, package_of, name):
    instructions = stages[name][1]
    assert "USER 65532:65532" in instructions
    program = instructions[-1].removeprefix('ENTRYPOINT ["').removesuffix('"]')
    assert f"COPY --from=build /out/{name} {program}" in instructions
    packages = {package_of[soname] for soname in needed_by(name)}
    assert packages and packages <= packages_of(stages, name)


@pytest.mark.parametrize("name", SERVICES)
def test_its_health_check_needs_no_shell(stages, name):
    checks = [line for line in stages[name][1] if line.startswith("HEALTHCHECK ")]
    assert len(checks) == 1 and checks[0].endswith(f'CMD ["/usr/lib/handoff/{name}", "--is-ready"]')


def test_nothing_secret_gets_into_an_image():
    """All is kept out but what is named, and of compose/ that is one file."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert [line for line in lines if line.startswith("!compose")] == ["!compose/local/packages.txt"]


# Secrets

def content_of(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.parent.rglob("*") if path.is_file()}


def test_secrets_are_made_once_and_for_their_owner_alone(secrets):
    before = content_of(secrets)
    subprocess.run([COMPOSE / "make-secrets", secrets], check=True, capture_output=True)
    assert content_of(secrets) == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in before} == {0o600}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700


def test_no_password_is_one_that_everybody_knows(secrets):
    text = {path.name: path.read_text() for path in secrets.iterdir()}
    assert not [name for name, content in text.items() if re.search("change.me", content)]
    passwords = [content for content in text.values() if re.fullmatch("[0-9a-f]{64}", content)]
    assert len(passwords) == len(set(passwords)) > 10
    for kept in ("rabbitmq/definitions.json", "redis/users.acl", "postgresql/roles.sql"):
        template = (COMPOSE / kept).read_text()
        filled = re.sub("[0-9a-f]{64}", "*", text[pathlib.Path(kept).name])
        assert filled.startswith(re.sub(r"change[ -]me(: |-)\w+", "*", template))


class ComposedRedis:
    """Redis with the settings and users of compose, at a socket."""

    def __init__(self, secrets, folder):
        self.secrets, self.folder, self.socket = secrets, folder, folder / "socket"

    def __enter__(self):
        config = (COMPOSE / "redis" / "redis.conf").read_text().replace("/data\n", f"{self.folder}\n")
        (self.folder / "redis.conf").write_text(config.replace("/run/handoff/users.acl", str(self.secrets / "users.acl")))
        (self.folder / "log").touch()
        self.process = subprocess.Popen(["redis-server", self.folder / "redis.conf", "--port", "0", "--unixsocket", self.socket,
                                         "--logfile", self.folder / "log"])
        operator = self.client("operator", (self.secrets / "redis_operator").read_text())
        end = time.monotonic() + 30
        while not (self.socket.exists() and self.is_loaded(operator)):
            assert self.process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()
        return operator

    @staticmethod
    def is_loaded(client):
        try:
            return client.ping()
        except (redis.exceptions.BusyLoadingError, redis.exceptions.ConnectionError):
            return False

    def client(self, user=None, password=None):
        return redis.Redis(unix_socket_path=str(self.socket), username=user, password=password)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)


def test_redis_keeps_what_was_written_in_transactions(secrets, tmp_path):
    """It reads its AOF with the rights of the user default, and leaves out every transaction that these do not allow."""
    composed = ComposedRedis(secrets, tmp_path)
    with composed:
        engine = composed.client("state_engine", (secrets / "redis_state_engine").read_text())
        engine.pipeline(transaction=True).set("session:{a}:meta", 1).set("session:{a}:data", 2).execute()
    with composed as operator:
        assert operator.mget("session:{a}:meta", "session:{a}:data") == [b"1", b"2"]


def test_redis_tells_nobody_anything_who_does_not_say_who_he_is(secrets, tmp_path):
    composed = ComposedRedis(secrets, tmp_path)
    with composed:
        for stranger in (composed.client(), composed.client("default", ""), composed.client("default", "any")):
            with pytest.raises(redis.exceptions.RedisError, match="(?i)authentication required|WRONGPASS"):
                stranger.ping()
        health = composed.client("health", "any")
        assert health.ping()
        for command in (("INFO",), ("DBSIZE",), ("GET", "session:{a}:meta"), ("ACL", "LIST"), ("CONFIG", "GET", "*")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                health.execute_command(*command)


# Compose

@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """compose.yaml as compose reads it: checked against its schema, variables at their defaults."""
    (nothing := tmp_path_factory.mktemp("env") / ".env").touch()
    done = subprocess.run(["docker-compose", "--env-file", nothing, "-f", COMPOSE / "compose.yaml", "config"],
                          capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def test_compose_has_each_service_and_what_it_needs(project):
    assert {*SERVICES, "rabbitmq", "redis", "postgresql", "proxy", "prometheus", "alertmanager", "grafana"} <= set(project["services"])
    for name in SERVICES:
        assert project["services"][name]["image"] == f"handoff/{name}:{VERSION}"
        assert project["services"][name]["build"]["target"] == name


def test_each_image_has_a_tag_and_each_server_a_health_check(project):
    for name, service in project["services"].items():
        assert re.fullmatch(r"[a-z0-9./_-]+:v?\d[\w.-]*", service["image"]), name
        is_task = service["restart"] in ("on-failure", "no")
        assert ("healthcheck" in service) != is_task, name


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_be_scaled_and_changes_nothing_where_it_runs(project, name):
    service = project["services"][name]
    assert not {"ports", "container_name", "hostname", "volumes"} & set(service)
    assert (service["read_only"], service["cap_drop"], service["user"]) == (True, ["ALL"], "65532:65532")
    assert service["healthcheck"]["test"] == ["CMD", f"/usr/lib/handoff/{name}", "--is-ready"]
    assert int(service["stop_grace_period"].removesuffix("s")) >= drain_seconds() + 2
    assert service["pids_limit"] <= 64 and int(service["mem_limit"].removesuffix("m")) << 20 >= most_bytes(name) + (64 << 20)


def test_what_else_runs_has_bounds_too(project):
    """Redis bounds what it holds by maxmemory, the proxy by its connections."""
    others = {name: service for name, service in project["services"].items() if name not in SERVICES}
    assert not [name for name, service in others.items() if not 0 < service.get("pids_limit", 0) <= 1024]
    assert {name for name, service in others.items() if "mem_limit" not in service} == {"redis", "proxy"}
    alarm = re.search(r"^vm_memory_high_watermark\.absolute = (\d+)GB$", (COMPOSE / "rabbitmq" / "rabbitmq.conf").read_text(), re.M)
    assert others["rabbitmq"]["mem_limit"] == f"{2 * int(alarm[1])}g"


def test_volumes_are_named_and_files_are_there(project):
    for name, service in project["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0] if isinstance(volume, str) else volume["source"]
            assert source in project["volumes"] or pathlib.Path(source).exists(), (name, source)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_takes_its_environment_in_compose(project, secrets, name):
    service = project["services"][name]
    environment = service["environment"]
    assert set(environment) <= settings_of(name)
    used = {value.removeprefix(IN_CONTAINERS + "/") for value in environment.values() if value.startswith(IN_CONTAINERS)}
    given = {secret if isinstance(secret, str) else secret["source"] for secret in service["secrets"]}
    assert used == given
    assert all(secret.startswith((f"{name}_", "jwt_", "session_token_")) for secret in given)
    check_config(name, {key: value.replace(IN_CONTAINERS, str(secrets)) for key, value in environment.items()})


@pytest.mark.parametrize("name", SERVICES)
def test_it_takes_what_handoff_env_shows(name):
    """Each line that is commented out, as somebody puts it to use."""
    shown = dict(re.findall(r"^#(HANDOFF_\w+)=(\S+)$", (COMPOSE / "handoff.env").read_text(), re.M))
    assert len(shown) >= 8 and set(shown) <= set().union(*map(settings_of, SERVICES))
    own = {key: value for key, value in shown.items() if key in settings_of(name)}
    said = check_config(name, {**shown, "HANDOFF_JWT_SECRET": 64 * "x"})
    for key in own:
        assert re.search(rf"^{key}=.* \(environment\)$", said, re.M), key


def test_the_exporter_asks_redis_as_a_user_of_its_own(project, secrets):
    environment = project["services"]["redis_exporter"]["environment"]
    address, user = environment["REDIS_ADDR"], environment["REDIS_USER"]
    passwords = json.loads((secrets / "redis_exporter.json").read_text())
    assert set(passwords) == {address, address.replace("redis://", f"redis://{user}@")}
    [password] = set(passwords.values())
    [rule] = [line for line in (secrets / "users.acl").read_text().splitlines() if line.startswith(f"user {user} ")]
    assert f">{password} resetkeys" in rule and "-@all" in rule and "~" not in rule


def test_the_exporter_asks_postgresql_as_a_role_of_its_own(project, secrets):
    environment = project["services"]["postgres_exporter"]["environment"]
    assert environment["DATA_SOURCE_PASS_FILE"] == f"{IN_CONTAINERS}/postgresql_exporter"
    password, role = (secrets / "postgresql_exporter").read_text(), environment["DATA_SOURCE_USER"]
    rights = [line for line in (secrets / "roles.sql").read_text().splitlines() if re.search(rf"\b{role}\b", line)]
    assert rights == [f"CREATE ROLE {role} LOGIN PASSWORD '{password}' CONNECTION LIMIT 5;", f"GRANT pg_monitor TO {role};"]


def test_redis_in_compose_has_a_bound_and_evicts_nothing(project):
    assert re.search(r"redis-server /etc/redis/redis\.conf --maxmemory 1gb$", project["services"]["redis"]["entrypoint"][-1])
    assert re.search("^maxmemory 1gb\nmaxmemory-policy noeviction$", (COMPOSE / "redis" / "redis.conf").read_text(), re.M)


def test_no_secret_is_an_argument(project):
    """Those of a process anybody on the machine may read; its environment its own user alone."""
    for name, service in project["services"].items():
        for line in [*service.get("entrypoint", []), *service.get("command", [])]:
            for before in re.findall(r"(\S*)\$\(cat /run/secrets", line):
                assert re.fullmatch(r'\w+="?\$?', before), (name, line)


def test_making_secrets_shows_none_to_who_lists_processes(tmp_path):
    """Each program that it starts says with what."""
    (folder := tmp_path / "bin").mkdir()
    for name in ("sed", "cat", "tr", "sort", "grep", "openssl", "chown", "mv", "mkdir", "dirname", "id", "rm"):
        (folder / name).write_text(f"""#!/bin/sh
printf '%s\\n' "$*" >>{tmp_path}/arguments
PATH=/usr/bin:/bin exec {name} "$@"
""")
        (folder / name).chmod(0o755)
    subprocess.run([COMPOSE / "make-secrets", tmp_path / "secrets"], check=True, capture_output=True, env={"PATH": f"{folder}:/usr/bin:/bin"})
    told = (tmp_path / "arguments").read_text()
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    passwords = {name: text for name, text in made.items() if re.fullmatch("[0-9a-f]{64}", text)}
    assert len(passwords) > 10 and str(tmp_path / "secrets" / "users.acl") in told
    assert not [name for name, text in passwords.items() if text in told]


def test_make_secrets_makes_what_compose_has(project, secrets):
    for secret in project["secrets"].values():
        assert (secrets / pathlib.Path(secret["file"]).name).is_file()


def test_prometheus_finds_what_it_asks(project):
    services = project["services"]
    config = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())
    asked = [name for job in config["scrape_configs"] for found in job.get("dns_sd_configs", []) for name in found["names"]]
    fixed = [target for job in [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]
             for found in job.get("static_configs", []) for target in found["targets"]]
    assert set(asked) == set(SERVICES)
    assert {"redis_exporter:9121", "postgres_exporter:9187", "node_exporter:9100", "rabbitmq:15692", "proxy_metrics:8405"} <= set(fixed)
    for name in [*asked, *(target.partition(":")[0] for target in fixed)]:
        assert set(services[name]["networks"]) & set(services["prometheus"]["networks"]), name


def test_the_proxy_is_the_tested_one_with_instances_found_by_name():
    """compose/proxy/haproxy.cfg is what end-to-end tests run on."""
    tested, composed = ((COMPOSE / "proxy" / name).read_text().partition("\nglobal\n")[2]
                        for name in ("haproxy.cfg", "haproxy.compose.cfg"))
    resolvers = re.search(r"^# The network's own DNS.*?\n\n", composed, re.M | re.S)[0]
    servers = r"(?: +server \w+-\d \S+ port \d+\n)+"
    names = iter(("session_api:8080", "ws_fanout:8081"))

    def by_name(_):
        name = next(names)
        return f"    server-template {name.partition(':')[0]}- 16 {name} port 9100 resolvers network init-addr none\n"

    assert re.sub(servers, by_name, tested).replace("bind 127.0.0.1:8405", "bind :8405") == composed.replace(resolvers, "")


def test_the_proxy_s_metrics_go_by_a_relay_and_nowhere_else(project):
    """The proxy has no network with Prometheus or a server, and what strangers reach of it is its origin."""
    services = project["services"]
    assert set(services["proxy"]["networks"]) == {"front"} and not {"front"} & set(services["prometheus"]["networks"])
    assert "ports" not in services["proxy_metrics"]
    assert [re.search(r"(\d+)\W*$", str(port))[1] for port in services["proxy"]["ports"]] == ["8000"]
    passed = (COMPOSE / "proxy" / "metrics.compose.cfg").read_text()
    assert re.findall(r"^ +server (.*)$", passed, re.M) == ["proxy proxy:8405 resolvers network init-addr none"]


@pytest.mark.parametrize("name", ["haproxy.compose.cfg", "metrics.compose.cfg"])
def test_haproxy_takes_its_file(name):
    done = subprocess.run(["haproxy", "-c", "-q", "-f", COMPOSE / "proxy" / name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
