"""compose/kubernetes, as kustomize renders it: objects that Kubernetes takes, pods that the services run in as they are meant to, and
settings that reach them. Its schemas are those of npm's kubernetes-models, and of python3-kubernetes, which knows each member."""

import copy
import functools
import importlib
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest
import yaml
from deployed import COMPOSE, ROOT, SERVICES, VERSION, check_config, drain_seconds, most_bytes, settings_of

BASE = COMPOSE / "kubernetes"
VALIDATE = ROOT / "tests" / "kubernetes" / "validate.mjs"
IN_PODS, KEYS_IN_PODS = "/run/secrets/handoff", "/etc/handoff/jwt_keys"
HOW_TO = (ROOT / "docs" / "how-to" / "deploy-kubernetes.md").read_text()


@functools.cache
def rendered(folder):
    """What `kubectl apply -k` would send."""
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def manifests():
    return rendered(BASE) + rendered(BASE / "network-policy") + rendered(BASE / "migrate")


def of_kind(kind, documents=None):
    return {document["metadata"]["name"]: document for document in documents or manifests() if document["kind"] == kind}


def deployment_of(service, documents=None):
    return of_kind("Deployment", documents)[service.replace("_", "-")]


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


# The newest that Debian 12 knows of the first one is v2beta2, which became v2 as it was.
MODELS = {("autoscaling/v2", "HorizontalPodAutoscaler"): "V2beta2HorizontalPodAutoscaler"}


def model_of(document):
    version, kind = document["apiVersion"], document["kind"]
    return MODELS.get((version, kind)) or version.rpartition("/")[2].capitalize() + kind


def faults(documents):
    """What is wrong with each: [text or None]. Required members, values and quantities by the schemas, unknown members by the models."""
    done = subprocess.run(["node", VALIDATE], input=json.dumps(documents), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for n, document in enumerate(documents):
        if not found[n]:
            try:
                check_model(model_of(document), document, document["kind"])
            except AssertionError as error:
                found[n] = str(error)
    return found


def test_a_manifest_is_what_kubernetes_knows():
    names = [f"{document['kind']} {document['metadata']['name']}" for document in manifests()]
    assert dict(zip(names, faults(manifests()))) == dict.fromkeys(names)


POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
# Where, which member, and what it is made; None: it is taken away.
MISTAKES = [
    ("Deployment", POD, "terminationGracePeriodSecond", 20), ("Deployment", (*CONTAINER, "readinessProbe"), "periodSecond", 2),
    ("Deployment", (*POD, "volumes", 0, "projected", "sources", 0, "secret"), "nam", "x"), ("Deployment", (), "spce", {}),
    ("Deployment", CONTAINER, "envfrom", []), ("HorizontalPodAutoscaler", ("spec",), "minReplica", 2),
    ("PodDisruptionBudget", ("spec",), "maxUnavailble", 1), ("NetworkPolicy", ("spec",), "policyType", ["Ingress"]),
    ("Deployment", ("spec",), "minReadySeconds", "5"), ("Deployment", (*CONTAINER, "securityContext"), "readOnlyRootFilesystem", "true"),
    ("Deployment", (*CONTAINER, "env", 0), "value", 9100), ("Deployment", (*CONTAINER, "securityContext", "capabilities"), "drop", "ALL"),
    ("Deployment", ("spec", "strategy", "rollingUpdate"), "maxSurge", 0.5), ("Deployment", ("metadata", "labels"), "n", 1),
    ("Deployment", POD, "containers", None), ("Deployment", ("spec",), "selector", None),
    ("Deployment", (*CONTAINER, "ports", 0), "containerPort", None),
    ("HorizontalPodAutoscaler", ("spec",), "maxReplicas", None), ("HorizontalPodAutoscaler", ("spec", "metrics", 0), "type", None),
    ("Deployment", (*CONTAINER, "resources", "limits"), "memory", "256Megs"), ("Deployment", ("spec", "strategy"), "type", "Rolling"),
    ("Deployment", CONTAINER, "imagePullPolicy", "Sometimes"), ("Deployment", (), "apiVersion", "apps/v1beta9"), ("Service", (), "kind", "Servce"),
]


def test_a_mistake_in_a_manifest_would_be_found():
    wrong = []
    for kind, path, member, value in MISTAKES:
        document = copy.deepcopy(next(d for d in manifests() if d["kind"] == kind))
        place = functools.reduce(lambda node, step: node[step], path, document)
        if value is None:
            del place[member]
        else:
            place[member] = value
        wrong.append(document)
    passed = [mistake for mistake, fault in zip(MISTAKES, faults(wrong)) if not fault]
    assert not passed


def test_kubernetes_has_each_service_with_a_budget():
    names = {name.replace("_", "-") for name in SERVICES}
    assert set(of_kind("Deployment")) == set(of_kind("PodDisruptionBudget")) == names
    assert set(of_kind("HorizontalPodAutoscaler")) == names - {"audit-writer"}
    assert set(of_kind("Service")) == {"session-api", "ws-fanout"}
    assert {container_of(deployment_of(name))[1]["image"] for name in SERVICES} == {f"handoff/{name}:{VERSION}" for name in SERVICES}


@pytest.mark.parametrize("name", SERVICES)
def test_what_selects_pods_finds_them(name):
    deployment = deployment_of(name)
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
    pod, container = container_of(deployment_of(name))
    assert (pod["enableServiceLinks"], pod["automountServiceAccountToken"]) == (False, False)
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                            "capabilities": {"drop": ["ALL"]}}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all(set(volume) == {"name", "projected"} for volume in pod["volumes"])
    assert set(container["resources"]["requests"]) == {"cpu", "memory"} and "memory" in container["resources"]["limits"]


