/* Route patterns and matching (http/route_pattern.c, http/router.c). The input is lines: patterns up to the first empty
 * one, then paths. Refused patterns say why. What is found for a path does not depend on the order in which the
 * patterns were registered, its parameters lie within the path in their order, and allowed methods are told where there
 * are any. In the end no memory is left. */

#include "http/handler.h"
#include "http/router.h"
#include "tests/lib/fuzz.h"

#include <errno.h>
#include <string.h>

enum { LINES_MAX = 64 };

struct lines {
    char *text[LINES_MAX]; /* patterns, then paths; owned, each ends where its block ends */
    size_t len[LINES_MAX]; /* of them without their NUL */
    size_t patterns;       /* first path */
    size_t count;          /* of text */
};

static void split(struct lines *lines, const char *text, size_t len)
{
    bool are_paths = false;
    *lines = (struct lines){0};
    for (size_t at = 0; at < len && lines->count < LINES_MAX;) {
        const char *lf = memchr(text + at, '\n', len - at);
        size_t line_len = lf == NULL ? len - at : (size_t)(lf - text) - at;
        if (line_len == 0 && !are_paths) {
            are_paths = true;
            lines->patterns = lines->count;
        } else {
            char *copy = malloc(line_len + 1);
            FUZZ_MUST(copy != NULL);
            memcpy(copy, text + at, line_len);
            copy[line_len] = '\0';
            lines->len[lines->count] = line_len;
            lines->text[lines->count++] = copy;
        }
        at += line_len + 1;
    }
    lines->patterns = are_paths ? lines->patterns : lines->count;
}

/* GET for most; every third pattern has other methods. */
static unsigned methods_of(size_t n)
{
    return n % 3 == 2 ? 1U << METHOD_POST | 1U << METHOD_PUT : 1U << METHOD_GET;
}

/* What the order of registration decided: which pattern found no room, and which of two equal ones stays. */
struct decided {
    bool room, twin;
};

static void add(struct router *router, const struct lines *lines, size_t n, struct decided *decided)
{
    static const struct handler handler;
    char err[2048] = "";
    int rv = router_add(router, methods_of(n), lines->text[n], &handler, "fuzz:1", err, sizeof err);
    FUZZ_MUST(rv == 0 || rv == -EINVAL || rv == -ENOSPC || rv == -EEXIST);
    FUZZ_MUST(rv == 0 || strncmp(err, "fuzz:1: ", 8) == 0);
    decided->room = decided->room || rv == -ENOSPC;
    decided->twin = decided->twin || rv == -EEXIST;
}

static void check_match(enum route_verdict verdict, const struct route_match *match, size_t len)
{
    size_t at = 0;
    FUZZ_MUST((verdict == ROUTE_FOUND) == (match->route != NULL));
    FUZZ_MUST((verdict == ROUTE_NOT_ALLOWED) == (match->route == NULL && match->allowed != 0));
    for (size_t i = 0; verdict == ROUTE_FOUND && i < match->route->param_count; i++) {
        FUZZ_MUST(match->params[i].offset >= at && match->params[i].offset <= len);
        FUZZ_MUST(match->params[i].len <= len - match->params[i].offset);
        at = match->params[i].offset + match->params[i].len;
    }
}

static void check_path(const struct router *one, const struct router *other, const char *path, size_t len,
                       bool has_twins)
{
    for (enum method method = 0; method < METHOD_COUNT; method++) {
        struct route_match a, b;
        char *exact = malloc(len > 0 ? len : 1); /* no NUL behind it */
        FUZZ_MUST(exact != NULL);
        memcpy(exact, path, len);
        enum route_verdict verdict = router_match(one, method, exact, len, &a);
        check_match(verdict, &a, len);
        FUZZ_MUST(router_match(other, method, exact, len, &b) == verdict);
        FUZZ_MUST(verdict == ROUTE_FOUND || a.allowed == b.allowed);
        if (verdict == ROUTE_FOUND) {
            FUZZ_MUST(a.route->methods == b.route->methods && a.route->param_count == b.route->param_count);
            FUZZ_MUST(has_twins || strcmp(a.route->pattern, b.route->pattern) == 0);
            FUZZ_MUST(memcmp(a.params, b.params, a.route->param_count * sizeof a.params[0]) == 0);
        }
        free(exact);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct lines lines;
    struct router *forward, *backward;
    struct decided decided = {false, false};
    split(&lines, (const char *)data, len);
    FUZZ_MUST(router_create(&forward) == 0 && router_create(&backward) == 0);
    for (size_t n = 0; n < lines.patterns; n++) {
        add(forward, &lines, n, &decided);
        add(backward, &lines, lines.patterns - 1 - n, &decided);
    }
    for (size_t n = lines.patterns; !decided.room && n < lines.count; n++) {
        check_path(forward, backward, lines.text[n], lines.len[n], decided.twin);
    }
    router_destroy(forward);
    router_destroy(backward);
    FUZZ_MUST(fake_mem_live() == 0);
    for (size_t n = 0; n < lines.count; n++) {
        free(lines.text[n]);
    }
    return 0;
}
