"""compose/Dockerfile, compose.yaml, kubernetes and make-secrets: they say what the services are and take. Whether they run
takes an engine; here they are held against the code, the documents and their formats' own rules."""

import importlib
import json
import os
import pathlib
import re
import stat
import subprocess
import time

import pytest
import redis
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "compose"
BINARIES = ROOT / os.environ.get("HANDOFF_BUILD", "build/gcc") / "bin"
SERVICES = sorted(p.parent.name for p in (ROOT / "services").glob("*/main.c"))
VERSION = re.search(r'HANDOFF_VERSION "(.+)"', (ROOT / "common" / "version.h").read_text())[1]
IN_PODS, IN_CONTAINERS = "/run/secrets/handoff", "/run/secrets"


def check_config(service, environment):
    """What the service itself says of it."""
    done = subprocess.run([BINARIES / service, "--check-config"], env={"PATH": os.environ["PATH"], **environment}, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def settings_of(service):
    """Those that docs/CONFIG.md says it has; with _FILE, too, where that may be."""
    names = set()
    for name, star, users in re.findall(r"^## (HANDOFF_\w+)( \*)?\n.*?- Used by: ([^\n]+)", (ROOT / "docs" / "CONFIG.md").read_text(),
                                        re.M | re.S):
        if users == "all" or service in users.split(", "):
            names |= {name, f"{name}_FILE"} if star else {name}
    return names


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

@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    subprocess.run([COMPOSE / "make-secrets", folder], check=True, capture_output=True)
    return folder


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
    assert {"redis_exporter:9121", "node_exporter:9100", "rabbitmq:15692"} <= set(fixed)
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

    assert re.sub(servers, by_name, tested) == composed.replace(resolvers, "")
    done = subprocess.run(["haproxy", "-c", "-q", "-f", COMPOSE / "proxy" / "haproxy.compose.cfg"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Kubernetes

def manifests():
    kustomization = yaml.safe_load((COMPOSE / "kubernetes" / "kustomization.yaml").read_text())
    return [document for name in kustomization["resources"]
            for document in yaml.safe_load_all((COMPOSE / "kubernetes" / name).read_text())]


def of_kind(kind):
    return {document["metadata"]["name"]: document for document in manifests() if document["kind"] == kind}


def container_of(deployment):
    pod = deployment["spec"]["template"]["spec"]
    assert len(pod["containers"]) == 1
    return pod, pod["containers"][0]


def check_model(type_name, value, where):
    """Against Kubernetes' own API, as python3-kubernetes has it: no member that it does not know, none of another type."""
    many = re.fullmatch(r"list\[(.+)\]", type_name)
    named = re.fullmatch(r"dict\(str, (.+)\)", type_name)
    if many:
        assert isinstance(value, list), where
        for n, member in enumerate(value):
            check_model(many[1], member, f"{where}[{n}]")
    elif named:
        assert isinstance(value, dict), where
        for key, member in value.items():
            check_model(named[1], member, f"{where}.{key}")
    elif type_name in ("str", "int", "bool", "object"):
        plain = {"str": str, "int": int, "bool": bool, "object": (str, int)}[type_name]
        assert isinstance(value, plain) and isinstance(value, bool) == (type_name == "bool"), where
    else:
        model = getattr(importlib.import_module("kubernetes.client"), type_name)
        members = {name: model.openapi_types[attribute] for attribute, name in model.attribute_map.items()}
        assert isinstance(value, dict) and set(value) <= set(members), (where, set(value) - set(members))
        for name, member in value.items():
            check_model(members[name], member, f"{where}.{name}")


# The newest that Debian 12 knows of the last one is v2beta2, which became v2 as it was.
MODELS = {"Deployment": ("apps/v1", "V1Deployment"), "Service": ("v1", "V1Service"),
          "PodDisruptionBudget": ("policy/v1", "V1PodDisruptionBudget"),
          "HorizontalPodAutoscaler": ("autoscaling/v2", "V2beta2HorizontalPodAutoscaler")}


@pytest.mark.parametrize("document", manifests(), ids=lambda d: f"{d['kind']}-{d['metadata']['name']}")
def test_a_manifest_is_what_kubernetes_knows(document):
    version, model = MODELS[document["kind"]]
    assert document["apiVersion"] == version
    check_model(model, document, document["kind"])


def test_kubernetes_has_each_service_with_a_budget():
    names = {name.replace("_", "-") for name in SERVICES}
    assert set(of_kind("Deployment")) == set(of_kind("PodDisruptionBudget")) == names
    assert set(of_kind("HorizontalPodAutoscaler")) == names - {"audit-writer"}
    assert set(of_kind("Service")) == {"session-api", "ws-fanout"}
    images = yaml.safe_load((COMPOSE / "kubernetes" / "kustomization.yaml").read_text())["images"]
    assert {(image["name"], image["newTag"]) for image in images} == {(f"handoff/{name}", VERSION) for name in SERVICES}


@pytest.mark.parametrize("name", SERVICES)
def test_what_selects_pods_finds_them(name):
    deployment = of_kind("Deployment")[name.replace("_", "-")]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    pod, container = container_of(deployment)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert of_kind(kind)[name.replace("_", "-")]["spec"]["selector"]["matchLabels"].items() <= labels
    for spread in pod["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= labels
    scaler = of_kind("HorizontalPodAutoscaler").get(name.replace("_", "-"))
    if scaler:
        assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name.replace("_", "-")}
        assert "replicas" not in deployment["spec"], "it would undo the scaling at each apply"
    service = of_kind("Service").get(name.replace("_", "-"))
    if service:
        assert service["spec"]["selector"].items() <= labels
        assert all(port["targetPort"] in ports for port in service["spec"]["ports"])
    assert ports["admin"] == 9100
    assert [container[probe]["httpGet"] for probe in ("readinessProbe", "livenessProbe")] == [
        {"path": "/ready", "port": "admin"}, {"path": "/health", "port": "admin"}]


@pytest.mark.parametrize("name", SERVICES)
def test_a_pod_is_restricted(name):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, "Restricted"."""
    pod, container = container_of(of_kind("Deployment")[name.replace("_", "-")])
    assert (pod["enableServiceLinks"], pod["automountServiceAccountToken"]) == (False, False)
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                            "capabilities": {"drop": ["ALL"]}}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all(set(volume) == {"name", "projected"} for volume in pod["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_takes_its_environment_in_a_pod(secrets, tmp_path, name):
    _, container = container_of(of_kind("Deployment")[name.replace("_", "-")])
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    literals = yaml.safe_load((COMPOSE / "kubernetes" / "kustomization.yaml").read_text())["configMapGenerator"][0]["literals"]
    for literal in literals:
        environment.setdefault(*literal.split("=", 1))
    assert set(environment) <= settings_of(name)
    for value in environment.values():
        if value.startswith(IN_PODS):
            file = value.removeprefix(IN_PODS + "/")
            made = secrets / file if (secrets / file).exists() else secrets / f"{name}_{file}"
            (tmp_path / file).write_bytes(made.read_bytes())
    check_config(name, {key: value.replace(IN_PODS, str(tmp_path)) for key, value in environment.items()})
