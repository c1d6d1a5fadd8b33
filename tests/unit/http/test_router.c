/* The router, case by case: which paths a pattern fits, which one wins, what is refused, and that a failed registration
 * leaves no trace. test_route_pattern.c has the syntax; test_router_oracle.c compares with a naive matcher on random
 * input. */

#include "http/handler.h"
#include "http/router.h"

#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN(array) (sizeof(array) / sizeof *(array))

enum {
    GET = 1 << METHOD_GET,
    HEAD = 1 << METHOD_HEAD,
    POST = 1 << METHOD_POST,
    PUT = 1 << METHOD_PUT,
    DELETE = 1 << METHOD_DELETE,
    OPTIONS = 1 << METHOD_OPTIONS,
    TEXT_MAX = 2048,
};

/* What router_match() said, in a form that is easy to compare. */
struct answer {
    enum route_verdict verdict; /* returned */
    uint64_t allowed;           /* of the match */
    const struct route *route;  /* of the match */
    char params[TEXT_MAX];      /* "id=7 rest=a/b" */
};

/* Handlers are only told apart by their address. */
static const struct handler *handler_number(size_t n)
{
    static const struct handler handlers[64];
    assert_true(n < sizeof handlers / sizeof handlers[0]);
    return &handlers[n];
}

static int set_up(void **state)
{
    struct router *router = NULL;
    int rv = router_create(&router);
    *state = router;
    return rv;
}

static int tear_down(void **state)
{
    fake_mem_fail_after(0, false);
    router_destroy(*state);
    return fake_mem_live() == 0 ? 0 : -1;
}

static struct router *new_router(void)
{
    struct router *router = NULL;
    assert_int_equal(router_create(&router), 0);
    return router;
}

static void add(struct router *router, uint64_t methods, const char *pattern)
{
    char err[TEXT_MAX] = "";
    int rv = router_add(router, methods, pattern, handler_number(0), "site.lua:1", err, sizeof err);
    if (rv != 0) {
        print_error("%s: %d %s\n", pattern, rv, err);
    }
    assert_int_equal(rv, 0);
}

/* The path lies in a block of its own size, so that the sanitizer sees a byte read beyond it. */
static struct answer ask(const struct router *router, unsigned method, const char *path)
{
    size_t len = strlen(path);
    char *exact = malloc(len == 0 ? 1 : len);
    assert_non_null(exact);
    memcpy(exact, path, len);
    struct route_match match;
    memset(&match, 0xa5, sizeof match);
    struct answer answer = {.verdict = router_match(router, method, exact, len, &match)};
    answer.allowed = match.allowed;
    answer.route = match.route;
    assert_true((match.route != NULL) == (answer.verdict == ROUTE_FOUND));
    size_t used = 0;
    for (unsigned i = 0; match.route != NULL && i < match.route->param_count; i++) {
        assert_true(match.params[i].offset <= len && match.params[i].len <= len - match.params[i].offset);
        used += (size_t)snprintf(answer.params + used, sizeof answer.params - used, "%s%s=%.*s", i == 0 ? "" : " ",
                                 match.route->param_names[i], (int)match.params[i].len, exact + match.params[i].offset);
        assert_true(used < sizeof answer.params);
    }
    free(exact);
    return answer;
}

static void pattern_fits_the_paths_it_describes(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path, *params; /* params NULL: does not fit */
    } cases[] = {
        {"/", "/", ""},
        {"/", "", NULL},
        {"/", "//", NULL},
        {"/", "/a", NULL},
        {"/about", "/about", ""},
        {"/about", "/About", NULL},
        {"/about", "/abou", NULL},
        {"/about", "/aboutx", NULL},
        {"/about", "/about/", NULL},
        {"/about/", "/about", NULL},
        {"/about/", "/about/", ""},
        {"/a//b", "/a//b", ""},
        {"/a//b", "/a/b", NULL},
        {"/users/:id", "/users/7", "id=7"},
        {"/users/:id", "/users/", NULL},
        {"/users/:id", "/users", NULL},
        {"/users/:id", "/users/7/", NULL},
        {"/users/:id", "/users/7/x", NULL},
        {"/users/:id", "/users//", NULL},
        {"/users/:id/", "/users/7/", "id=7"},
        {"/users/:id/", "/users/7", NULL},
        {"/:a/:b", "/x/y", "a=x b=y"},
        {"/:a/:b", "//y", NULL},
        {"/:a/:b", "/x/", NULL},
        {"/:_A9", "/x", "_A9=x"},
        {"/files/a-:name", "/files/a-x", "name=x"},
        {"/files/a-:name", "/files/a-", NULL},
        {"/files/a-:name", "/files/b-x", NULL},
        {"/:name.json", "/a.json", "name=a"},
        {"/:name.json", "/a.json.json", "name=a.json"},
        {"/:name.json", "/.json", NULL},
        {"/:name.json", "/json", NULL},
        {"/:name.json", "/a.jsonx", NULL},
        {"/:name.json", "/a.json/", NULL},
        {"/:name.json", "/a.json/b.json", NULL},
        {"/:name.json/x", "/a.json/x", "name=a"},
        {"/v:n{int}-edit", "/v12-edit", "n=12"},
        {"/v:n{int}-edit", "/v12-edit-edit", NULL},
        {"/v:n{int}-edit", "/v-edit", NULL},
        {"/*rest", "/", "rest="},
        {"/*rest", "/a/b", "rest=a/b"},
        {"/*rest", "//", "rest=/"},
        {"/*rest", "", NULL},
        {"/files/*", "/files/", "*="},
        {"/files/*", "/files/a//b/", "*=a//b/"},
        {"/files/*", "/files", NULL},
        {"/a/:x/*rest", "/a/b/", "x=b rest="},
        {"/a/:x/*rest", "/a/b/c/d", "x=b rest=c/d"},
        {"/a/:x/*rest", "/a/b", NULL},
        {"/a/:x/*rest", "/a//c", NULL},
        {"/caf%C3%A9", "/caf\xc3\xa9", ""},
        {"/caf%c3%a9", "/caf\xc3\xa9", ""},
        {"/caf\xc3\xa9", "/caf\xc3\xa9", ""},
        {"/caf%C3%A9", "/caf%C3%A9", NULL},
        {"/:word", "/\xc3\xa9t\xc3\xa9", "word=\xc3\xa9t\xc3\xa9"},
        {"/%3Aid", "/:id", ""},
        {"/%3Aid", "/7", NULL},
        {"/a%2A", "/a*", ""},
        {"/%7Bid%7D", "/{id}", ""},
        {"/100%25", "/100%", ""},
        {"/%23%3f%5C", "/#?\\", ""},
        {"/a b", "/a b", ""},
        {"/:id%3Aarchive", "/7:archive", "id=7"},
        {"/...", "/...", ""},
        {"/.well-known/:x", "/.well-known/y", "x=y"},
        {"/:x..", "/a..", "x=a"},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        struct router *router = new_router();
        add(router, GET, cases[i].pattern);
        struct answer answer = ask(router, METHOD_GET, cases[i].path);
        enum route_verdict expected = cases[i].params == NULL ? ROUTE_NOT_FOUND : ROUTE_FOUND;
        if (answer.verdict != expected) {
            print_error("pattern %s, path %s\n", cases[i].pattern, cases[i].path);
        }
        assert_int_equal(answer.verdict, expected);
        if (expected == ROUTE_FOUND) {
            assert_string_equal(answer.params, cases[i].params);
        }
        router_destroy(router);
    }
}

