"""A PostgreSQL and its streaming standby on loopback, as a server of tests/harness.py."""

import pathlib

import psycopg2

from harness import free_ports, wait_until
from process import stop
from servers import PostgreSQL, newest


class Standby(PostgreSQL):
    """Begins as a copy of the primary, and follows it until promoted."""

    def follow(self, primary):
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o700)
        self._own(self.folder)
        binaries = pathlib.Path(newest("/usr/lib/postgresql/*/bin/pg_basebackup", "PostgreSQL")).parent
        self._run([binaries / "pg_basebackup", "-d", primary.url, "-D", self.data, "-R", "-X", "stream", "-c", "fast"],
                  "pg_basebackup")
        return self.start()


class PostgreSQLPair:
    """Every commit waits for the standby, so that a failover loses none."""

    def __init__(self, folder, password="secret"):
        ports = free_ports(2)
        self.primary = PostgreSQL(pathlib.Path(folder) / "primary", ports[0], password)
        self.standby = Standby(pathlib.Path(folder) / "standby", ports[1], password)

    @property
    def url(self):
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgres://handoff:{self.primary.password}@{hosts}/handoff?target_session_attrs=read-write"

    def start(self):
        self.primary.start()
        self.standby.follow(self.primary)
        self.run(self.primary, "alter system set synchronous_standby_names = '*'")
        self.run(self.primary, "select pg_reload_conf()")
        wait_until(lambda: self.run(self.primary, "select 1 from pg_stat_replication where sync_state = 'sync'"),
                   what="a synchronous standby")
        return self

    def stop(self):
        for server in (self.standby, self.primary):
            if server.process:
                stop(server.process)

    def fail_over(self):
        """The primary is killed, the standby takes its place."""
        self.primary.process.kill()
        self.primary.process.wait()
        # It inherited the wish for a standby of its own, and has none.
        self.run(self.standby, "select pg_promote()")
        self.run(self.standby, "alter system set synchronous_standby_names = ''")
        self.run(self.standby, "select pg_reload_conf()")

    @staticmethod
    def run(server, sql):
        connection = psycopg2.connect(server.url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()
