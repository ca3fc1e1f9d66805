/* Metrics; see metrics.h. A service has some dozens of them, made once: lists are searched. */
#include "common/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct bucket {
    double most; /* s */
    const char *label;
};

static const struct bucket buckets[] = {
    {1e-4, "0.0001"},   {2.5e-4, "0.00025"}, {5e-4, "0.0005"}, {1e-3, "0.001"},
    {2.5e-3, "0.0025"}, {5e-3, "0.005"},     {1e-2, "0.01"},   {2.5e-2, "0.025"},
    {5e-2, "0.05"},     {0.1, "0.1"},        {0.25, "0.25"},   {0.5, "0.5"},
    {1, "1"},           {2.5, "2.5"},        {5, "5"},         {10, "10"},
};
#define N_BUCKETS (sizeof(buckets) / sizeof(buckets[0]))

struct metric {
    struct metric *next; /* of the same family */
    enum metric_kind kind;
    char *labels;                 /* owned; "" without */
    double value;                 /* a histogram's sum */
    uint64_t n_in[N_BUCKETS + 1]; /* observed per bucket; the last: above all */
};

struct family {
    struct family *next;
    const char *name, *help; /* borrowed */
    enum metric_kind kind;
    struct metric *metrics, **end;
};

struct metrics {
    struct family *families, **end;
};

struct metrics *metrics_new(void) {
    struct metrics *m = must_alloc(sizeof(*m));
    m->end = &m->families;
    return m;
}

static void family_free(struct family *family) {
    for (struct metric *metric = family->metrics, *next; metric; metric = next) {
        next = metric->next;
        free(metric->labels);
        free(metric);
    }
    free(family);
}

struct metrics *metrics_free(struct metrics *m) {
    if (!m)
        return NULL;
    for (struct family *family = m->families, *next; family; family = next) {
        next = family->next;
        family_free(family);
    }
    free(m);
    return NULL;
}

static struct family *find_family(struct metrics *m, const char *name, enum metric_kind kind,
                                  const char *help) {
    for (struct family *family = m->families; family; family = family->next)
        if (strcmp(family->name, name) == 0) {
            if (family->kind != kind)
                abort(); /* one name, two kinds: a mistake in the code, seen at the first start */
            return family;
        }
    struct family *family = must_alloc(sizeof(*family));
    *family = (struct family){.name = name, .help = help, .kind = kind};
    family->end = &family->metrics;
    *m->end = family;
    m->end = &family->next;
    return family;
}

static struct metric *find_metric(struct metrics *m, const char *name, const char *labels,
                                  enum metric_kind kind, const char *help) {
    struct family *family = find_family(m, name, kind, help);
    labels = labels ? labels : "";
    for (struct metric *metric = family->metrics; metric; metric = metric->next)
        if (strcmp(metric->labels, labels) == 0)
            return metric;
    struct metric *metric = must_alloc(sizeof(*metric));
    metric->kind = kind;
    metric->labels = must_strdup(labels);
    *family->end = metric;
    family->end = &metric->next;
    return metric;
}

struct metric *metrics_counter(struct metrics *m, const char *name, const char *labels,
                               const char *help) {
    return find_metric(m, name, labels, METRIC_COUNTER, help);
}

struct metric *metrics_gauge(struct metrics *m, const char *name, const char *labels,
                             const char *help) {
    return find_metric(m, name, labels, METRIC_GAUGE, help);
}

struct metric *metrics_histogram(struct metrics *m, const char *name, const char *labels,
                                 const char *help) {
    return find_metric(m, name, labels, METRIC_HISTOGRAM, help);
}

struct metric *metrics_answers(struct metrics *m, const char *dependency) {
    char labels[64];
    snprintf(labels, sizeof(labels), "dependency=\"%s\"", dependency);
    return metrics_histogram(m, "handoff_dependency_answer_seconds", labels,
                             "From a question to a dependency's answer.");
}

void metric_add(struct metric *metric, double n) {
    metric->value += n;
}

void metric_set(struct metric *metric, double value) {
    metric->value = value;
}

void metric_observe(struct metric *metric, double seconds) {
    size_t i = 0;
    while (i < N_BUCKETS && seconds > buckets[i].most)
        i++;
    metric->n_in[i]++;
    metric->value += seconds;
}

/* The shortest digits that read back as the same number. */
static void put_number(struct buf *out, double number) {
    if (!isfinite(number)) {
        buf_puts(out, isnan(number) ? "NaN" : number > 0 ? "+Inf" : "-Inf");
        return;
    }
    char digits[32];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*g", precision, number);
        if (strtod(digits, NULL) == number)
            break;
    }
    buf_puts(out, digits);
}

static void put_name(struct buf *out, const struct family *family, const char *suffix,
                     const char *labels, const char *le) {
    buf_puts(out, family->name);
    buf_puts(out, suffix);
    if (*labels || le) {
        buf_putc(out, '{');
        buf_puts(out, labels);
        if (le)
            buf_printf(out, "%sle=\"%s\"", *labels ? "," : "", le);
        buf_putc(out, '}');
    }
    buf_putc(out, ' ');
}

static void put_histogram(struct buf *out, const struct family *family,
                          const struct metric *metric) {
    uint64_t total = 0;
    for (size_t i = 0; i <= N_BUCKETS; i++) {
        total += metric->n_in[i];
        put_name(out, family, "_bucket", metric->labels, i < N_BUCKETS ? buckets[i].label : "+Inf");
        buf_put_u64(out, total);
        buf_putc(out, '\n');
    }
    put_name(out, family, "_sum", metric->labels, NULL);
    put_number(out, metric->value);
    buf_putc(out, '\n');
    put_name(out, family, "_count", metric->labels, NULL);
    buf_put_u64(out, total);
    buf_putc(out, '\n');
}

static void put_family(struct buf *out, const struct family *family) {
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
               kinds[family->kind]);
    for (const struct metric *metric = family->metrics; metric; metric = metric->next) {
        if (family->kind == METRIC_HISTOGRAM) {
            put_histogram(out, family, metric);
            continue;
        }
        put_name(out, family, "", metric->labels, NULL);
        put_number(out, metric->value);
        buf_putc(out, '\n');
    }
}

void metrics_print(const struct metrics *m, struct buf *out) {
    for (const struct family *family = m->families; family; family = family->next)
        put_family(out, family);
}
