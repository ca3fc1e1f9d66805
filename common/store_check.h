/* Redis for who has time: one node, one question after another, each waited for (2 s). Any one
 * thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct store_check;

#define STORE_CHECK_WHY_CAP 256
#define STORE_CHECK_MAX_NODES 32 /* of a URL */

/* How many addresses the URL has, and whether it is a cluster's; -EINVAL for a URL that is none. */
MUSTCHECK int store_check_url(const char *url, size_t *ret_n, bool *ret_is_cluster);
/* Connects to the URL's address number i, with its login. -ENOTCONN not reached, -EACCES the login
 * is refused; ret_why says why. */
MUSTCHECK int store_check_open(struct store_check **ret, const char *url, size_t i,
                               char ret_why[static STORE_CHECK_WHY_CAP]);
struct store_check *store_check_close(struct store_check *c);
DEFINE_CLEANUP(struct store_check *, store_check_close)
/* "host:port"; valid as long as c. */
const char *store_check_address(const struct store_check *c);

/* Whether Redis takes the command: false, and its error in ret_why. */
bool store_check_ask(struct store_check *c, const char *const *words, size_t n,
                     char ret_why[static STORE_CHECK_WHY_CAP]);
/* Asks INFO. False: ret_why says why. Then a line of it, "" without one. */
bool store_check_ask_info(struct store_check *c, char ret_why[static STORE_CHECK_WHY_CAP]);
void store_check_info(const struct store_check *c, const char *name, char *ret, size_t cap);
/* Redis' TIME, ms; false when it is refused. */
bool store_check_time(struct store_check *c, int64_t *ret_ms);
/* Of a cluster: how many of the 16384 slots have a master, and how many masters there are. False:
 * refused. */
bool store_check_slots(struct store_check *c, unsigned *ret_n_slots, size_t *ret_n_masters,
                       char ret_why[static STORE_CHECK_WHY_CAP]);
/* As store_check_open, to master number i of that answer. */
MUSTCHECK int store_check_open_master(struct store_check **ret, const struct store_check *of,
                                      size_t i, char ret_why[static STORE_CHECK_WHY_CAP]);
