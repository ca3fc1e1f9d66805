/* The version of all services: --version, metrics, app_id. */
#pragma once

#define HANDOFF_VERSION "0.1.0"
