"""The image that compose/Dockerfile is from, made by debootstrap from Debian's own packages, and made slim as Debian's
image of that name is: no manuals, no translations, no daemon that starts by itself."""

import pathlib
import re
import shutil
import time

from engine import FOLDER, ROOT, has_image, run, say

MAX_AGE = 14 * 86400  # s: then Debian has security updates that the base should have
FILES = {
    "etc/dpkg/dpkg.cfg.d/docker": "".join(f"path-exclude /usr/share/{name}/*\n" for name in
                                          ("doc", "groff", "info", "linda", "lintian", "locale", "man")) +
                                  "path-include /usr/share/doc/*/copyright\n",
    "etc/apt/apt.conf.d/docker": 'Acquire::Languages "none";\nAcquire::GzipIndexes "true";\n'
                                 'APT::Install-Recommends "true";\n'
                                 'DPkg::Post-Invoke {"rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true";};\n'
                                 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n',
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
}


def name_of_base():
    return re.search(r"^ARG BASE=(\S+)$", (ROOT / "compose" / "Dockerfile").read_text(), re.M)[1]


def mirror():
    """Where this machine has Debian from."""
    for path in [pathlib.Path("/etc/apt/sources.list"), *pathlib.Path("/etc/apt/sources.list.d").glob("*")]:
        if path.is_file():
            found = re.search(r"^(?:URIs:|deb(?: \[.*?\])?) *(https?://\S+/debian)/? *", path.read_text(), re.M)
            if found:
                return found[1]
    raise SystemExit("error: /etc/apt names no mirror of Debian")


def sources(suite):
    debian = mirror()
    security = debian.removesuffix("/debian") + "/debian-security"
    return (f"deb {debian} {suite} main\ndeb {debian} {suite}-updates main\n"
            f"deb {security} {suite}-security main\n")


def slim(tree, suite):
    for name, text in {**FILES, "etc/apt/sources.list": sources(suite)}.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tree / "usr/sbin/policy-rc.d").chmod(0o755)
    for name in ("groff", "info", "lintian", "locale", "man"):
        shutil.rmtree(tree / "usr/share" / name, ignore_errors=True)
    for path in (tree / "usr/share/doc").rglob("*"):
        if path.is_symlink() or (path.is_file() and path.name != "copyright"):
            path.unlink()
    for folder in ("var/cache/apt", "var/lib/apt/lists", "var/log/apt"):
        shutil.rmtree(tree / folder, ignore_errors=True)
    for folder in ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial"):
        (tree / folder).mkdir(parents=True)
    for path in (tree / "var/log").glob("*.log"):
        path.unlink()


def make_base():
    """The image's name; made anew when it is old."""
    name, packed = name_of_base(), FOLDER / "base.tar"
    suite = re.fullmatch(r"docker\.io/library/debian:(\w+)-slim", name)[1]
    if has_image(name) and packed.exists() and time.time() - packed.stat().st_mtime < MAX_AGE:
        return name
    say(f"== {name}: debootstrap, from {mirror()}")
    tree = FOLDER / "base"
    shutil.rmtree(tree, ignore_errors=True)
    cache = FOLDER / "debs"
    cache.mkdir(parents=True, exist_ok=True)
    run("debootstrap", "--variant=minbase", f"--cache-dir={cache}", suite, str(tree), mirror(), log=FOLDER / "base.log")
    slim(tree, suite)
    run("tar", "--numeric-owner", "--exclude=./dev/*", "-cf", packed, "-C", tree, ".")
    shutil.rmtree(tree)
    run("podman", "import", "--change", 'CMD ["bash"]', packed, name)
    return name
