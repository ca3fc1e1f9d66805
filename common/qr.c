/* QR codes; see qr.h. */
#include "common/qr.h"

#include <errno.h>
#include <png.h>
#include <qrencode.h>
#include <stdbool.h>
#include <string.h>

#define QUIET 4 /* modules of light on each side */
#define PIXELS 8

DEFINE_CLEANUP(QRcode *, QRcode_free)

static int encode(const char *text, QRcode **ret) {
    size_t len = strlen(text);
    if (len == 0 || len > QR_MAX_BYTES)
        return -EMSGSIZE;
    QRcode *code = QRcode_encodeData((int)len, (const unsigned char *)text, 0, QR_ECLEVEL_M);
    if (!code) /* nothing else is left than that memory ran out */
        abort();
    *ret = code;
    return 0;
}

static int side_of(const QRcode *code) {
    return code->width + 2 * QUIET;
}

/* Of the code with its light border; what is beyond it is light, too. */
static bool is_dark(const QRcode *code, int x, int y) {
    x -= QUIET, y -= QUIET;
    if (x < 0 || y < 0 || x >= code->width || y >= code->width)
        return false;
    return code->data[y * code->width + x] & 1;
}

/* ---- SVG ---- */

static void put_runs(const QRcode *code, int y, struct buf *out) {
    for (int x = 0, end; x < side_of(code); x = end) {
        for (end = x; is_dark(code, end, y);)
            end++;
        if (end > x)
            buf_printf(out, "M%d %dh%dv1h-%dz", x, y, end - x, end - x);
        else
            end++;
    }
}

int qr_put_svg(const char *text, struct buf *out) {
    _cleanup_(QRcode_freep) QRcode *code = NULL;
    int err = encode(text, &code);
    if (err)
        return err;
    int side = side_of(code);
    buf_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
               "shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h%dv%dh-%dz\"/>"
               "<path d=\"",
               side, side, side, side, side);
    for (int y = 0; y < side; y++)
        put_runs(code, y, out);
    buf_puts(out, "\"/></svg>\n");
    return 0;
}

/* ---- PNG ---- */

/* Row by row of modules: the first line of pixels, and copies of it. */
static unsigned char *paint(const QRcode *code) {
    int side = side_of(code);
    size_t width = (size_t)side * PIXELS;
    unsigned char *pixels = must_malloc(width * width), *line = pixels;
    for (int y = 0; y < side; y++) {
        for (int x = 0; x < side; x++)
            memset(line + x * PIXELS, is_dark(code, x, y) ? 0x00 : 0xff, PIXELS);
        for (size_t i = 1; i < PIXELS; i++)
            memcpy(line + i * width, line, width);
        line += PIXELS * width;
    }
    return pixels;
}

int qr_put_png(const char *text, struct buf *out) {
    _cleanup_(QRcode_freep) QRcode *code = NULL;
    int err = encode(text, &code);
    if (err)
        return err;
    _cleanup_(freep) unsigned char *pixels = paint(code);
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)side_of(code) * PIXELS,
                       .height = (png_uint_32)side_of(code) * PIXELS,
                       .format = PNG_FORMAT_GRAY,
                       .flags = PNG_IMAGE_FLAG_FAST};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    buf_reserve(out, size);
    if (!png_image_write_to_memory(&image, out->data + out->len, &size, 0, pixels, 0, NULL))
        abort(); /* there is room enough: memory ran out */
    out->len += size;
    out->data[out->len] = '\0';
    return 0;
}

/* ---- text ---- */

int qr_put_text(const char *text, struct buf *out) {
    static const char *const blocks[] = {" ", "\u2584", "\u2580", "\u2588"};
    _cleanup_(QRcode_freep) QRcode *code = NULL;
    int err = encode(text, &code);
    if (err)
        return err;
    int side = side_of(code);
    for (int y = 0; y < side; y += 2) {
        for (int x = 0; x < side; x++)
            buf_puts(out,
                     blocks[2 * !is_dark(code, x, y) + (y + 1 < side && !is_dark(code, x, y + 1))]);
        buf_putc(out, '\n');
    }
    return 0;
}
