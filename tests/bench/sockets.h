/* The sockets of the load generator in one epoll: everything on loopback, one thread. What does not
 * go as it should ends the process with a message: half a measurement is none. */
#pragma once

#include <stdint.h>

#include "base/buf.h"

/* Embedded first in what owns the socket. */
struct source {
    int fd;
    void (*readable)(struct source *s);
};

struct sockets {
    int epoll_fd;
};

void sockets_init(struct sockets *all);
void sockets_done(struct sockets *all);
/* Has s->readable called from now on when there is something to read. */
void sockets_add(struct sockets *all, struct source *s);
/* Connects to 127.0.0.1:port; blocks only for that. */
void sockets_connect(struct sockets *all, struct source *s, uint16_t port,
                     void (*readable)(struct source *s));
/* The same from one of 200 addresses of loopback, for more connections than one has ports for; and
 * edge-triggered: readable comes once for what has arrived, and has to read all of it. */
void sockets_connect_from(struct sockets *all, struct source *s, unsigned which, uint16_t port,
                          void (*readable)(struct source *s));
/* The same for one that is not going to read: its window is a few KiB, so that what it is sent
 * stays with the server. */
void sockets_connect_narrow(struct sockets *all, struct source *s, unsigned which, uint16_t port,
                            void (*readable)(struct source *s));
void sockets_close(struct sockets *all, struct source *s);
/* Sleeps until something is readable or until_ns (UINT64_MAX: without end), and has it read. */
void sockets_wait(struct sockets *all, uint64_t until_ns);

/* Reads what is there behind what `in` holds. */
void source_receive(const struct source *s, struct buf *in);
/* All of it before it returns. There is never more than one message on its way, and a small one
 * fits into the socket: only for half a megabyte the others wait. */
void source_send(const struct source *s, const void *data, size_t len);
/* Forgets the first n bytes. */
void buf_drop(struct buf *b, size_t n);

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