/* Swap the n-th permutation of count numbers into order. */
static void permute(size_t *order, size_t count, size_t n)
{
    for (size_t i = 0; i < count; i++) {
        order[i] = i;
    }
    for (size_t i = count; i > 1; i--) {
        size_t other = n % i;
        n /= i;
        size_t kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}

enum { RANKED_MAX = 6 };

/* Patterns that all fit the path, in order of precedence. */
static const struct ranking {
    const char *path;
    const char *patterns[RANKED_MAX];
} rankings[] = {
    {"/f/12", {"/f/12", "/f/1:x", "/f/:x{int}", "/f/:x{slug}", "/f/:x", "/f/*x"}},
    {"/12", {"/:x{[12]+}", "/:x{int}", "/:x{[0-9]+}", "/:x{hex}", "/:x{alnum}", "/:x{slug}"}},
    {"/ab", {"/:x{[a-c]+}", "/:x{hex}", "/:x{alpha}", "/:x{alnum}", "/:x{slug}", "/:x{[!-~]+}"}},
    {"/a.tar.gz", {"/:x{[a-z.]+}z", "/:x{alpha}.tar.gz", "/:x.tar.gz", "/:x.gz", "/:x", "/*x"}},
    {"/a/b/c", {"/a/b/c", "/a/b/:z", "/a/:y/c", "/a/*r", "/:x/b/c", "/*r"}},
    {"/1/2/3", {"/:x{int}/2/:z", "/:x{int}/:y/3", "/:x{int}/:y/:z", "/:x/2/3", "/:x/:y/*z", "/:x/*z"}},
    {"/ab/", {"/ab/", "/ab/*r", "/a:x/", "/:x/", "/:x/*r", "/*r"}},
    {"/123e4567-e89b-12d3-a456-426614174000", {"/:x{uuid}", "/:x{[0-9a-f-]+}", "/:x{slug}", "/:x%30", "/:x", "/*x"}},
};

/* Register the ranking's patterns in an order: those before first for POST only, the others for GET. */
static struct router *router_of_ranking(const struct ranking *ranking, const size_t *order, size_t count, size_t first)
{
    struct router *router = new_router();
    for (size_t i = 0; i < count; i++) {
        add(router, order[i] < first ? POST : GET, ranking->patterns[order[i]]);
    }
    return router;
}

static void precedence_does_not_depend_on_the_order_of_registration(void **state)
{
    (void)state;
    for (size_t r = 0; r < LEN(rankings); r++) {
        const struct ranking *ranking = &rankings[r];
        for (size_t n = 0; n < 720; n++) {
            size_t order[RANKED_MAX];
            permute(order, RANKED_MAX, n);
            struct router *router = router_of_ranking(ranking, order, RANKED_MAX, 0);
            struct answer answer = ask(router, METHOD_GET, ranking->path);
            assert_int_equal(answer.verdict, ROUTE_FOUND);
            assert_string_equal(answer.route->pattern, ranking->patterns[0]);
            router_destroy(router);
        }
    }
}

static void match_goes_back_where_a_more_exact_pattern_lacks_the_method(void **state)
{
    (void)state;
    for (size_t r = 0; r < LEN(rankings); r++) {
        const struct ranking *ranking = &rankings[r];
        for (size_t n = 0; n < 720; n += 7) {
            size_t order[RANKED_MAX];
            permute(order, RANKED_MAX, n);
            for (size_t first = 1; first < RANKED_MAX; first++) {
                struct router *router = router_of_ranking(ranking, order, RANKED_MAX, first);
                assert_string_equal(ask(router, METHOD_GET, ranking->path).route->pattern, ranking->patterns[first]);
                assert_string_equal(ask(router, METHOD_POST, ranking->path).route->pattern, ranking->patterns[0]);
                router_destroy(router);
            }
            struct router *router = router_of_ranking(ranking, order, RANKED_MAX, RANKED_MAX);
            struct answer answer = ask(router, METHOD_GET, ranking->path);
            assert_int_equal(answer.verdict, ROUTE_NOT_ALLOWED);
            assert_int_equal(answer.allowed, POST | OPTIONS);
            router_destroy(router);
        }
    }
}

static void equally_wide_types_are_tried_in_one_order_always(void **state)
{
    (void)state;
    static const char *const patterns[] = {"/:x{[a-c]+}", "/:x{[b-d]+}", "/:x{[cde]+}"};
    const char *winner = NULL;
    for (size_t n = 0; n < 6; n++) {
        size_t order[3];
        permute(order, 3, n);
        struct router *router = new_router();
        for (size_t i = 0; i < 3; i++) {
            add(router, GET, patterns[order[i]]);
        }
        struct answer answer = ask(router, METHOD_GET, "/c");
        assert_int_equal(answer.verdict, ROUTE_FOUND);
        for (size_t i = 0; i < 3; i++) {
            winner = winner == NULL && strcmp(patterns[i], answer.route->pattern) == 0 ? patterns[i] : winner;
        }
        assert_string_equal(answer.route->pattern, winner);
        router_destroy(router);
    }
}

static void match_goes_back_where_a_more_exact_pattern_leads_nowhere(void **state)
{
    struct router *router = *state;
    static const char *const patterns[] = {"/a/b/c/d",  "/a/b/:x/e",   "/a/:y{alpha}/c/f", "/a/:y/:z/g",
                                           "/:w/b/c/h", "/:w/:y/:x/i", "/a/b/*r"};
    for (size_t i = 0; i < LEN(patterns); i++) {
        add(router, GET, patterns[i]);
    }
    static const struct {
        const char *path, *pattern, *params;
    } cases[] = {
        {"/a/b/c/d", "/a/b/c/d", ""},
        {"/a/b/c/e", "/a/b/:x/e", "x=c"},
        {"/a/b/c/f", "/a/b/*r", "r=c/f"},
        {"/a/bb/c/f", "/a/:y{alpha}/c/f", "y=bb"},
        {"/a/b1/c/g", "/a/:y/:z/g", "y=b1 z=c"},
        {"/a/bb/c/g", "/a/:y/:z/g", "y=bb z=c"},
        {"/x/b/c/h", "/:w/b/c/h", "w=x"},
        {"/a/bb/c/i", "/:w/:y/:x/i", "w=a y=bb x=c"},
        {"/aa/b/c/i", "/:w/:y/:x/i", "w=aa y=b x=c"},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        struct answer answer = ask(router, METHOD_GET, cases[i].path);
        assert_int_equal(answer.verdict, ROUTE_FOUND);
        assert_string_equal(answer.route->pattern, cases[i].pattern);
        assert_string_equal(answer.params, cases[i].params);
    }
    assert_int_equal(ask(router, METHOD_GET, "/a/bb/c/j").verdict, ROUTE_NOT_FOUND);
    assert_int_equal(ask(router, METHOD_GET, "/a/b").verdict, ROUTE_NOT_FOUND);
}

static void allowed_collects_the_methods_of_every_pattern_that_fits(void **state)
{
    struct router *router = *state;
    add(router, PUT, "/a/b");
    add(router, GET, "/a/:x");
    add(router, 1U << METHOD_PATCH, "/:x{alpha}/b");
    add(router, DELETE, "/a/c");
    add(router, HEAD, "/head");
    static const struct {
        const char *path;
        enum method method;
        unsigned allowed;
    } cases[] = {
        {"/a/b", METHOD_POST, PUT | GET | HEAD | 1 << METHOD_PATCH | OPTIONS},
        {"/a/b", METHOD_OPTIONS, PUT | GET | HEAD | 1 << METHOD_PATCH | OPTIONS},
        {"/a/c", METHOD_POST, DELETE | GET | HEAD | OPTIONS},
        {"/x/b", METHOD_GET, 1 << METHOD_PATCH | OPTIONS},
        {"/head", METHOD_GET, HEAD | OPTIONS},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        struct answer answer = ask(router, cases[i].method, cases[i].path);
        assert_int_equal(answer.verdict, ROUTE_NOT_ALLOWED);
        assert_int_equal(answer.allowed, cases[i].allowed);
    }
    struct answer none = ask(router, METHOD_GET, "/none");
    assert_int_equal(none.verdict, ROUTE_NOT_FOUND);
    assert_int_equal(none.allowed, 0);
}

static void head_goes_to_get_unless_it_has_a_route_of_its_own(void **state)
{
    struct router *router = *state;
    add(router, GET | POST, "/a");
    add(router, GET, "/b");
    add(router, HEAD, "/b");
    add(router, POST, "/c");
    add(router, GET, "/d/:x");
    add(router, HEAD, "/d/*r");
    assert_int_equal(ask(router, METHOD_HEAD, "/a").route->methods, GET | POST);
    assert_int_equal(ask(router, METHOD_HEAD, "/b").route->methods, HEAD);
    assert_int_equal(ask(router, METHOD_GET, "/b").route->methods, GET);
    assert_int_equal(ask(router, METHOD_HEAD, "/c").verdict, ROUTE_NOT_ALLOWED);
    assert_string_equal(ask(router, METHOD_HEAD, "/d/1").route->pattern, "/d/:x");
    assert_string_equal(ask(router, METHOD_HEAD, "/d/1/2").route->pattern, "/d/*r");
}

static void options_goes_to_its_own_route_where_there_is_one(void **state)
{
    struct router *router = *state;
    add(router, GET, "/a");
    add(router, OPTIONS, "/:x");
    struct answer answer = ask(router, METHOD_OPTIONS, "/a");
    assert_int_equal(answer.verdict, ROUTE_FOUND);
    assert_string_equal(answer.route->pattern, "/:x");
}

static void a_route_for_options_alone_does_not_say_that_a_path_exists(void **state)
{
    struct router *router = *state;
    add(router, OPTIONS, "/*path");
    add(router, OPTIONS, "/literal");
    add(router, POST, "/a/:x");
    add(router, OPTIONS, "/a/:x");
    static const struct {
        const char *path;
        enum method method;
        enum route_verdict verdict;
        unsigned allowed;
    } cases[] = {
        {"/none", METHOD_GET, ROUTE_NOT_FOUND, 0},       {"/none", METHOD_OPTIONS, ROUTE_FOUND, 0},
        {"/literal", METHOD_DELETE, ROUTE_NOT_FOUND, 0}, {"/a/1", METHOD_GET, ROUTE_NOT_ALLOWED, POST | OPTIONS},
        {"/a/1", METHOD_POST, ROUTE_FOUND, 0},           {"/a/", METHOD_POST, ROUTE_NOT_FOUND, 0},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        struct answer answer = ask(router, cases[i].method, cases[i].path);
        assert_int_equal(answer.verdict, cases[i].verdict);
        if (answer.verdict != ROUTE_FOUND) {
            assert_int_equal(answer.allowed, cases[i].allowed);
        }
    }
}

static void each_method_of_one_pattern_has_its_own_handler_and_names(void **state)
{
    struct router *router = *state;
    char err[TEXT_MAX];
    static const char *const patterns[METHOD_COUNT] = {"/:a/*r", "/:b/*r", "/:c/*r", "/:d/*s",
                                                       "/:e/*r", "/:f/*r", "/:g/*",  "/:h/*r"};
    for (size_t method = 0; method < METHOD_COUNT; method++) {
        assert_int_equal(router_add(router, 1U << method, patterns[method], handler_number(method), "", err,
                                    sizeof err),
                         0);
    }
    for (size_t method = 0; method < METHOD_COUNT; method++) {
        struct answer answer = ask(router, (unsigned)method, "/x/y");
        assert_int_equal(answer.verdict, ROUTE_FOUND);
        assert_ptr_equal(answer.route->handler, handler_number(method));
        assert_string_equal(answer.route->pattern, patterns[method]);
    }
    assert_string_equal(ask(router, METHOD_GET, "/x/y").params, "a=x r=y");
    assert_string_equal(ask(router, METHOD_PUT, "/x/y").params, "d=x s=y");
    assert_string_equal(ask(router, METHOD_OPTIONS, "/x/y").params, "g=x *=y");
}

static void routes_are_listed_in_the_order_of_registration(void **state)
{
    struct router *router = *state;
    assert_null(router_route(router, 0));
    char text[TEXT_MAX];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "/r%u/:p%u", i * 7919 % 100, i);
        add(router, GET, text);
    }
    for (unsigned i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "/r%u/:p%u", i * 7919 % 100, i);
        const struct route *route = router_route(router, i);
        assert_string_equal(route->pattern, text);
        assert_int_equal(route->param_count, 1);
        assert_string_equal(route->param_names[0], strchr(text, ':') + 1);
        assert_string_equal(route->where, "site.lua:1");
    }
    assert_null(router_route(router, 100));
}

