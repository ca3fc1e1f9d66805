/* `handoff doctor`: whether everything that the services need is there, and as they need it. */
#pragma once

extern const char doctor_usage[];
int doctor_run(int argc, char **argv);
