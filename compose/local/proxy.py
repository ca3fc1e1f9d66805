"""haproxy before several instances, by the configuration that the documentation recommends."""

import pathlib
import re

from process import accepts, spawn, stop, wait_until

TEMPLATE = pathlib.Path(__file__).resolve().parent.parent / "proxy" / "haproxy.cfg"
SECTION = re.compile(r"^(?:global|defaults|frontend|backend)\b *(\S*)")


def configuration(binds, services, host="127.0.0.1"):
    """compose/proxy/haproxy.cfg with other addresses.

    binds: frontend -> port of host; without one for `metrics`, that is not there. services: backend -> [Service].
    """
    lines, name, has_metrics = [], "", "metrics" in binds
    for line in TEMPLATE.read_text().splitlines():
        if match := SECTION.match(line):
            name = match[1]
        if name == "metrics" and not has_metrics:
            continue
        if line.startswith("    bind "):
            line = f"    bind {host}:{binds.pop(name)}"
        if line.startswith("    server "):
            lines += [f"    server {s.known_as} 127.0.0.1:{s.port} port {s.admin_port}"
                      for s in services.pop(name, [])]
        else:
            lines.append(line)
    assert not binds and not services, f"{TEMPLATE} has no {binds} {services}"
    return "\n".join(lines) + "\n"


class Proxy:
    """services: of all kinds; those that devices speak to get a backend."""

    def __init__(self, folder, services, rest_port, streams_port, all_port, host="127.0.0.1", metrics_port=None):
        self.folder = pathlib.Path(folder)
        self.ports = {"rest": rest_port, "streams": streams_port, "all": all_port}
        if metrics_port:
            self.ports["metrics"] = metrics_port
        self.host, self.services, self.log, self.process = host, services, self.folder / "haproxy.log", None

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "haproxy.cfg"
        backends = {name: [s for s in self.services if s.name == name]
                    for name in ("session_api", "ws_fanout")}
        config.write_text(configuration(dict(self.ports), backends, self.host))
        self.process = spawn(["haproxy", "-db", "-f", config], log=self.log)
        wait_until("haproxy", lambda: all(map(accepts, self.ports.values())), process=self.process,
                   log=self.log)
        return self

    def stop(self):
        stop(self.process)
