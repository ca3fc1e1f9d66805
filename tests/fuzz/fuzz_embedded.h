/* For the fuzz targets of session_api: none of the files that it serves. */
#pragma once

#include "base/embedded.h"

extern const struct embedded embedded_console[], embedded_client[], embedded_docs[];
const struct embedded embedded_console[] = {{0}}, embedded_client[] = {{0}},
                      embedded_docs[] = {{0}};
