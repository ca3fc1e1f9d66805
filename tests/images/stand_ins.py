"""What compose/compose.yaml has from elsewhere, from Debian's packages (stand_ins/Dockerfile), under the names that it has
there; what Debian has not is left out of the run, and said."""

import pathlib
import re

import yaml

from engine import FOLDER, ROOT, podman, run, say

HERE = pathlib.Path(__file__).resolve().parent / "stand_ins"
VERSION_OF = {"rabbitmq": "rabbitmq-server", "redis": "redis-server", "postgres": "postgresql-15", "haproxy": "haproxy",
              "prometheus": "prometheus", "alertmanager": "prometheus-alertmanager",
              "node-exporter": "prometheus-node-exporter", "redis_exporter": "prometheus-redis-exporter"}


def services():
    """Each service of compose.yaml, as it is written there."""
    return yaml.safe_load((ROOT / "compose" / "compose.yaml").read_text())["services"]


def _target_of(image):
    name = image.rpartition("/")[2].partition(":")[0]
    return name if f" AS {name}\n" in (HERE / "Dockerfile").read_text() else None


def missing():
    """The services whose image there is no stand-in for."""
    return sorted(name for name, service in services().items() if "build" not in service and not _target_of(service["image"]))


def build_stand_ins(base):
    say("== stand-ins for images from elsewhere: what compose.yaml names, and what runs in its place")
    images = {service["image"]: _target_of(service["image"]) for service in services().values() if "build" not in service}
    for image, target in sorted(images.items()):
        if not target:
            say(f"  {image:48} none: not in Debian, left out of the run")
            continue
        run("buildah", "bud", "--isolation", "chroot", "--format", "docker", "--layers", "--pull-never", "--build-arg", f"BASE={base}",
            "--target", target, "-t", image, ".", cwd=HERE, log=FOLDER / f"build-{target}.log")
        version = podman("run", "--rm", "--network", "none", "--entrypoint", "dpkg-query", image, "-W", "-f", "${Version}",
                         VERSION_OF[target])
        upstream = re.sub(r"^\d+:|[-+].*", "", version)
        say(f"  {image:48} Debian's {VERSION_OF[target]} {upstream}")
