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

bool order_fill(uint64_t at, const struct store_delta *deltas, size_t n, size_t *ret_from,
                size_t *ret_to) {
    size_t from = 0;
    while (from < n && deltas[from].version <= at)
        from++;
    for (size_t i = from; i < n; i++)
        if (deltas[i].version != at + 1 + (i - from))
            return false;
    *ret_from = from;
    *ret_to = n;
    return true;
}
