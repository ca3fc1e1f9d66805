/* What session_gaps has of the gaps, whoever found them. Rows are taken over page by page, as there
 * is room: those that were left behind, and those that did not fit. What is found nowhere is marked
 * first and told by whoever marked it, so that of two one does; where the answer to that is lost it
 * is told, maybe once more. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "services/audit_writer/expected.h"
#include "services/audit_writer/gaps_private.h"
#include "services/audit_writer/statements.h"

#define PAGE_ROWS 512
#define PAGE_EVERY_MS 5000 /* well over the time that whoever finds a gap needs to fill it */

/* ---- What was left behind ---- */

static void take_row(struct gaps *g, const struct db_result *r, size_t row) {
    memcpy(g->page_session_id, db_value(r, row, 0, NULL), UUID_LEN);
    g->page_position = (struct position){.epoch = (uint64_t)db_number(r, row, 1),
                                         .version = (uint64_t)db_number(r, row, 2)};
    gaps_suspect(g, g->page_session_id, g->page_position);
}

static void on_page(void *arg, int err, const struct db_result *r) {
    struct gaps *g = arg;
    size_t n = err ? 0 : db_n_rows(r);
    g->paging = false;
    for (size_t i = 0; i < n; i++)
        take_row(g, r, i);
    if (n == PAGE_ROWS) {
        gaps_read_page(g);
        return;
    }
    g->page_session_id[0] = '\0';
    g->page_at = timestamp_monotonic_ms() + PAGE_EVERY_MS;
    if (!err)
        g->page_age_ms = PAGE_EVERY_MS;
}

void gaps_read_page(struct gaps *g) {
    static const char *const first_page[] = {"00000000-0000-0000-0000-000000000000", "0", "0"};
    char epoch[24], version[24], age[24], most[24];
    if (g->closed || g->paging || !g->page_at || timestamp_monotonic_ms() < g->page_at ||
        !db_is_up(g->db) || g->known.n + PAGE_ROWS > MAX_GAPS)
        return;
    bool is_first = !g->page_session_id[0];
    snprintf(epoch, sizeof(epoch), "%" PRIu64, g->page_position.epoch);
    snprintf(version, sizeof(version), "%" PRIu64, g->page_position.version);
    snprintf(age, sizeof(age), "%" PRId64, g->page_age_ms);
    snprintf(most, sizeof(most), "%d", PAGE_ROWS);
    const char *parameters[] = {is_first ? first_page[0] : g->page_session_id,
                                is_first ? first_page[1] : epoch,
                                is_first ? first_page[2] : version, age, most};
    g->paging =
        db_query(g->db, statement_read_gaps, N_ELEMENTS(parameters), parameters, on_page, g) == 0;
    if (g->paging && db_end(g->db, NULL, NULL))
        g->paging = false;
}

/* ---- What is lost ---- */

static void tell(struct gaps *g, struct gap *gap) {
    metric_add(g->n_lost, 1);
    log_error(
        g->app->log, "audit_gap",
        "Versions are missing in the audit trail, and Redis has not got them any more.",
        LOG_TEXT("sessionId", gap->session_id), LOG_NUMBER("epoch", (int64_t)gap->position.epoch),
        LOG_NUMBER("from", (int64_t)gap->low + 1), LOG_NUMBER("to", (int64_t)gap->position.version),
        LOG_TEXT("hint", "Did the broker lose its data, or was its queue purged?"));
}

static void on_marked(void *arg, int err, const struct db_result *r) {
    struct gaps *g = arg;
    memset(g->is_marked, 0, sizeof(g->is_marked));
    for (size_t i = 0; !err && i < db_n_rows(r); i++) {
        size_t place = (size_t)db_number(r, i, 0) - 1;
        if (place < N_ELEMENTS(g->is_marked))
            g->is_marked[place] = true;
    }
}

/* Also when nothing more is looked for: what was marked nobody else would tell. */
static void on_end(void *arg, int err, const struct db_result *r) {
    struct gaps *g = arg;
    struct gap *gap;
    (void)r;
    for (size_t i = 0; (gap = gap_list_take(&g->marking)); i++) {
        gap->maybe_marked |= err == -ENOTCONN;
        if (err && !g->closed) {
            gaps_wait(g, gap);
            continue;
        }
        if (gap->maybe_marked || (!err && g->is_marked[i]))
            tell(g, gap);
        gaps_forget(g, gap);
    }
    if (!err && !g->closed)
        gaps_mark_next(g);
}

void gaps_mark_next(struct gaps *g) {
    struct batch_statement s = {.sql = statement_mark_lost};
    struct gap *gap;
    if (g->closed || g->marking.first || !g->lost.first || !db_is_up(g->db))
        return;
    while (s.n_rows < MAX_CHECKS && (gap = gap_list_take(&g->lost))) {
        expected_put(&s, gap->session_id, gap->position);
        gap_list_add(&g->marking, gap);
    }
    int err = batch_statement_send(g->db, &s, on_marked, g);
    if (!err)
        err = db_end(g->db, on_end, g);
    if (err)
        on_end(g, -EAGAIN, NULL);
    batch_statement_done(&s);
}

void gaps_lose(struct gaps *g, struct gap *gap) {
    gap_list_add(&g->lost, gap);
    gaps_mark_next(g);
}
