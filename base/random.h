/* Random bytes of the kernel's, fit for secrets. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Any number up to 2048. */
void random_bytes(uint8_t *ret, size_t len);
