"""Which end-to-end files are of which part; see run.py."""

import pathlib
import subprocess


def turn(n):
    """Which of n shares it is now: another with each commit, and the same whenever a commit is tested again."""
    counted = subprocess.run(["git", "rev-list", "--count", "HEAD"], cwd=pathlib.Path(__file__).parent, capture_output=True, text=True)
    return int(counted.stdout) % n if counted.returncode == 0 else 0


# Those that kill, stop and fail over servers and services.
OUTAGES = ["test_audit_*.py", "test_clock_outages.py", "test_cluster.py", "test_crash.py", "test_due.py",
           "test_engine_moments.py", "test_engine_recover.py", "test_postgresql_failover.py",
           "test_rabbitmq_cluster.py", "test_reconnect.py", "test_recover.py", "test_rolling_restart.py",
           "test_start_without.py", "test_ws_moments.py"]

# What they test is no C, or the way to it, or is loaded into the services: the plain build's run is enough.
PLAIN_ONLY = ["test_client_js.py", "test_client_readmes.py", "test_console.py", "test_consume.py", "test_first_minutes.py", "test_how_to.py",
              "test_counted.py", "test_monitoring.py", "test_names.py", "test_proxies.py"]
