/* Decides on order alone; see order.h. */
#include "services/ws_fanout/order.h"

bool order_is_newer(struct position a, struct position b) {
    return a.epoch != b.epoch ? a.epoch > b.epoch : a.version > b.version;
}

enum order_verdict order_judge(struct position at, struct position event) {
    if (!order_is_newer(event, at))
        return ORDER_DROP;
    if (event.epoch != at.epoch)
        return ORDER_EPOCH;
    return event.version == at.version + 1 ? ORDER_FORWARD : ORDER_GAP;
}

enum order_reach order_fill(uint64_t at, const struct order_window *w, size_t *ret_from,
                            size_t *ret_to) {
    uint64_t last = w->n ? w->deltas[w->n - 1].version : w->stored;
    size_t from = 0;
    if (at < w->since || (at >= last && last < w->stored))
        return ORDER_ELSEWHERE;
    while (from < w->n && w->deltas[from].version <= at)
        from++;
    if (from == w->n && at < w->stored)
        return ORDER_TOO_OLD;
    for (size_t i = from; i < w->n; i++)
        if (w->deltas[i].version != at + 1 + (i - from))
            return ORDER_TOO_OLD;
    *ret_from = from;
    *ret_to = w->n;
    return ORDER_REACHED;
}