static void route_keeps_copies_of_its_texts(void **state)
{
    struct router *router = *state;
    char pattern[] = "/users/:id{int}/*tail";
    char where[] = "site.lua:12";
    char err[TEXT_MAX];
    assert_int_equal(router_add(router, GET, pattern, handler_number(3), where, err, sizeof err), 0);
    memset(pattern, 'x', strlen(pattern));
    memset(where, 'x', strlen(where));
    struct answer answer = ask(router, METHOD_GET, "/users/7/a/b");
    assert_string_equal(answer.params, "id=7 tail=a/b");
    assert_string_equal(answer.route->pattern, "/users/:id{int}/*tail");
    assert_string_equal(answer.route->where, "site.lua:12");
    assert_ptr_equal(answer.route->handler, handler_number(3));
    assert_int_equal(router_add(router, POST, "/", handler_number(0), NULL, NULL, 0), 0);
    assert_string_equal(router_route(router, 1)->where, "");
}

static void bad_pattern_leaves_the_router_unchanged(void **state)
{
    struct router *router = *state;
    char err[TEXT_MAX];
    add(router, GET, "/a");
    assert_int_equal(router_add(router, GET, "/b/:x{foo}", handler_number(0), "x:1", err, sizeof err), -EINVAL);
    assert_ptr_equal(strstr(err, "x:1: bad route pattern \"/b/:x{foo}\": unknown parameter type {foo}"), err);
    assert_int_equal(router_add(router, GET, "/b?", handler_number(0), NULL, NULL, 0), -EINVAL);
    assert_null(router_route(router, 1));
    assert_int_equal(ask(router, METHOD_GET, "/b/c").verdict, ROUTE_NOT_FOUND);
}

