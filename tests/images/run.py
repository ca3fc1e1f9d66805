"""make images-check: builds the images of compose/Dockerfile and looks at them; then brings up compose/compose.yaml as it is,
with them, and uses it. Without an engine on the machine, and without a registry: podman, shut in (engine.py), on a base by
debootstrap. Needs root. The last line: N passed, N failed.

usage: run.py [--only images|compose]      (compose: with the images of the last run)
"""

import argparse
import fcntl
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import engine  # noqa: E402
from base import make_base  # noqa: E402
from engine import FOLDER, SERVICES, Checks, CommandError, say  # noqa: E402
from images import check_images, table  # noqa: E402
from stand_ins import build_stand_ins  # noqa: E402

TALLY = FOLDER / "tally"
# What builds has the machine's network; what runs has one of its own.
NAMESPACES = {"images": (), "stand_ins": (), "compose": ("--net", "--ipc", "--uts")}
SCALE = {name: 2 for name in SERVICES}


def check_compose(checks):
    import composed
    import use
    engine.run("ip", "link", "set", "lo", "up")
    engine.forget_containers()
    project = composed.Project()
    before = composed.Machine()
    try:
        project.checks.start()
        say("== make-secrets, up")
        project.up()
        composed.look_at_containers(checks, project, {})
        kept = use.make_session(checks)
        say("== up --scale: two of each service, beside what runs")
        project.up(**SCALE)
        composed.look_at_containers(checks, project, SCALE)
        use.look_at_session(checks, kept)
        say("== down, up: on the same volumes")
        project.down()
        project.up(**SCALE)
        composed.look_at_containers(checks, project, SCALE)
        composed.look_at_rights(checks, project)
        say("== used")
        use.look_at_session(checks, kept)
        session = use.hand_over(checks)
        use.look_at_audit(checks, session)
        use.look_at_pages(checks)
        use.look_at_prometheus(checks, SCALE)
        use.look_at_strangers(checks)
        use.look_with_command(checks, project, session)
        use.look_with_doctor(checks, project)
        say("== upgraded, and back, one after another")
        use.upgrade(checks, project, "next")
        say("== stop, down")
        project.stop()
        composed.look_at_end(checks)
    finally:
        project.checks.stop()
        project.save_logs()
        project.down("-v")
        composed.look_at_what_is_left(checks, before)
        project.close()
    composed.say_what_differs(project)


def run_stage(name, checks):
    engine.shut_in()
    if name == "images":
        table(check_images(checks, make_base()))
    elif name == "stand_ins":
        build_stand_ins(make_base())
    else:
        check_compose(checks)


def inside(name):
    """As the first process of the stage's namespaces."""
    engine.be_init()
    checks = Checks()
    try:
        run_stage(name, checks)
    except (CommandError, AssertionError, OSError) as error:
        checks.check(name, False, f"{type(error).__name__}: {error}")
    TALLY.write_text(f"{checks.passed} {checks.failed}")
    return checks.failed > 0


def outside(stages):
    if os.geteuid() != 0:
        sys.exit("error: containers need root here\nhint: sudo make images-check")
    os.nice(10)
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = open(FOLDER / "lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("error: another run is under way here")
    for log in FOLDER.glob("*.log"):
        log.unlink()
    started, passed, failed = time.monotonic(), 0, 0
    for stage in stages:
        TALLY.write_text("0 1")
        engine.in_namespaces(__file__, stage, *NAMESPACES[stage])
        seen = list(map(int, TALLY.read_text().split()))
        passed, failed = passed + seen[0], failed + seen[1]
        if stage == "stand_ins" and seen[1]:
            break
    if not engine.remove_cgroups():
        say("note: /sys/fs/cgroup has containers of another podman")
    say(f"images-check: {time.monotonic() - started:.0f} s")
    say(f"{passed} passed, {failed} failed")
    return failed > 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__.partition("usage: ")[2].partition("\n")[0])
    parser.add_argument("--only", choices=("images", "compose"))
    parser.add_argument("--stage", choices=NAMESPACES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        sys.exit(inside(options.stage))
    sys.exit(outside({None: list(NAMESPACES), "images": ["images"], "compose": ["stand_ins", "compose"]}[options.only]))


if __name__ == "__main__":
    main()
