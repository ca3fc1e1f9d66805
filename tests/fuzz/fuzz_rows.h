/* For the fuzz targets of what PostgreSQL answers: rows as lines, columns with tabs between, \N for
 * null. common/db.c stays out: what a target links of it is here. */
#pragma once

#include "common/db.h"
#include "fuzz_json.h"

#define FUZZ_MAX_ROWS 64
#define FUZZ_MAX_COLUMNS 32

struct db_result {
    size_t n_rows;
    const char *cells[FUZZ_MAX_ROWS][FUZZ_MAX_COLUMNS]; /* NULL: null, or not there */
};

size_t db_n_rows(const struct db_result *r) {
    return r->n_rows;
}

const char *db_value(const struct db_result *r, size_t row, size_t column, size_t *ret_len) {
    must_hold(row < r->n_rows && column < FUZZ_MAX_COLUMNS);
    const char *cell = r->cells[row][column];
    if (cell && ret_len)
        *ret_len = strlen(cell);
    return cell;
}

int64_t db_number(const struct db_result *r, size_t row, size_t column) {
    const char *cell = db_value(r, row, column, NULL);
    return strtoll(cell ? cell : "", NULL, 10);
}

const char *db_sqlstate(const struct db_result *r) {
    return r->n_rows && r->cells[0][0] ? r->cells[0][0] : "";
}

/* Takes rows off *at up to an empty line, behind which it goes. The text is changed. */
static inline void fuzz_rows(char **at, struct db_result *ret) {
    *ret = (struct db_result){0};
    while (*at && **at && ret->n_rows < FUZZ_MAX_ROWS) {
        char *row = strsep(at, "\n");
        if (!*row)
            return;
        for (size_t i = 0; row && i < FUZZ_MAX_COLUMNS; i++) {
            const char *cell = strsep(&row, "\t");
            ret->cells[ret->n_rows][i] = strcmp(cell, "\\N") == 0 ? NULL : cell;
        }
        ret->n_rows++;
    }
}