static void methods_that_are_none_are_refused(void **state)
{
    struct router *router = *state;
    char err[TEXT_MAX];
    assert_int_equal(router_add(router, 0, "/a", handler_number(0), "x:1", err, sizeof err), -EINVAL);
    assert_string_equal(err, "x:1: route /a has no method");
    assert_int_equal(router_add(router, GET | 1U << METHOD_COUNT, "/a", handler_number(0), "", err, sizeof err),
                     -EINVAL);
    assert_string_equal(err, "route /a has an unknown method");
    assert_int_equal(ask(router, METHOD_GET, "/a").verdict, ROUTE_NOT_FOUND);
    add(router, METHODS_ALL, "/a");
}

/* Methods that the parser does not know. */

static uint64_t named(struct router *router, const char *name)
{
    uint64_t set = 0;
    char err[TEXT_MAX];
    assert_int_equal(route_methods_add(router_method_names(router), name, strlen(name), &set, err, sizeof err), 0);
    return set;
}

static struct answer ask_named(const struct router *router, const char *name, const char *path)
{
    return ask(router, router_find_method(router, name, strlen(name)), path);
}

static void routes_may_name_any_method(void **state)
{
    struct router *router = *state;
    add(router, named(router, "PROPFIND") | GET, "/dav/*rest");
    add(router, named(router, "PURGE"), "/dav/*rest");
    add(router, METHODS_ALL, "/all");
    assert_int_equal(named(router, "GET"), GET);
    assert_int_equal(named(router, "*"), METHODS_ALL);
    assert_int_equal(ask_named(router, "PROPFIND", "/dav/a").verdict, ROUTE_FOUND);
    assert_int_equal(ask_named(router, "PURGE", "/dav/a").verdict, ROUTE_FOUND);
    assert_int_equal(ask(router, METHOD_HEAD, "/dav/a").verdict, ROUTE_FOUND);
    assert_int_equal(ask_named(router, "propfind", "/dav/a").verdict, ROUTE_NOT_ALLOWED); /* case-sensitive */
    assert_int_equal(ask_named(router, "PROPFIN", "/dav/a").verdict, ROUTE_NOT_ALLOWED);
    assert_int_equal(ask(router, METHOD_OTHER, "/dav/a").verdict, ROUTE_NOT_ALLOWED);
    struct answer answer = ask(router, METHOD_PUT, "/dav/a");
    assert_int_equal(answer.verdict, ROUTE_NOT_ALLOWED);
    char allow[ROUTE_METHODS_TEXT_MAX];
    router_format_methods(router, answer.allowed, allow);
    assert_string_equal(allow, "GET, HEAD, OPTIONS, PROPFIND, PURGE");
    static const char *const methods[] = {"PROPFIND", "PURGE", "X", "get", "!"};
    for (size_t i = 0; i < LEN(methods); i++) {
        assert_int_equal(ask_named(router, methods[i], "/all").verdict, ROUTE_FOUND);
        assert_int_equal(ask_named(router, methods[i], "/none").verdict, ROUTE_NOT_FOUND);
    }
    for (unsigned method = 0; method < METHOD_COUNT; method++) {
        assert_int_equal(ask(router, method, "/all").verdict, ROUTE_FOUND);
    }
}

