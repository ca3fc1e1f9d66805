/* A text as a QR code (ISO/IEC 18004): the only border to libqrencode and libpng. Pure. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/cleanup.h"

/* What fits into every code, whatever its bytes (error correction M). */
#define QR_MAX_BYTES 2331

/* Append the code of `text`, light around it, as the standard wants: 4 modules wide. -EMSGSIZE for
 * an empty text and one over QR_MAX_BYTES. */

/* An image/svg+xml of one path; scales to any size. */
MUSTCHECK int qr_put_svg(const char *text, struct buf *out);
/* An image/png, 8 pixels a module. */
MUSTCHECK int qr_put_png(const char *text, struct buf *out);
/* UTF-8, two rows of modules a line: a light module is a block, for a terminal with light text on
 * dark. */
MUSTCHECK int qr_put_text(const char *text, struct buf *out);
