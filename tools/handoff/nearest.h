/* Which name a word with a slip of the finger in it was meant to be. */
#pragma once

#include <stddef.h>

#define NEAREST_MAX 32 /* characters; of a longer word nothing is guessed */

/* The one of the names that begins with the word, else the one that is at most two letters (typed
 * wrongly, missing, too many, or two changed over) and less than half of it away; NULL: none. */
const char *nearest(const char *word, size_t len, const char *const *names, size_t n);