static void a_method_with_a_name_is_taken_once_and_not_beside_all(void **state)
{
    struct router *router = *state;
    char err[TEXT_MAX];
    add(router, named(router, "PURGE") | GET, "/a");
    add(router, named(router, "QUERY"), "/a");
    add(router, METHODS_ALL, "/b");
    assert_int_equal(router_add(router, named(router, "QUERY"), "/a", handler_number(0), "x:1", err, sizeof err),
                     -EEXIST);
    assert_string_equal(err, "x:1: route QUERY /a is already registered at site.lua:1");
    assert_int_equal(router_add(router, named(router, "LOCK"), "/b", handler_number(0), "x:1", err, sizeof err),
                     -EEXIST);
    assert_string_equal(err, "x:1: route LOCK /b is already registered at site.lua:1");
    assert_int_equal(router_add(router, METHODS_ALL, "/b", handler_number(0), "x:1", err, sizeof err), -EEXIST);
    assert_string_equal(err, "x:1: route * /b is already registered at site.lua:1");
    assert_int_equal(router_add(router, METHODS_ALL, "/a", handler_number(0), "x:1", err, sizeof err), -EEXIST);
    /* LOCK has a name now, but no route: no path may say that it is allowed. */
    assert_int_equal(router_find_method(router, "LOCK", 4), METHOD_OTHER);
    assert_int_not_equal(router_find_method(router, "QUERY", 5), METHOD_OTHER);
}

