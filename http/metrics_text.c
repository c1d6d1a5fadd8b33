/* Happy path: a family, its samples, the next family; all appended to one buffer.
 *
 * Failure mode: without memory, or beyond METRICS_TEXT_MAX, the text is marked as too short and stays as it is. */

#include "http/metrics_text.h"

#include "core/utf8.h"
#include "http/number.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    COUNT_ROOM = 24,                  /* bytes of a whole number with its NUL */
    BOUND_ROOM = NUMBER_TEXT_MAX + 4, /* of a bound with its NUL */
};

const char *metrics_text_type(bool is_open)
{
    return is_open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                   : "text/plain; version=0.0.4; charset=utf-8";
}

void metrics_text_init(struct metrics_text *text, bool is_open)
{
    *text = (struct metrics_text){.is_open = is_open};
}

void metrics_text_done(struct metrics_text *text)
{
    write_buffer_done(&text->out);
}

static void put_metric_bytes(struct metrics_text *text, const char *data, size_t len)
{
    int rv = text->is_short ? 0 : write_buffer_append(&text->out, data, len, METRICS_TEXT_MAX);
    if (rv < 0) {
        text->is_short = true;
        text->is_full = rv == -ENOBUFS;
    }
}

static void put_metric_string(struct metrics_text *text, const char *data)
{
    put_metric_bytes(text, data, strlen(data));
}

/* Write data with backslashes before '\' and, if is_quoted, '"'; a line feed is "\n". */
static void put_metric_text(struct metrics_text *text, const char *data, bool is_quoted)
{
    size_t len = strlen(data);
    for (size_t i = 0, n; i < len; i += n) {
        size_t whole = utf8_len((const unsigned char *)data + i, len - i);
        n = whole == 0 ? 1 : whole;
        if (whole == 0) {
            put_metric_string(text, "\xef\xbf\xbd"); /* U+FFFD */
        } else if (data[i] == '\n') {
            put_metric_string(text, "\\n");
        } else {
            if (data[i] == '\\' || (data[i] == '"' && is_quoted)) {
                put_metric_string(text, "\\");
            }
            put_metric_bytes(text, data + i, n);
        }
    }
}

void metrics_text_family(struct metrics_text *text, enum metric_kind kind, const char *name, const char *help)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    static const char total[] = "_total";
    size_t len = strlen(name), cut = sizeof total - 1;
    text->name = name;
    text->kind = kind;
    if (text->is_open && kind == METRIC_COUNTER && len > cut && strcmp(name + len - cut, total) == 0) {
        len -= cut;
    }
    put_metric_string(text, "# HELP ");
    put_metric_bytes(text, name, len);
    put_metric_string(text, " ");
    put_metric_text(text, help, text->is_open);
    put_metric_string(text, "\n# TYPE ");
    put_metric_bytes(text, name, len);
    put_metric_string(text, " ");
    put_metric_string(text, kinds[kind]);
    put_metric_string(text, "\n");
}

static void put_metric_labels(struct metrics_text *text, const struct metric_label *labels, size_t count)
{
    const char *before = "{";
    for (size_t i = 0; i < count; i++) {
        if (labels[i].value == NULL || labels[i].value[0] == '\0') {
            continue;
        }
        put_metric_string(text, before);
        put_metric_string(text, labels[i].name);
        put_metric_string(text, "=\"");
        put_metric_text(text, labels[i].value, true);
        put_metric_string(text, "\"");
        before = ",";
    }
    put_metric_string(text, before[0] == ',' ? "} " : " ");
}

/* In decimal, whatever the locale. */
static void put_metric_number(struct metrics_text *text, double value)
{
    char number[NUMBER_TEXT_MAX];
    if (isnan(value) || isinf(value)) {
        put_metric_string(text, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
    } else {
        put_metric_bytes(text, number, number_format(number, value));
    }
}

static void put_metric_count(struct metrics_text *text, uint64_t value)
{
    char number[COUNT_ROOM];
    int len = snprintf(number, sizeof number, "%llu", (unsigned long long)value);
    put_metric_bytes(text, number, (size_t)len);
}

static void begin_sample(struct metrics_text *text, const char *suffix, const struct metric_label *labels, size_t count)
{
    put_metric_string(text, text->name);
    put_metric_string(text, suffix);
    put_metric_labels(text, labels, count);
}

void metrics_text_count(struct metrics_text *text, const struct metric_label *labels, size_t count, uint64_t value)
{
    begin_sample(text, "", labels, count);
    put_metric_count(text, value);
    put_metric_string(text, "\n");
}

void metrics_text_number(struct metrics_text *text, const struct metric_label *labels, size_t count, double value)
{
    begin_sample(text, "", labels, count);
    put_metric_number(text, value);
    put_metric_string(text, "\n");
}

/* The bound of a bucket as a label: OpenMetrics wants "1.0" for 1, and so does Prometheus 3 from both. */
static void format_bound(char label[BOUND_ROOM], double bound)
{
    size_t len = number_format(label, bound);
    label[len] = '\0';
    if (strpbrk(label, ".e") == NULL) {
        memcpy(label + len, ".0", sizeof ".0");
    }
}

void metrics_text_histogram(struct metrics_text *text, const struct metric_label *labels, size_t count,
                            const double *bounds, const uint64_t *counts, size_t bucket_count, double sum)
{
    struct metric_label all[METRIC_LABELS_MAX];
    char bound[BOUND_ROOM];
    uint64_t below = 0;
    if (count > 0) {
        memcpy(all, labels, count * sizeof *labels);
    }
    for (size_t i = 0; i <= bucket_count; i++) {
        if (i < bucket_count) {
            format_bound(bound, bounds[i]);
        }
        below += counts[i];
        all[count] = (struct metric_label){"le", i < bucket_count ? bound : "+Inf"};
        begin_sample(text, "_bucket", all, count + 1);
        put_metric_count(text, below);
        put_metric_string(text, "\n");
    }
    begin_sample(text, "_sum", labels, count);
    put_metric_number(text, sum);
    put_metric_string(text, "\n");
    begin_sample(text, "_count", labels, count);
    put_metric_count(text, below);
    put_metric_string(text, "\n");
}

bool metrics_text_end(struct metrics_text *text)
{
    if (text->is_open) {
        put_metric_string(text, "# EOF\n");
    }
    return !text->is_short;
}
