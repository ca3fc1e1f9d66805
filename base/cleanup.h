/* Scope-bound ownership: a local marked _cleanup_(x_freep) is released when its scope ends, unless
 * TAKE_PTR handed it on. */
#pragma once

#include <stdlib.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define MUSTCHECK __attribute__((warn_unused_result))

/* Hands over the pointer and leaves NULL behind. */
#define TAKE_PTR(p)                                                                                \
    ({                                                                                             \
        __typeof__(p) *taken_from = &(p);                                                          \
        __typeof__(p) taken = *taken_from;                                                         \
        *taken_from = NULL;                                                                        \
        taken;                                                                                     \
    })

/* Defines `static inline void func_p(type *p)` to go with _cleanup_: one line per type, beside the
 * prototype of its destructor. */
#define DEFINE_CLEANUP(type, func)                                                                 \
    static inline void func##p(type *p) { /* NOLINT(bugprone-macro-parentheses): a type */         \
        if (*p)                                                                                    \
            func(*p);                                                                              \
    }

static inline void freep(void *p) {
    free(*(void **)p);
}

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))
