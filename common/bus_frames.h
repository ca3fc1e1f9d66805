/* AMQP 0-9-1 frames for bus.c: printed into a buffer, and deliveries put together again. Pure: no
 * I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "common/bus.h"

#define BUS_CHANNEL 1            /* one connection, one channel */
#define BUS_BODY_MAX (16u << 20) /* of a message, sent or received */
#define BUS_SHORT_TEXT_MAX 255   /* AMQP's short string */
#define BUS_SHORT_TEXT_CAP (BUS_SHORT_TEXT_MAX + 1)
#define BUS_OWN_PREFIX_MAX 200    /* leaves room for what follows it */
#define BUS_DROPPED_TAG "dropped" /* the consumer of what the own queue dropped */

struct amqp_frame_t_;

/* Each appends whole frames, or nothing and returns -EINVAL for what AMQP cannot say (a name over
 * 255 bytes). `method` is the amqp_*_t struct that belongs to the id. */
MUSTCHECK int bus_put_method(struct buf *out, uint16_t channel, uint32_t id, void *method);
MUSTCHECK int bus_put_publish(struct buf *out, const struct bus_publish *m, const char *app_id,
                              size_t frame_max);
void bus_put_heartbeat(struct buf *out);

enum bus_piece {
    BUS_PIECE_PART,    /* of something that goes on */
    BUS_PIECE_METHOD,  /* the frame is a method that stands alone */
    BUS_PIECE_MESSAGE, /* inbound.message is complete, until the next frame */
    BUS_PIECE_RETURN,  /* a message of ours came back, and was thrown away */
    BUS_PIECE_WRONG    /* the broker broke the protocol */
};

/* Follows METHOD(deliver or return) -> HEADER -> BODY*. Everything that outlives a frame is copied,
 * so that librabbitmq's memory may be released after each; only a body in one frame is borrowed. */
struct bus_inbound {
    enum {
        BUS_EXPECT_METHOD,
        BUS_EXPECT_HEADER, /* after deliver or return */
        BUS_EXPECT_BODY    /* until body_left is 0 */
    } expect;
    bool dropped; /* a returned message: read and thrown away */
    uint64_t body_left;
    char routing_key[BUS_SHORT_TEXT_CAP];
    struct buf joined; /* a body of several frames */
    struct bus_message message;
};

void bus_inbound_done(struct bus_inbound *in);
enum bus_piece bus_inbound_take(struct bus_inbound *in, const struct amqp_frame_t_ *frame);
