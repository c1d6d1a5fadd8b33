/* The text of Server-Sent Events, and what a client makes of it. */

#include "http/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The text of an event, in memory that ends with it: the sanitizer sees a byte too many. */
static char *text_of(const struct sse_event *event, size_t *len)
{
    assert_null(sse_check(event));
    *len = sse_length(event);
    char *text = malloc(*len);
    assert_non_null(text);
    assert_ptr_equal(sse_put(text, event), text + *len);
    return text;
}

static void assert_text(const struct sse_event *event, const char *expected)
{
    size_t len;
    char *text = text_of(event, &len);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(text, expected, len);
    free(text);
}

static struct sse_event with_data(const char *data)
{
    return (struct sse_event){.data = data, .data_len = strlen(data), .retry_ms = SSE_NO_RETRY};
}

static void each_line_of_data_is_a_field(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "data: \n\n"},
        {"one", "data: one\n\n"},
        {" one", "data:  one\n\n"},
        {"a\nb", "data: a\ndata: b\n\n"},
        {"a\rb", "data: a\ndata: b\n\n"},
        {"a\r\nb", "data: a\ndata: b\n\n"},
        {"a\n\rb", "data: a\ndata: \ndata: b\n\n"},
        {"a\r\rb", "data: a\ndata: \ndata: b\n\n"},
        {"a\n", "data: a\ndata: \n\n"},
        {"a\r\n", "data: a\ndata: \n\n"},
        {"a\r", "data: a\ndata: \n\n"},
        {"\n", "data: \ndata: \n\n"},
        {"\r\r\n", "data: \ndata: \ndata: \n\n"},
        {"data: x\n\nid: 7", "data: data: x\ndata: \ndata: id: 7\n\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sse_event event = with_data(cases[i][0]);
        assert_text(&event, cases[i][1]);
    }
}

static void fields_have_an_order(void **state)
{
    (void)state;
    struct sse_event event = with_data("x");
    event.id = "7";
    event.id_len = 1;
    event.event = "news";
    event.event_len = 4;
    event.retry_ms = 3000;
    assert_text(&event, "id: 7\nevent: news\nretry: 3000\ndata: x\n\n");
    event.data = NULL;
    event.event = NULL;
    event.id = "";
    event.id_len = 0;
    event.retry_ms = 0;
    assert_text(&event, "id: \nretry: 0\n\n");
    event.retry_ms = INT64_MAX;
    event.id = NULL;
    assert_text(&event, "retry: 9223372036854775807\n\n");
}

static void what_would_be_another_field_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *id, *event, *complaint;
    } cases[] = {
        {"7\n8", NULL, "id: it must not contain a line break"},
        {"7\r", NULL, "id: it must not contain a line break"},
        {NULL, "a\nb", "event: it must not contain a line break"},
        {NULL, "\r", "event: it must not contain a line break"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sse_event event = with_data("x");
        event.id = cases[i].id;
        event.id_len = cases[i].id == NULL ? 0 : strlen(cases[i].id);
        event.event = cases[i].event;
        event.event_len = cases[i].event == NULL ? 0 : strlen(cases[i].event);
        assert_string_equal(sse_check(&event), cases[i].complaint);
    }
    struct sse_event event = with_data("x");
    event.id = "a\0b";
    event.id_len = 3;
    assert_string_equal(sse_check(&event), "id: it must not contain a NUL byte");
}

static void comments_have_lines_too(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ": \n\n"},
        {"hi", ": hi\n\n"},
        {"a\r\nb", ": a\n: b\n\n"},
        {"\ndata: x", ": \n: data: x\n\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *text = cases[i][0];
        size_t len = sse_comment_length(text, strlen(text));
        char *made = malloc(len);
        assert_non_null(made);
        assert_ptr_equal(sse_put_comment(made, text, strlen(text)), made + len);
        assert_int_equal(len, strlen(cases[i][1]));
        assert_memory_equal(made, cases[i][1], len);
        free(made);
    }
}

/* What a client reads, after the algorithm of the standard ("Interpreting an event stream"). */
struct reader {
    char id[64], event[64], data[1024]; /* of the event that was dispatched */
    size_t id_len, event_len, data_len;
    int dispatched;
    int64_t retry_ms;
};