def test_the_schema_is_migrated_by_a_pod_like_audit_writers():
    [text] = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "how-to" / "upgrade.md").read_text(), re.M | re.S)
    [job] = overlay(text)
    assert not list(filter(None, faults([job])))
    assert (job["kind"], job["metadata"]["name"], job["metadata"]["namespace"]) == ("Job", "migrate", "handoff")
    (pod, container), (like, service) = container_of(job), container_of(deployment_of("audit_writer"))
    assert (container["image"], container["args"]) == ("registry.example/handoff/handoff:0.2.0", ["migrate", "up"])
    assert container["securityContext"] == service["securityContext"] and container["volumeMounts"] == service["volumeMounts"]
    for member in ("securityContext", "enableServiceLinks", "automountServiceAccountToken"):
        assert pod[member] == like[member]
    assert [entry for entry in service["env"] if entry in container["env"]] == container["env"]
    given = pod["volumes"][0]["projected"]["sources"][0]["secret"]
    assert given["name"] in [source["secret"]["name"] for source in like["volumes"][0]["projected"]["sources"]]
    assert [f"{IN_PODS}/{item['path']}" for item in given["items"]] == [entry["value"] for entry in container["env"]]


@pytest.mark.parametrize("name", SERVICES)
def test_a_pod_may_hold_what_its_bounds_let_it_hold(name):
    limit = container_of(deployment_of(name))[1]["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Mi")) << 20 >= most_bytes(name) + (64 << 20)


@pytest.mark.parametrize("name", SERVICES)
def test_a_pod_has_time_to_end(name):
    pod, container = container_of(deployment_of(name))
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1]) if "lifecycle" in container else 0
    assert ("lifecycle" in container) == (name.replace("_", "-") in of_kind("Service"))
    assert pod["terminationGracePeriodSeconds"] >= before + drain_seconds() + 2


def test_the_network_lets_strangers_to_what_is_served_and_to_nothing_else():
    [policy] = of_kind("NetworkPolicy").values()
    everybody, some = policy["spec"]["ingress"]
    assert everybody == {"ports": [{"port": "http"}]}
    assert some["ports"] == [{"port": "admin"}] and [set(peer) for peer in some["from"]] == [{"namespaceSelector"}]
    for name in SERVICES:
        template = deployment_of(name)["spec"]["template"]
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        assert ports == ({"http", "admin"} if name.replace("_", "-") in of_kind("Service") else {"admin"})


# Settings