static void names_of_methods_are_checked(void **state)
{
    struct router *router = *state;
    static const struct {
        const char *name, *text;
    } bad[] = {
        {"", "\"\" is not a method: a method is a token of 1 to 32 characters, such as GET or PROPFIND"},
        {"A B", "\"A B\" is not a method: a method is a token"},
        {"A\nB", "is not a method: a method is a token"},
        {"A:", "\"A:\" is not a method: a method is a token"},
        {"\xc3\x84", "is not a method: a method is a token"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567", "is not a method: a method is a token of 1 to 32 characters"},
        {"get", "\"get\" is not a method: methods are case-sensitive, write GET"},
        {"Options", "\"Options\" is not a method: methods are case-sensitive, write OPTIONS"},
        {"CONNECT", "CONNECT is for proxies"},
    };
    for (size_t i = 0; i < LEN(bad); i++) {
        char err[TEXT_MAX];
        uint64_t set = GET;
        assert_int_equal(route_methods_add(router_method_names(router), bad[i].name, strlen(bad[i].name), &set, err,
                                           sizeof err),
                         -EINVAL);
        assert_int_equal(set, GET);
        if (strstr(err, bad[i].text) == NULL) {
            fail_msg("\"%s\" is not in \"%s\"", bad[i].text, err);
        }
    }
    named(router, "ABCDEFGHIJKLMNOPQRSTUVWXYZ123456");
    named(router, "!#$%&'*+-.^_`|~aZ9");
    named(router, "**");
}

static void routes_may_name_so_many_methods_and_no_more(void **state)
{
    struct router *router = *state;
    uint64_t all = 0;
    char name[METHOD_NAME_MAX + 1], err[TEXT_MAX], text[ROUTE_METHODS_TEXT_MAX];
    for (unsigned i = 0; i < ROUTE_METHODS_MAX; i++) {
        snprintf(name, sizeof name, "%032u", i);
        all |= named(router, name);
    }
    add(router, all | METHODS_KNOWN, "/a");
    uint64_t set = 0;
    assert_int_equal(route_methods_add(router_method_names(router), "ONEMORE", 7, &set, err, sizeof err), -ENOSPC);
    assert_non_null(strstr(err, "ONEMORE is one method too many: routes may name 56 in addition to GET, HEAD, "));
    assert_int_equal(named(router, name) & ~all, 0); /* the last one is still there */
    assert_int_equal(ask_named(router, name, "/a").verdict, ROUTE_FOUND);
    router_format_methods(router, all | METHODS_KNOWN, text);
    assert_int_equal(strlen(text), strlen("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") + 56 * 34);
    assert_true(strlen(text) < ROUTE_METHODS_TEXT_MAX);
}

static void second_registration_is_refused_naming_both_places(void **state)
{
    (void)state;
    static const struct {
        unsigned first_methods;
        const char *first, *first_where;
        unsigned second_methods;
        const char *second, *second_where, *text;
    } cases[] = {
        {GET, "/users/:id", "site.lua:7", GET, "/users/:id", "site.lua:12",
         "site.lua:12: route GET /users/:id is already registered at site.lua:7"},
        {GET, "/users/:id", "site.lua:7", GET, "/users/:name", "site.lua:12",
         "site.lua:12: route GET /users/:name is already registered as /users/:id at site.lua:7"},
        {GET | POST | PUT, "/a", "a:1", POST | PUT | DELETE, "/a", "b:2",
         "b:2: route POST, PUT /a is already registered at a:1"},
        {GET, "/", "", GET, "/", "", "route GET / is already registered"},
        {GET, "/", "a:1", GET, "/", "", "route GET / is already registered at a:1"},
        {GET, "/*a", "", GET, "/*", "b:2", "b:2: route GET /* is already registered as /*a"},
        {GET, "/:a{[a-c]+}.x", "", GET, "/:b{[cba]+}.x", "",
         "route GET /:b{[cba]+}.x is already registered as /:a{[a-c]+}.x"},
        {GET, "/:a{hex}", "", GET, "/:a{[0-9A-Fa-f]+}", "",
         "route GET /:a{[0-9A-Fa-f]+} is already registered as /:a{hex}"},
        {GET, "/%61", "", GET, "/a", "", "route GET /a is already registered as /%61"},
        {HEAD, "/a", "", HEAD | GET, "/a", "", "route HEAD /a is already registered"},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        char err[TEXT_MAX] = "";
        struct router *router = new_router();
        assert_int_equal(router_add(router, cases[i].first_methods, cases[i].first, handler_number(1),
                                    cases[i].first_where, err, sizeof err),
                         0);
        assert_int_equal(router_add(router, cases[i].second_methods, cases[i].second, handler_number(2),
                                    cases[i].second_where, err, sizeof err),
                         -EEXIST);
        assert_string_equal(err, cases[i].text);
        assert_null(router_route(router, 1));
        router_destroy(router);
    }
}

static void duplicate_is_found_among_several_routes_of_one_pattern(void **state)
{
    struct router *router = *state;
    char err[TEXT_MAX];
    assert_int_equal(router_add(router, GET, "/a", handler_number(0), "a:1", err, sizeof err), 0);
    assert_int_equal(router_add(router, POST, "/a", handler_number(1), "a:2", err, sizeof err), 0);
    assert_int_equal(router_add(router, PUT, "/a", handler_number(2), "a:3", err, sizeof err), 0);
    assert_int_equal(router_add(router, GET, "/a", handler_number(3), "a:4", err, sizeof err), -EEXIST);
    assert_string_equal(err, "a:4: route GET /a is already registered at a:1");
    assert_ptr_equal(ask(router, METHOD_GET, "/a").route->handler, handler_number(0));
}

static void pattern_has_at_most_its_number_of_parameters(void **state)
{
    struct router *router = *state;
    char pattern[TEXT_MAX] = "";
    char path[TEXT_MAX] = "";
    char params[TEXT_MAX] = "";
    for (int i = 0; i < ROUTE_PARAMS_MAX; i++) {
        snprintf(pattern + strlen(pattern), 16, "/:p%d{hex}.x", i);
        snprintf(path + strlen(path), 16, "/%x.x", i);
        snprintf(params + strlen(params), 16, "%sp%d=%x", i == 0 ? "" : " ", i, i);
    }
    strcat(pattern, "/end");
    strcat(path, "/end");
    add(router, GET, pattern);
    assert_string_equal(ask(router, METHOD_GET, path).params, params);

    char err[TEXT_MAX];
    strcat(pattern, "/:more");
    assert_int_equal(router_add(router, GET, pattern, handler_number(0), "", err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "more than 16 parameters"));
    strcpy(strrchr(pattern, ':'), "*more");
    assert_int_equal(router_add(router, GET, pattern, handler_number(0), "", err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "more than 16 parameters"));
}

static void pattern_has_at_most_its_number_of_bytes(void **state)
{
    struct router *router = *state;
    char pattern[ROUTE_PATTERN_MAX + 2];
    memset(pattern, 'a', sizeof pattern);
    pattern[0] = '/';
    pattern[ROUTE_PATTERN_MAX] = '\0';
    add(router, GET, pattern);
    assert_string_equal(ask(router, METHOD_GET, pattern).route->pattern, pattern);
    pattern[ROUTE_PATTERN_MAX] = 'a';
    pattern[ROUTE_PATTERN_MAX + 1] = '\0';
    assert_int_equal(ask(router, METHOD_GET, pattern).verdict, ROUTE_NOT_FOUND);
    assert_int_equal(router_add(router, GET, pattern, handler_number(0), "", NULL, 0), -EINVAL);
}

static void one_place_has_at_most_its_number_of_parameters(void **state)
{
    struct router *router = *state;
    char pattern[TEXT_MAX];
    for (int i = 0; i < ROUTE_BRANCHES_MAX; i++) {
        snprintf(pattern, sizeof pattern, "/a/:x.%d/y", i);
        add(router, GET, pattern);
        if (i == 0) {
            add(router, GET, "/a/*rest"); /* does not count */
        }
    }
    char err[TEXT_MAX];
    assert_int_equal(router_add(router, GET, "/a/:x/z", handler_number(0), "x:1", err, sizeof err), -ENOSPC);
    assert_string_equal(err, "x:1: route /a/:x/z: more than 32 different parameters at one place");
    assert_int_equal(router_add(router, GET, "/a/:x{int}", handler_number(0), "", err, sizeof err), -ENOSPC);
    assert_string_equal(err, "route /a/:x{int}: more than 32 different parameters at one place");
    assert_string_equal(ask(router, METHOD_GET, "/a/1/z").params, "rest=1/z");
    add(router, GET, "/a/:x.7/z");
    add(router, POST, "/a/:x.7/y");
    add(router, POST, "/a/*rest");
    add(router, GET, "/a/b:x");
    add(router, GET, "/:x");
    assert_string_equal(ask(router, METHOD_GET, "/a/1.31/y").params, "x=1");
}

/* Patterns that together make every kind of change to a tree: a leaf, a split with and without more after it, a split
 * within a segment, a branch of each kind, another method, growth of the children and of the list of routes. */
static const char *const changes[] = {"/",
                                      "/users",
                                      "/user",
                                      "/users/:id",
                                      "/users/:id{int}",
                                      "/usher/:id.x/y",
                                      "/u:rest",
                                      "/users/:id/x/:y/*z",
                                      "/*rest",
                                      "/a",
                                      "/b",
                                      "/c",
                                      "/d",
                                      "/e",
                                      "/f/g/h",
                                      "/f/g/i",
                                      "/f/j/k",
                                      "/f/g:x",
                                      "/f/g/*y",
                                      "/usual"};

static const char *const probes[] = {"/",      "/users", "/user",      "/users/7", "/users/x", "/usher/7.x/y",
                                     "/ux",    "/a",     "/users/7/x", "/f/gg",    "/f/g/h",   "/f/g/i",
                                     "/f/j/k", "/f/g/z", "/e",         "/usual",   "/usuall",  "/users/7/x/8/9"};

/* Ask for all probes; the answers are equal only if all of them are. */
static void take_snapshot(const struct router *router, char text[2 * TEXT_MAX])
{
    size_t used = 0;
    for (size_t i = 0; i < LEN(probes); i++) {
        struct answer answer = ask(router, METHOD_GET, probes[i]);
        used += (size_t)snprintf(text + used, 2 * TEXT_MAX - used, "%d %x %s %s\n", (int)answer.verdict,
                                 (unsigned)answer.allowed, answer.route == NULL ? "" : answer.route->pattern,
                                 answer.params);
        assert_true(used < 2 * TEXT_MAX);
    }
}

static void failed_allocation_leaves_the_router_unchanged(void **state)
{
    (void)state;
    size_t failures = 0;
    for (size_t change = 0; change < 2 * LEN(changes); change++) {
        for (uint64_t n = 1;; n++) {
            struct router *router = new_router();
            for (size_t i = 0; i < change; i++) {
                add(router, i < LEN(changes) ? GET : POST, changes[i % LEN(changes)]);
            }
            char before[2 * TEXT_MAX];
            char after[2 * TEXT_MAX];
            take_snapshot(router, before);
            unsigned methods = change < LEN(changes) ? GET : POST;
            const char *pattern = changes[change % LEN(changes)];
            char err[TEXT_MAX] = "";
            fake_mem_fail_after(n, false);
            int rv = router_add(router, methods, pattern, handler_number(1), "site.lua:12", err, sizeof err);
            bool failed = fake_mem_failed();
            fake_mem_fail_after(0, false);
            assert_int_equal(rv, failed ? -ENOMEM : 0);
            if (failed) {
                failures++;
                snprintf(after, sizeof after, "site.lua:12: route %s: out of memory", pattern);
                assert_string_equal(err, after);
                assert_null(router_route(router, change));
                take_snapshot(router, after);
                assert_string_equal(after, before);
                assert_int_equal(router_add(router, methods, pattern, handler_number(1), "", err, sizeof err), 0);
            }
            assert_ptr_equal(router_route(router, change)->handler, handler_number(1));
            router_destroy(router);
            assert_int_equal(fake_mem_live(), 0);
            if (!failed) {
                break;
            }
        }
    }
    assert_true(failures >= 2 * LEN(changes)); /* each change allocates */
}

static void failed_creation_leaves_nothing_behind(void **state)
{
    (void)state;
    uint64_t n = 0;
    bool failed = true;
    while (failed) {
        fake_mem_fail_after(++n, false);
        struct router *router = NULL;
        int rv = router_create(&router);
        failed = fake_mem_failed();
        assert_int_equal(rv, failed ? -ENOMEM : 0);
        assert_true((router == NULL) == failed);
        fake_mem_fail_after(0, false);
        router_destroy(router);
        assert_int_equal(fake_mem_live(), 0);
    }
    assert_true(n > 1);
}

static void match_does_not_allocate(void **state)
{
    struct router *router = *state;
    for (size_t i = 0; i < LEN(changes); i++) {
        add(router, GET, changes[i]);
    }
    uint64_t calls = fake_mem_calls();
    for (size_t i = 0; i < LEN(probes); i++) {
        ask(router, METHOD_POST, probes[i]);
    }
    assert_int_equal(fake_mem_calls(), calls);
}

/* Every segment of every pattern can be taken in three ways, and the path fits all but the end of them. */
static void overlapping_patterns_are_all_tried_once(void **state)
{
    struct router *router = *state;
    enum { DEPTH = 7, WAYS = 3 };
    static const char *const types[WAYS] = {"", "{alpha}", ""};
    unsigned total = 1;
    for (int i = 0; i < DEPTH; i++) {
        total *= WAYS;
    }
    for (unsigned n = 0; n < total; n++) {
        char pattern[TEXT_MAX] = "";
        unsigned way = n * 1000 % total; /* 1000 and 3 ** 7 have no common factor: each comes once */
        for (int i = 0; i < DEPTH; i++, way /= WAYS) {
            size_t used = strlen(pattern);
            unsigned taken = way % WAYS;
            if (taken == 0) {
                strcat(pattern, "/a");
            } else {
                snprintf(pattern + used, sizeof pattern - used, "/:p%d%s", i, types[taken]);
            }
        }
        strcat(pattern, "/z");
        add(router, n % 2 == 0 ? GET : POST, pattern);
    }
    struct answer answer = ask(router, METHOD_PUT, "/a/a/a/a/a/a/a/z");
    assert_int_equal(answer.verdict, ROUTE_NOT_ALLOWED);
    assert_int_equal(answer.allowed, GET | HEAD | POST | OPTIONS);
    assert_int_equal(ask(router, METHOD_GET, "/a/a/a/a/a/a/a/y").verdict, ROUTE_NOT_FOUND);
    assert_int_equal(ask(router, METHOD_GET, "/a/a/a/a/a/a/a/z/").verdict, ROUTE_NOT_FOUND);
    answer = ask(router, METHOD_PUT, "/1/1/1/1/1/1/1/z"); /* only the pattern without letters fits */
    assert_int_equal(answer.verdict, ROUTE_NOT_ALLOWED);
    assert_true(answer.allowed == (POST | OPTIONS) || answer.allowed == (GET | HEAD | OPTIONS));
}

static void path_may_be_longer_than_any_pattern(void **state)
{
    struct router *router = *state;
    enum { PATH_LEN = 65536 };
    char *path = malloc(PATH_LEN + 1);
    assert_non_null(path);
    for (size_t i = 0; i < PATH_LEN; i++) {
        path[i] = i % 2 == 0 ? '/' : 'a';
    }
    path[PATH_LEN] = '\0';
    add(router, GET, "/:a/:b/:c{alpha}/:d");
    add(router, GET, "/a/:b/:c/a/:d/z");
    assert_int_equal(ask(router, METHOD_GET, path).verdict, ROUTE_NOT_FOUND);
    add(router, GET, "/*rest");
    struct route_match match;
    assert_int_equal(router_match(router, METHOD_GET, path, PATH_LEN, &match), ROUTE_FOUND);
    assert_int_equal(match.params[0].offset, 1);
    assert_int_equal(match.params[0].len, PATH_LEN - 1);
    free(path);
}

static void path_that_no_slice_can_hold_is_not_found(void **state)
{
    if (SIZE_MAX == UINT32_MAX) {
        skip(); /* no path is that long */
    }
    struct router *router = *state;
    add(router, GET, "/*rest");
    struct route_match match;
    assert_int_equal(router_match(router, METHOD_GET, "/a", (size_t)UINT32_MAX + 3, &match), ROUTE_NOT_FOUND);
    assert_null(match.route);
    assert_int_equal(match.allowed, 0);
}

static void set_of_methods_is_written_as_a_field_value(void **state)
{
    struct router *router = *state;
    char text[ROUTE_METHODS_TEXT_MAX];
    router_format_methods(router, 0, text);
    assert_string_equal(text, "");
    router_format_methods(router, GET, text);
    assert_string_equal(text, "GET");
    router_format_methods(router, OPTIONS | HEAD | GET, text);
    assert_string_equal(text, "GET, HEAD, OPTIONS");
    router_format_methods(router, METHODS_KNOWN, text);
    assert_string_equal(text, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    router_format_methods(router, METHODS_ALL, text);
    assert_string_equal(text, "*");
}

static void destroy_takes_null(void **state)
{
    (void)state;
    router_destroy(NULL);
}

#define TEST(fn)       cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
#define TEST_ALONE(fn) cmocka_unit_test_setup_teardown(fn, NULL, NULL)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pattern_fits_the_paths_it_describes),
        TEST(precedence_does_not_depend_on_the_order_of_registration),
        TEST(match_goes_back_where_a_more_exact_pattern_lacks_the_method),
        TEST(match_goes_back_where_a_more_exact_pattern_leads_nowhere),
        TEST(equally_wide_types_are_tried_in_one_order_always),
        TEST(allowed_collects_the_methods_of_every_pattern_that_fits),
        TEST(head_goes_to_get_unless_it_has_a_route_of_its_own),
        TEST(options_goes_to_its_own_route_where_there_is_one),
        TEST(a_route_for_options_alone_does_not_say_that_a_path_exists),
        TEST(each_method_of_one_pattern_has_its_own_handler_and_names),
        TEST(routes_are_listed_in_the_order_of_registration),
        TEST(route_keeps_copies_of_its_texts),
        TEST(bad_pattern_leaves_the_router_unchanged),
        TEST(methods_that_are_none_are_refused),
        TEST(routes_may_name_any_method),
        TEST(a_method_with_a_name_is_taken_once_and_not_beside_all),
        TEST(names_of_methods_are_checked),
        TEST(routes_may_name_so_many_methods_and_no_more),
        TEST(second_registration_is_refused_naming_both_places),
        TEST(duplicate_is_found_among_several_routes_of_one_pattern),
        TEST(pattern_has_at_most_its_number_of_parameters),
        TEST(pattern_has_at_most_its_number_of_bytes),
        TEST(one_place_has_at_most_its_number_of_parameters),
        TEST_ALONE(failed_allocation_leaves_the_router_unchanged),
        TEST_ALONE(failed_creation_leaves_nothing_behind),
        TEST(match_does_not_allocate),
        TEST(overlapping_patterns_are_all_tried_once),
        TEST(path_may_be_longer_than_any_pattern),
        TEST(path_that_no_slice_can_hold_is_not_found),
        TEST(set_of_methods_is_written_as_a_field_value),
        TEST(destroy_takes_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
