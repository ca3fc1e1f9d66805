"""Migrations: the version before works beside the next one, and may come back (docs/VERSIONS.md), so that each says from
which migration on a program may work with it. Whether that is so, make mixed-versions runs."""

import pathlib
import re

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "common" / "migrations"
NAMES = sorted(path.name for path in FOLDER.glob("*.sql"))
FIRST = "0006_look_at.sql"  # no program that looks at migrations knows fewer


@pytest.mark.parametrize("name", NAMES[NAMES.index(FIRST) + 1:])
def test_a_migration_says_who_may_work_with_it(name):
    line = (FOLDER / name).read_text().partition("\n")[0]
    said = re.fullmatch(r"-- works from: (\S+)", line)
    assert said, f"{name} begins with {line!r}"
    assert said[1] in NAMES[NAMES.index(FIRST):NAMES.index(name)], said[1]