def environment_of(name, documents):
    """What a service gets: the ConfigMap's, and over them the deployment's own."""
    _, container = container_of(deployment_of(name, documents))
    [source] = container["envFrom"]
    settings = dict(of_kind("ConfigMap", documents)[source["configMapRef"]["name"]]["data"])
    own = {entry["name"]: entry["value"] for entry in container["env"]}
    assert not {*own} & {*settings}, "what a ConfigMap says there would not count"
    return {**settings, **own}


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """Files: a certificate, and its public key, for RS256."""
    folder = tmp_path_factory.mktemp("key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-keyout", folder / "private.pem",
                    "-out", folder / "certificate.pem"], capture_output=True, check=True)
    public = subprocess.run(["openssl", "pkey", "-in", folder / "private.pem", "-pubout"], capture_output=True, check=True).stdout
    (folder / "public.pem").write_bytes(public)
    return folder / "certificate.pem", folder / "public.pem"


def here(name, environment, secrets, key, folder):
    """The same with files that are here, each where one of the pod's volumes has it."""
    mounts = {mount["mountPath"] for mount in container_of(deployment_of(name))[1]["volumeMounts"]}
    # As Kubernetes mounts files: behind links, so that all change at once.
    (data := folder / "jwt_keys" / "..data").mkdir(parents=True)
    certificate, public = key
    shutil.copy(public, data / "key-1.pem")
    (folder / "jwt_keys" / "key-1.pem").symlink_to("..data/key-1.pem")
    (folder / "log_level").write_text("debug")
    (folder / "otlp_authorization").write_text("Bearer token")
    (folder / "jwt_secret_previous").touch()
    shutil.copy(certificate, folder / "jwks_ca.pem")
    for setting, value in environment.items():
        if setting in settings_of(name) and value.startswith("/"):
            mount, _, file = (value, "", "") if value in mounts else value.rpartition("/")
            assert mount in mounts, (setting, value)
            for made in (secrets / file, secrets / f"{name}_{file}"):
                if file and made.exists():
                    (folder / file).write_bytes(made.read_bytes())
    keys = str(folder / "jwt_keys")
    return {setting: value.replace(IN_PODS, str(folder)).replace(KEYS_IN_PODS, keys) for setting, value in environment.items()}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_takes_its_environment_in_a_pod(secrets, key, tmp_path, name):
    environment = environment_of(name, manifests())
    assert set(environment) <= settings_of(name)
    check_config(name, here(name, environment, secrets, key, tmp_path))


@functools.cache
def overlay(text):
    """What one of the how-to's makes of the base."""
    with tempfile.TemporaryDirectory() as parent:
        folder = pathlib.Path(parent, "mine")
        folder.mkdir()
        folder.with_name("handoff").symlink_to(ROOT)
        (folder / "kustomization.yaml").write_text(text)
        try:
            return rendered(folder)
        except AssertionError as error:
            # To the kustomize that Debian 12's kubectl has, folders are something else than files.
            assert "must be a file" in str(error)
            (folder / "kustomization.yaml").write_text(text.replace("resources:", "bases:", 1))
            return rendered(folder)


OVERLAYS = re.findall(r"^```yaml\n(.*?)^```$", HOW_TO, re.M | re.S)


def test_what_an_overlay_makes_is_what_kubernetes_knows():
    made = [document for text in OVERLAYS for document in overlay(text)]
    assert len(OVERLAYS) == 2 and not list(filter(None, faults(made)))
    assert {document["metadata"]["namespace"] for document in made} == {"handoff"}


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("text", OVERLAYS, ids=["origins", "files"])
def test_an_overlay_reaches_its_service(text, secrets, key, tmp_path, name):
    documents = overlay(text)
    assert container_of(deployment_of(name, documents))[1]["image"] == f"registry.example/handoff/{name}:{VERSION}"
    environment = environment_of(name, documents)
    added = {*environment} - {*environment_of(name, manifests())}
    said = check_config(name, here(name, environment, secrets, key, tmp_path))
    for setting in added & settings_of(name):
        assert re.search(rf"^({setting}|{setting.removesuffix('_FILE')})=\S* +\((environment|file)\)", said, re.M), (setting, said)
