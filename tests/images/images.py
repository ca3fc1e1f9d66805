"""Builds each target of compose/Dockerfile, from what git knows of, and looks at what came out."""

import json
import os
import pathlib
import re
import secrets
import shutil
import subprocess

from engine import FOLDER, ROOT, SERVICES, VERSION, inspect, podman, run, say

MAX_COMPRESSED = 60_000_000  # B
USER = "65532:65532"
SHUT_IN = ("--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--network", "none")
ENVIRONMENT = ("-e", "HANDOFF_JWT_SECRET=" + "0" * 64)
# What apt, a program's packages and the builder change without dpkg's knowing.
BY_PACKAGES = re.compile(r"/(etc/hosts|etc/ld\.so\.cache|etc/ssl/certs/.*|etc/ca-certificates\.conf|usr/lib/.*\.usr-is-merged|"
                         r"var/lib/(dpkg|apt|pam|systemd|ucf|ca-certificates)(/.*)?|"
                         r"var/cache/(ldconfig|debconf|apt|ca-certificates|man|fontconfig)(/.*)?|"
                         r"usr/(local/)?share/(ca-certificates|fonts|mime|info)(/.*)?|var/log/.*|etc/\.pwd\.lock|run(/.*)?)")


def image_of(target):
    """As Docker calls what compose.yaml calls handoff/…"""
    return f"docker.io/handoff/{target}:{VERSION}"


def program_of(target):
    return "/usr/bin/handoff" if target == "handoff" else f"/usr/lib/handoff/{target}"


def make_context(marker):
    """What somebody builds from who has used compose: secrets lie where make-secrets puts them, each with the marker."""
    context = FOLDER / "context"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    listed = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    there = [name for name in listed.split(b"\0") if name and os.path.lexists(ROOT / os.fsdecode(name))]
    subprocess.run(f"tar --null -T - -c | tar -x -C '{context}'", shell=True, cwd=ROOT, input=b"\0".join(there), check=True)
    for name in ("compose/secrets/jwt_secret", "compose/secrets/session_token_key.pem", "compose/.env", ".env", ".git/config",
                 ".run/jwt.secret", "build/gcc/bin/session_api", "services/session_api/test/key.pem"):
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(marker + "\n")
    return context


def build(context, target, base):
    # --layers: what did not change is not built again.
    run("buildah", "bud", "--isolation", "chroot", "--format", "docker", "--layers", "--pull-never", "--build-arg", f"BASE={base}",
        "-f", "compose/Dockerfile", "--target", target, "-t", image_of(target), ".", cwd=context, log=FOLDER / f"build-{target}.log")


def compressed_layers(target):
    """Each layer's digest → B, as a registry has them."""
    pushed = FOLDER / "pushed"
    shutil.rmtree(pushed, ignore_errors=True)
    run("buildah", "push", image_of(target), f"oci:{pushed}:{target}")
    manifest = json.loads((pushed / "index.json").read_text())["manifests"][0]["digest"]
    layers = json.loads((pushed / "blobs" / manifest.replace(":", "/")).read_text())["layers"]
    shutil.rmtree(pushed)
    return {layer["digest"]: layer["size"] for layer in layers}


class Mounted:
    """An image's files, at a path."""

    def __init__(self, image):
        self.image = image

    def __enter__(self):
        self.path = pathlib.Path(podman("image", "mount", self.image).strip())
        return self.path

    def __exit__(self, *_):
        podman("image", "unmount", self.image)


def files_of(tree):
    return {"/" + str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_symlink() or not path.is_dir()}


def of_packages(tree):
    """What dpkg has put there; by the paths of a merged /usr, too."""
    found = set()
    for listed in (tree / "var/lib/dpkg/info").glob("*.list"):
        found |= set(listed.read_text().splitlines())
    return found | {f"/usr{path}" for path in found}


def files_with(tree, marker):
    done = subprocess.run(["grep", "-rlsF", "--exclude-dir=proc", "--exclude-dir=sys", "--", marker, tree], capture_output=True, text=True)
    return done.stdout.splitlines()


def look_at_files(checks, target, base_files, marker):
    with Mounted(image_of(target)) as tree:
        more = {path for path in files_of(tree) - base_files - of_packages(tree) if not BY_PACKAGES.fullmatch(path)}
        checks.check("beside Debian's packages it has its program alone", more == {program_of(target)}, sorted(more)[:10])
        found = files_with(tree, marker) + files_with(tree / program_of(target)[1:], "PRIVATE KEY-----")
        checks.check("nothing in it is secret", not found, found)


def shut_in(target, *words):
    return subprocess.run(["podman", "run", "--rm", *SHUT_IN, *ENVIRONMENT, image_of(target), *words], capture_output=True, text=True)


def look_at_health_check(checks, target, about):
    test = (about.get("Healthcheck") or {}).get("Test")
    if target == "handoff":
        checks.check("it has no health check: it serves nothing", test is None, test)
        return
    wanted = ["CMD", program_of(target), "--is-ready"]
    checks.check("its health check is the program itself, without a shell", test == wanted, test)
    done = shut_in(target, "--is-ready")
    checks.check("where nothing runs, it says so", done.returncode == 1, f"{done.returncode} {done.stderr}")


def look_at(checks, target, base_files, marker):
    about = inspect(image_of(target))
    config = about["Config"]
    checks.check(f"it runs as {USER}", config["User"] == USER, config["User"])
    checks.check("its entry point is the program", config["Entrypoint"] == [program_of(target)], config["Entrypoint"])
    look_at_health_check(checks, target, about)
    told = json.dumps(about["History"]) + json.dumps(config)
    checks.check("its history tells no secret", marker not in told and not re.search("PASSWORD|SECRET|PRIVATE", told))
    look_at_files(checks, target, base_files, marker)
    done = shut_in(target, "--version")
    checks.check("it starts with a read-only root and no capability", (done.returncode, VERSION in done.stdout) == (0, True),
                 f"{done.returncode} {done.stdout} {done.stderr}")


def check_images(checks, base):
    """Builds and looks; of each image (target, its layers, unpacked B)."""
    marker = f"must-not-get-out-{secrets.token_hex(16)}"
    context = make_context(marker)
    say("== build")
    build(context, "build", base)
    with Mounted(image_of("build")) as tree:
        found = files_with(tree / "src", marker) + files_with(tree / "out", marker)
        checks.check("nothing secret gets into the stage that compiles", not found, found)
    with Mounted(base) as tree:
        base_files = files_of(tree)
    rows = []
    for target in (*SERVICES, "handoff"):
        say(f"== handoff/{target}:{VERSION}")
        build(context, target, base)
        look_at(checks, target, base_files, marker)
        layers = compressed_layers(target)
        size = sum(layers.values())
        checks.check(f"it is smaller than {MAX_COMPRESSED // 10**6} MB, compressed", size < MAX_COMPRESSED, size)
        rows.append((target, layers, inspect(image_of(target))["Size"]))
    shutil.rmtree(context)
    podman("image", "prune", "-f")  # stages of sources that have changed since
    return rows


def table(rows):
    shared = set.intersection(*(set(layers) for _, layers, _ in rows))
    say(f"\n  {'image':24}{'compressed':>14}{'the same in all':>18}{'unpacked':>12}")
    for target, layers, unpacked in rows:
        same = sum(layers[digest] for digest in shared)
        say(f"  {'handoff/' + target:24}{sum(layers.values()) / 1e6:11.1f} MB{same / 1e6:15.1f} MB{unpacked / 1e6:9.1f} MB")
    say("")
