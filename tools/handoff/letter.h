/* One dead letter: what it is known by, and how it is shown. */
#pragma once

#include <stdio.h>

#include "common/bus.h"

#define LETTER_ID_LEN 12

/* Of all that makes it what it is, so that an ID never means another letter; two that are the same
 * have the same one. */
void letter_id(const char *queue, const struct bus_message *m, char ret[static LETTER_ID_LEN + 1]);

void letter_print_head(FILE *out);
void letter_print_line(const char *queue, const struct bus_message *m, FILE *out);
void letter_print_json(const char *queue, const struct bus_message *m, FILE *out);
void letter_print_whole(const char *queue, const struct bus_message *m, FILE *out);
/* An object on a line, its body as text, or, where that is no UTF-8 or has a NUL, in base64url
 * (bodyBase64url).
 */
void letter_print_whole_json(const char *queue, const struct bus_message *m, FILE *out);
