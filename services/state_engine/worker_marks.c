/* The published marks that a second's tick finds: moved between the batches, some at a time, so
 * that nobody waits for all of them. */
#include <errno.h>

#include "base/crash_point.h"
#include "services/state_engine/worker_private.h"

#define MARKS_TOGETHER 64

void worker_find_marks(struct worker *w) {
    w->marks_moved = 0;
    (void)publisher_marks(w->publisher, &w->marks_end);
}

bool worker_may_move_marks(const struct worker *w) {
    return w->marks_moved < w->marks_end && store_batch_is_connected(w->store);
}

/* Those that Redis does not take stay in the list, for the next tick. */
int worker_move_marks(struct worker *w) {
    size_t n_before, n_after, n = w->marks_end - w->marks_moved;
    struct store_mark *marks = publisher_marks(w->publisher, &n_before);
    if (w->marks_end > n_before || n == 0) {
        w->marks_end = w->marks_moved = 0; /* they left with a batch */
        return 0;
    }
    n = n < MARKS_TOGETHER ? n : MARKS_TOGETHER;
    CRASH_LINK("engine.mark.moving", CRASH_REDIS);
    int r = store_batch_save(w->store, NULL, 0, NULL, 0, marks + w->marks_moved, n);
    if (CRASH_POINT_CUT("engine.mark.moved", CRASH_REDIS))
        r = -EIO;
    publisher_marks_done(w->publisher);
    (void)publisher_marks(w->publisher, &n_after);
    size_t n_settled = n_before - n_after;
    w->marks_moved += n - (n_settled < n ? n_settled : n);
    w->marks_end -= n_settled < w->marks_end ? n_settled : w->marks_end;
    return r;
}
