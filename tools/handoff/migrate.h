/* `handoff migrate`: the schema of PostgreSQL. */
#pragma once

extern const char migrate_usage[];
int migrate_run(int argc, char **argv);
