/* QR codes: the three pictures show the same modules, within a light border; what fits. That they
 * say what they should is for tests/e2e/test_handoff_codes.py, where another library reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <png.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/qr.h"

#define URL "http://localhost:8080/#code=vZ3kq0JxT1mYb8cH5uLw2A"
#define SIDE 41 /* version 4, and 4 modules of light on each side */
#define MAX_SIDE (177 + 8)

typedef int put_fn(const char *text, struct buf *out);

static struct buf put(put_fn *fn, const char *text) {
    struct buf out = BUF_NULL;
    buf_puts(&out, "before");
    assert_int_equal(fn(text, &out), 0);
    assert_memory_equal(out.data, "before", 6);
    out.len -= 6;
    memmove(out.data, out.data + 6, out.len + 1);
    return out;
}

static void read_svg(const char *text, bool ret[MAX_SIDE][MAX_SIDE]) {
    int side, x, y, n;
    const char *at = strstr(text, "<path d=\"");
    assert_int_equal(sscanf(strstr(text, "viewBox"), "viewBox=\"0 0 %d", &side), 1);
    assert_int_equal(side, SIDE);
    for (at += strlen("<path d=\""); sscanf(at, "M%d %dh%dv1", &x, &y, &n) == 3;
         at = strchr(at, 'z') + 1)
        for (; n > 0; n--)
            ret[y][x++] = true;
    assert_int_equal(*at, '"');
}

static void read_png(const struct buf *png, bool ret[MAX_SIDE][MAX_SIDE]) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, png->data, png->len));
    assert_int_equal(image.width, 8 * SIDE);
    assert_int_equal(image.height, 8 * SIDE);
    image.format = PNG_FORMAT_GRAY;
    unsigned char *pixels = must_alloc(PNG_IMAGE_SIZE(image));
    assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL));
    for (size_t y = 0; y < image.height; y++)
        for (size_t x = 0; x < image.width; x++) {
            bool is_dark = pixels[y * image.width + x] == 0;
            assert_true(is_dark || pixels[y * image.width + x] == 0xff);
            if (x % 8 == 0 && y % 8 == 0)
                ret[y / 8][x / 8] = is_dark;
            assert_int_equal(ret[y / 8][x / 8], is_dark);
        }
    free(pixels);
}

static void read_text(const char *text, bool ret[MAX_SIDE][MAX_SIDE]) {
    static const char *const blocks[] = {" ", "\u2584", "\u2580", "\u2588"};
    for (int y = 0; y < SIDE + 1; y += 2, text++) {
        for (int x = 0; x < SIDE; x++) {
            int i = 3;
            while (i > 0 && strncmp(text, blocks[i], strlen(blocks[i])) != 0)
                i--;
            assert_int_equal(strncmp(text, blocks[i], strlen(blocks[i])), 0);
            text += strlen(blocks[i]);
            ret[y][x] = !(i & 2);
            ret[y + 1][x] = !(i & 1);
        }
        assert_int_equal(*text, '\n');
    }
    assert_int_equal(*text, '\0');
}

static void test_the_three_pictures_are_one(void **state) {
    (void)state;
    static bool svg[MAX_SIDE][MAX_SIDE], png[MAX_SIDE][MAX_SIDE], text[MAX_SIDE][MAX_SIDE];
    struct buf out = put(qr_put_svg, URL);
    read_svg(out.data, svg);
    buf_done(&out);
    out = put(qr_put_png, URL);
    read_png(&out, png);
    buf_done(&out);
    out = put(qr_put_text, URL);
    read_text(out.data, text);
    buf_done(&out);
    size_t n_dark = 0;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            bool is_border = x < 4 || y < 4 || x >= SIDE - 4 || y >= SIDE - 4;
            assert_int_equal(svg[y][x], png[y][x]);
            assert_int_equal(svg[y][x], text[y][x]);
            assert_false(is_border && svg[y][x]);
            n_dark += svg[y][x];
        }
    assert_in_range(n_dark, 33 * 33 / 3, 33 * 33 * 2 / 3);
    assert_true(svg[4][4] && svg[4][SIDE - 5] && svg[SIDE - 5][4]); /* its three marks */
}

static void test_what_fits(void **state) {
    (void)state;
    static put_fn *const fns[] = {qr_put_svg, qr_put_png, qr_put_text};
    char text[QR_MAX_BYTES + 2];
    memset(text, 0xff, sizeof(text));
    for (size_t i = 0; i < N_ELEMENTS(fns); i++) {
        struct buf out = BUF_NULL;
        text[QR_MAX_BYTES] = '\0';
        assert_int_equal(fns[i](text, &out), 0);
        text[QR_MAX_BYTES] = 'x';
        text[QR_MAX_BYTES + 1] = '\0';
        size_t len = out.len;
        assert_int_equal(fns[i](text, &out), -EMSGSIZE);
        assert_int_equal(fns[i]("", &out), -EMSGSIZE);
        assert_int_equal(out.len, len);
        buf_done(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_three_pictures_are_one),
        cmocka_unit_test(test_what_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
