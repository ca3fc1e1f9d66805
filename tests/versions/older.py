"""Another commit's binaries: exported to build/versions/<commit> and built there, once for each compiler."""

import os
import subprocess

from harness import BUILD, ROOT
from services import NAMES

# Until there is a release: what came before migration 0007, and before traces, and first knew that a migration says
# who may work with it.
BEFORE_RELEASES = "364ca6f"


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def version_before():
    """The newest release before this commit."""
    releases = git("tag", "--merged", "HEAD", "--no-contains", "HEAD", "--sort=-v:refname", "v[0-9]*")
    return releases.splitlines()[0] if releases else BEFORE_RELEASES


def export(commit, folder):
    """Whole, or not at all."""
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    archive = subprocess.Popen(["git", "-C", ROOT, "archive", commit], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", partial], stdin=archive.stdout, check=True)
    assert archive.wait() == 0, f"git archive {commit} failed"
    partial.rename(folder)


def build(commit):
    """(short name, folder of its binaries: the services, and handoff where it knows migrations). make finds what is built already."""
    commit = git("rev-parse", "--verify", f"{commit}^{{commit}}")
    folder = ROOT / "build" / "versions" / commit[:12]
    export(commit, folder)
    out = f"build/{BUILD.name}"  # the compiler, and whether it has sanitizers
    variant = [f"CC={BUILD.name.split('-')[0]}", *(["SANITIZE=1"] if BUILD.name.endswith("-asan") else [])]
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    migrates = any((folder / home / "migrate.c").exists() for home in ("tools/handoff", "cli"))  # its two homes
    names = [*NAMES, *(["handoff"] if migrates else [])]
    subprocess.run(["make", "--no-print-directory", f"-j{os.cpu_count()}", *variant,
                    *(f"{out}/bin/{name}" for name in names)], cwd=folder, env=env, check=True)
    return commit[:7], folder / out / "bin"
