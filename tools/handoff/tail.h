/* `handoff tail`: what happens in sessions, as it happens. */
#pragma once

extern const char tail_usage[];
int tail_run(int argc, char **argv);
