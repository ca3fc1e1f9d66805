import subprocess

import pytest
from deployed import COMPOSE


@pytest.fixture(scope="session")
def secrets(tmp_path_factory):
    """What compose/make-secrets makes."""
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    subprocess.run([COMPOSE / "make-secrets", folder], check=True, capture_output=True)
    return folder
