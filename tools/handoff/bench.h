/* `handoff bench`: how fast an installation is, as devices see it. A self-test of some seconds, not
 * a benchmark: what it finds is of this moment, this network and this machine. */
#pragma once

extern const char bench_usage[];
/* The exit code; what went wrong is on stderr. */
int bench_run(int argc, char **argv);