static void take_field(struct reader *reader, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    size_t name_len = colon == NULL ? len : (size_t)(colon - line);
    const char *value = colon == NULL ? line + len : colon + 1;
    size_t value_len = (size_t)(line + len - value);
    if (value_len > 0 && value[0] == ' ') {
        value++;
        value_len--;
    }
    if (name_len == 4 && memcmp(line, "data", 4) == 0) {
        memcpy(reader->data + reader->data_len, value, value_len);
        reader->data_len += value_len;
        reader->data[reader->data_len++] = '\n';
    } else if (name_len == 2 && memcmp(line, "id", 2) == 0) {
        memcpy(reader->id, value, value_len);
        reader->id_len = value_len;
    } else if (name_len == 5 && memcmp(line, "event", 5) == 0) {
        memcpy(reader->event, value, value_len);
        reader->event_len = value_len;
    } else if (name_len == 5 && memcmp(line, "retry", 5) == 0) {
        reader->retry_ms = strtoll(value, NULL, 10);
    } else {
        assert_int_equal(name_len, 0); /* a comment */
    }
}

static void interpret(struct reader *reader, const char *text, size_t len)
{
    *reader = (struct reader){.retry_ms = SSE_NO_RETRY};
    for (size_t at = 0; at < len;) {
        size_t end = at;
        while (end < len && text[end] != '\n' && text[end] != '\r') {
            end++;
        }
        assert_true(end < len); /* each line ends */
        if (end == at && reader->data_len > 0) {
            reader->data_len--;
            reader->dispatched++;
            assert_int_equal(end + 1, len); /* nothing follows */
        } else if (end > at) {
            take_field(reader, text + at, end - at);
        }
        at = end + (text[end] == '\r' && end + 1 < len && text[end + 1] == '\n' ? 2 : 1);
    }
}

static void clients_read_what_was_meant(void **state)
{
    (void)state;
    static const char letters[] = "a: \r\n\rdi\n";
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        char data[24], joined[24];
        size_t len = 0, joined_len = 0;
        seed = seed * 1664525 + 1013904223;
        size_t want = seed >> 8 & 15;
        while (len < want) {
            seed = seed * 1664525 + 1013904223;
            data[len++] = letters[(seed >> 16) % (sizeof letters - 1)];
        }
        for (size_t i = 0; i < len; i++) { /* all line breaks are line feeds to a client */
            if (!(data[i] == '\n' && i > 0 && data[i - 1] == '\r')) {
                joined[joined_len++] = data[i] == '\r' ? '\n' : data[i];
            }
        }
        char *exact = malloc(len > 0 ? len : 1);
        assert_non_null(exact);
        memcpy(exact, data, len);
        struct sse_event event = {
            .id = "i:d", .id_len = 3, .event = " e", .event_len = 2, .data = exact, .data_len = len, .retry_ms = round};
        size_t text_len;
        char *text = text_of(&event, &text_len);
        struct reader reader;
        interpret(&reader, text, text_len);
        assert_int_equal(reader.dispatched, 1);
        assert_int_equal(reader.data_len, joined_len);
        assert_memory_equal(reader.data, joined, joined_len);
        assert_int_equal(reader.id_len, 3);
        assert_memory_equal(reader.id, "i:d", 3);
        assert_int_equal(reader.event_len, 2);
        assert_memory_equal(reader.event, " e", 2);
        assert_int_equal(reader.retry_ms, round);
        char *comment = malloc(sse_comment_length(exact, len));
        assert_non_null(comment);
        char *end = sse_put_comment(comment, exact, len);
        interpret(&reader, comment, (size_t)(end - comment));
        assert_int_equal(reader.dispatched + (int)reader.id_len + (int)reader.event_len, 0);
        free(comment);
        free(text);
        free(exact);
    }
}

/* A megabyte of carriage returns takes one pass, not one for each. */
static void carriage_returns_cost_one_pass(void **state)
{
    (void)state;
    enum { MEGABYTE = 1 << 20 };
    char *data = malloc(MEGABYTE);
    assert_non_null(data);
    memset(data, '\r', MEGABYTE);
    struct sse_event event = {.data = data, .data_len = MEGABYTE, .retry_ms = SSE_NO_RETRY};
    size_t len;
    char *text = text_of(&event, &len);
    assert_int_equal(len, 7 * ((size_t)MEGABYTE + 1) + 1);
    free(text);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line_of_data_is_a_field),
        cmocka_unit_test(fields_have_an_order),
        cmocka_unit_test(what_would_be_another_field_is_refused),
        cmocka_unit_test(comments_have_lines_too),
        cmocka_unit_test(clients_read_what_was_meant),
        cmocka_unit_test(carriage_returns_cost_one_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
