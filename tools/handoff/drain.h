/* `handoff drain`: an instance is asked to end, and watched as it does. */
#pragma once

extern const char drain_usage[];
/* The exit code; what went wrong is on stderr. */
int drain_run(int argc, char **argv);
