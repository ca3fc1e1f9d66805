"""The command `handoff` beside a running suite."""

import json
import os
import subprocess
import threading

from harness import BUILD, FINDING, MAX_WAIT, wait_until

HANDOFF = BUILD / "bin" / "handoff"
MISSING = "0197a1b2-0000-7000-8000-000000000000"


def clean(**env):
    """The environment with nothing of Handoff's but that."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("HANDOFF_")}, **env}


def environment(suite, broker_user=None, **more):
    rabbitmq = suite.servers.rabbitmq
    return clean(**{"HANDOFF_AMQP_URL": rabbitmq.url_for(broker_user) if broker_user else rabbitmq.url,
                    "HANDOFF_REDIS_URL": suite.servers.redis.url, "HANDOFF_DATABASE_URL": suite.servers.postgresql.url, **more})


def ended(*words, code=0, env=None, stdin=""):
    """It, when it has ended; code None: however that was."""
    done = subprocess.run([HANDOFF, *map(str, words)], capture_output=True, text=True, timeout=60, input=stdin, env=env or clean())
    assert not FINDING.search(done.stderr), done.stderr
    assert code in (None, done.returncode), (words, done.stdout, done.stderr)
    return done


def both(suite, *words, code=0, **env):
    """What it says on stdout, and on stderr."""
    done = ended(*words, code=code, env=environment(suite, **env))
    return done.stdout, done.stderr


def handoff(suite, *words, code=0, **env):
    """What it says: on stdout, or, where it ends with another code, on stderr."""
    return both(suite, *words, code=code, **env)[bool(code)]


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


class Running:
    """handoff, while it runs."""

    def __init__(self, suite, *words, **env):
        """suite None: it needs no server's URL."""
        self.process = subprocess.Popen([HANDOFF, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, env=environment(suite, **env) if suite else clean(**env))
        self.lines, self.told = [], []
        self.readers = [threading.Thread(target=self._read, args=pipe, daemon=True)
                        for pipe in ((self.process.stdout, self.lines), (self.process.stderr, self.told))]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    def wait_told(self, text):
        wait_until(lambda: any(text in line for line in self.told) or self.process.poll() is not None, what=text)
        assert any(text in line for line in self.told), self.told

    def wait_for(self, n):
        wait_until(lambda: len(self.lines) >= n or self.process.poll() is not None, what=f"{n} lines")
        assert self.process.poll() is None, self.told
        return self.lines

    def end(self, signal=None):
        """Its exit code, and stderr."""
        if signal:
            self.process.send_signal(signal)
        code = self.process.wait(MAX_WAIT)
        for reader in self.readers:
            reader.join(MAX_WAIT)
        error = "\n".join(self.told)
        assert not FINDING.search(error), error
        return code, error

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
