"""What processes cost, read from /proc, and what machine this is."""

import os
import pathlib
import platform
import subprocess

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _stat(pid):
    """(parent, CPU µs of all its threads and of the children that it outlived, RSS MiB)"""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    fields = text.rpartition(")")[2].split()  # from the third field on
    return int(fields[1]), sum(map(int, fields[11:15])) * TICK_US, int(fields[21]) * PAGE_MIB


def _all_stats():
    stats = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stats[int(entry)] = _stat(entry)
            except OSError:
                pass  # it ended meanwhile
    return stats


def _tree(stats, root):
    children = {}
    for pid, (parent, _, _) in stats.items():
        children.setdefault(parent, []).append(pid)
    found, todo = [], list(root) if isinstance(root, list) else [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_ns(pid):
    """CPU time of its threads, in ns: for what is too little to be seen in ticks."""
    return sum(int(path.read_text().split()[0]) for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))


def wakes(pid):
    """How often its threads went to sleep, that is, were woken."""
    return sum(int(line.split()[1]) for path in pathlib.Path(f"/proc/{pid}/task").glob("*/status")
               for line in path.read_text().splitlines() if line.startswith("voluntary_ctxt_switches"))


def _busy_us():
    """CPU time used on the whole machine by anybody, also by its neighbours (steal)."""
    fields = list(map(int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) * TICK_US


class Meter:
    """CPU and memory of named process trees; a root is a pid, or a list of several instances' pids."""

    def __init__(self, roots):
        self.roots = roots

    def read(self):
        """{name: CPU µs so far}; "everything" is the whole machine."""
        stats = _all_stats()
        used = {name: sum(stats[pid][1] for pid in _tree(stats, root) if pid in stats)
                for name, root in self.roots.items()}
        return {**used, "everything": _busy_us()}

    def resident_mib(self):
        """{name: RSS in MiB}; PostgreSQL's processes share memory, so theirs is an upper bound."""
        stats = _all_stats()
        return {name: round(sum(stats[pid][2] for pid in _tree(stats, root) if pid in stats), 1)
                for name, root in self.roots.items()}


def _first_line(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip().split("\n")[0]


def _cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib():
    kib = int(pathlib.Path("/proc/meminfo").read_text().split()[1])
    return round(kib / (1 << 20), 1)


def describe(root, command):
    commit = _first_line(["git", "-C", root, "rev-parse", "--short=12", "HEAD"]) or "unknown"
    changed = _first_line(["git", "-C", root, "status", "--porcelain", "--untracked-files=no"])
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "memoryGib": _memory_gib(),
        "kernel": platform.release(),
        "compiler": _first_line(["gcc", "--version"]),
        "commit": commit + (" and uncommitted changes" if changed else ""),
        "command": command,
        "loadAverage": list(os.getloadavg()),
    }
