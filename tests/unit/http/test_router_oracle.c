/* The router against a naive matcher: random patterns, made from tokens and rendered to text, and random paths. The
 * oracle never looks at text: it tries the tokens of every route on the path and ranks those that fit, place by place,
 * as http/router.h says. Fixed seeds. */

#include "http/handler.h"
#include "http/router.h"

#include "tests/lib/fake_mem.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN(array) (sizeof(array) / sizeof *(array))

enum { ROUTES_MAX = 400, TOKENS_MAX = 20, TEXT_MAX = 512, PLACES_MAX = 256 };

/* Types of parameters, in order of precedence; ANY is the plain one. */
enum type { UUID, SET_AB, SET_12X, INT, DIGITS, HEX, ALPHA, ALNUM, SLUG, ANY, TYPE_COUNT };

static const char *const type_texts[TYPE_COUNT][2] = {
    {"{uuid}", "{uuid}"},           {"{[ab]+}", "{[ba]+}"},
    {"{[1-2x]+}", "{[x12]+}"},      {"{int}", "{int}"},
    {"{[0-9]+}", "{[5-90-6]+}"},    {"{hex}", "{[A-Fa-f0-9]+}"},
    {"{alpha}", "{[a-zA-Z]+}"},     {"{alnum}", "{alnum}"},
    {"{slug}", "{[-_0-9A-Za-z]+}"}, {"", ""},
};

enum token_kind { LITERAL, PARAM, REST };

struct token {
    enum token_kind kind; /* of the place it takes */
    char text[8];         /* LITERAL: bytes; PARAM: what follows, up to the next parameter or in the segment */
    enum type type;       /* of PARAM */
};

struct pattern {
    struct token tokens[TOKENS_MAX]; /* count of them */
    size_t count;                    /* of tokens */
    uint64_t methods;                /* registered */
    struct handler handler;          /* told by its address, and by whether it owns its paths */
    char text[TEXT_MAX];             /* as handed to the router */
};

/* How a pattern fits a path: one rank per place, and the parameters. */
struct fit {
    int ranks[PLACES_MAX];                 /* smaller goes first */
    size_t place_count;                    /* of ranks */
    struct slice params[ROUTE_PARAMS_MAX]; /* values */
    size_t param_count;                    /* of params */
};

static uint64_t random_state;
static unsigned seen[3]; /* of each verdict, so that a test can see that it tested something */

static unsigned random_below(unsigned limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33) % limit;
}

static const char *pick(const char *const *texts, size_t count)
{
    return texts[random_below((unsigned)count)];
}

static const char *const words[] = {"a", "b", "ab", "1", "12", "a1", "x", "-", "A", "abab", "."};
static const char *const suffixes[] = {"", "", "b", ".b"};
static const char *const inner_texts[] = {".b", "-", ".", "b"}; /* all of them in their order of precedence */
static const char *const uuid_text = "123e4567-e89b-12d3-a456-426614174000";

/* One to four segments, perhaps a rest. */
static void make_tokens(struct pattern *pattern)
{
    unsigned segments = 1 + random_below(4);
    pattern->count = 0;
    for (unsigned i = 0; i < segments; i++) {
        struct token *token = &pattern->tokens[pattern->count++];
        *token = (struct token){.kind = LITERAL, .text = "/"};
        if (i + 1 == segments && random_below(5) == 0) {
            pattern->tokens[pattern->count++] = (struct token){.kind = REST};
            return;
        }
        if (random_below(2) == 0 || random_below(4) == 0) {
            strcat(token->text, pick(words, LEN(words)));
            if (strcmp(token->text, "/.") == 0) {
                strcat(token->text, "x");
            }
        }
        if (random_below(2) == 0) {
            for (unsigned inner = random_below(8); inner < 2; inner++) { /* one or two with another behind */
                token = &pattern->tokens[pattern->count++];
                *token = (struct token){.kind = PARAM, .type = (enum type)random_below(TYPE_COUNT)};
                strcpy(token->text, pick(inner_texts, LEN(inner_texts)));
            }
            token = &pattern->tokens[pattern->count++];
            *token = (struct token){.kind = PARAM, .type = (enum type)random_below(TYPE_COUNT)};
            strcpy(token->text, pick(suffixes, LEN(suffixes)));
        }
    }
}

/* Literal bytes, some of them percent-encoded. The first byte after a name must not look like more of it. */
static void render_literal(char *text, const char *bytes, bool is_after_name)
{
    for (size_t i = 0; bytes[i] != '\0'; i++) {
        bool is_name_byte = isalnum((unsigned char)bytes[i]) != 0;
        if (bytes[i] != '/' && (random_below(8) == 0 || (i == 0 && is_after_name && is_name_byte))) {
            sprintf(text + strlen(text), "%%%02x", (unsigned)(unsigned char)bytes[i]);
        } else {
            sprintf(text + strlen(text), "%c", bytes[i]);
        }
    }
}

static void render(struct pattern *pattern)
{
    char *text = pattern->text;
    text[0] = '\0';
    unsigned first_name = random_below(3);
    for (size_t i = 0; i < pattern->count; i++) {
        const struct token *token = &pattern->tokens[i];
        if (token->kind == REST) {
            strcat(text, random_below(2) == 0 ? "*" : "*rest");
        } else if (token->kind == LITERAL) {
            render_literal(text, token->text, false);
        } else {
            const char *type = type_texts[token->type][random_below(2)];
            sprintf(text + strlen(text), ":p%zu%s", first_name + i, type);
            render_literal(text, token->text, type[0] == '\0');
        }
    }
}

static bool is_same_shape(const struct pattern *a, const struct pattern *b)
{
    /* Without names, a pattern is one sequence of bytes and marks. */
    char shapes[2][TEXT_MAX];
    for (int which = 0; which < 2; which++) {
        const struct pattern *pattern = which == 0 ? a : b;
        shapes[which][0] = '\0';
        for (size_t i = 0; i < pattern->count; i++) {
            const struct token *token = &pattern->tokens[i];
            char mark[16] = "";
            if (token->kind != LITERAL) {
                sprintf(mark, ":%d:", token->kind == REST ? -1 : (int)token->type);
            }
            strcat(strcat(shapes[which], mark), token->text);
        }
    }
    return strcmp(shapes[0], shapes[1]) == 0;
}

static bool is_of_class(enum type type, char c)
{
    bool is_ascii = (unsigned char)c < 0x80;
    switch (type) {
    case SET_AB:
        return c == 'a' || c == 'b';
    case SET_12X:
        return c == '1' || c == '2' || c == 'x';
    case INT:
    case DIGITS:
        return isdigit((unsigned char)c) != 0;
    case HEX:
        return isxdigit((unsigned char)c) != 0;
    case ALPHA:
        return is_ascii && isalpha((unsigned char)c) != 0;
    case ALNUM:
        return is_ascii && isalnum((unsigned char)c) != 0;
    case SLUG:
        return is_ascii && (isalnum((unsigned char)c) != 0 || c == '-' || c == '_');
    default:
        return c != '/';
    }
}

static bool is_of_type(enum type type, const char *text, size_t len)
{
    if (type == UUID) {
        return len == 36 && strncmp(text, uuid_text, 36) == 0; /* the only one in these paths */
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_of_class(type, text[i])) {
            return false;
        }
    }
    return len > 0 && (type != INT || len <= 18);
}

/* The rank of a parameter: its type, then the longer text behind it, then the end of the segment before another one. */
static int param_rank(const struct token *token, bool is_inner)
{
    int text = 0;
    while (text < (int)LEN(inner_texts) && strcmp(inner_texts[text], token->text) != 0) {
        text++;
    }
    return 100 * ((int)token->type + 1) + 2 * text + (is_inner ? 1 : 0);
}

/* Bytes of the value of a parameter with another behind it in a segment of len bytes; len if its text is not there. */
static size_t inner_len(const struct token *token, const char *at, size_t len)
{
    size_t text_len = strlen(token->text);
    for (size_t i = 1; i + text_len <= len; i++) {
        if (strncmp(at + i, token->text, text_len) == 0) {
            return i;
        }
    }
    return len;
}

/* Try a pattern on a path. */
static bool fit_pattern(const struct pattern *pattern, const char *path, struct fit *fit)
{
    const char *at = path;
    fit->place_count = 0;
    fit->param_count = 0;
    for (size_t i = 0; i < pattern->count; i++) {
        const struct token *token = &pattern->tokens[i];
        size_t text_len = strlen(token->text);
        if (token->kind == LITERAL) {
            if (strncmp(at, token->text, text_len) != 0) {
                return false;
            }
            for (size_t n = 0; n < text_len; n++) {
                fit->ranks[fit->place_count++] = 0;
            }
            at += text_len;
            continue;
        }
        bool is_inner = token->kind == PARAM && i + 1 < pattern->count && token[1].kind == PARAM;
        size_t len = token->kind == REST ? strlen(at) : strcspn(at, "/");
        if (is_inner) {
            size_t inner = inner_len(token, at, len);
            if (inner == len) {
                return false;
            }
            len = inner + text_len;
        }
        size_t value_len = len - (text_len <= len ? text_len : 0);
        if (token->kind == PARAM && (text_len > len || strncmp(at + value_len, token->text, text_len) != 0 ||
                                     !is_of_type(token->type, at, value_len))) {
            return false;
        }
        fit->ranks[fit->place_count++] = token->kind == REST ? 10000 : param_rank(token, is_inner);
        fit->params[fit->param_count++] = (struct slice){(uint32_t)(at - path), (uint32_t)value_len};
        at += len;
    }
    return *at == '\0';
}

/* Whether a goes before b, both fitting one path. A pattern that ends goes before one that goes on. */
static bool goes_before(const struct fit *a, const struct fit *b)
{
    for (size_t i = 0; i < a->place_count && i < b->place_count; i++) {
        if (a->ranks[i] != b->ranks[i]) {
            return a->ranks[i] < b->ranks[i];
        }
    }
    return a->place_count < b->place_count;
}

static void make_path(char *path)
{
    static const char *const values[] = {"a",  "b",   "ab",  "1",   "12",    "a1",  "x",   "-",        "A", "abb",
                                         "1b", "a.b", "1.b", "a-2", "f00.b", "x_2", "z.b", "\xc3\xa9", ""};
    unsigned segments = 1 + random_below(4);
    path[0] = '\0';
    for (unsigned i = 0; i < segments; i++) {
        strcat(path, "/");
        if (random_below(20) == 0) {
            strcat(path, uuid_text);
        } else if (random_below(20) == 0) {
            strcat(path, random_below(2) == 0 ? "123456789012345678" : "1234567890123456789");
        }
        if (random_below(3) == 0) {
            strcat(path, pick(words, LEN(words)));
        }
        strcat(path, pick(values, LEN(values)));
    }
}

/* Methods that have names of their own. */
enum { NAMES = 2 };

static void give_names(struct router *router)
{
    uint64_t set = 0;
    assert_int_equal(route_methods_add(router_method_names(router), "PROPFIND", 8, &set, NULL, 0), 0);
    assert_int_equal(route_methods_add(router_method_names(router), "PURGE", 5, &set, NULL, 0), 0);
    assert_int_equal(set, METHOD_BIT(METHOD_COUNT) | METHOD_BIT(METHOD_COUNT + 1));
}

/* A route for METHOD_OTHER takes those with names, too. */
static bool takes_all(uint64_t methods)
{
    return (methods & METHOD_BIT(METHOD_OTHER)) != 0;
}

static bool has_common(uint64_t a, uint64_t b)
{
    bool has_name = ((takes_all(a) ? b : takes_all(b) ? a : 0) & ~METHODS_ALL) != 0;
    return (a & b) != 0 || has_name;
}

/* What the oracle expects of one request; asserts that the router says the same. */
static void compare(const struct router *router, const struct pattern *patterns, size_t count, unsigned method,
                    const char *path)
{
    static struct fit best, fit;
    const struct pattern *winner = NULL;
    uint64_t allowed = 0;
    for (size_t i = 0; i < count; i++) {
        if (!fit_pattern(&patterns[i], path, &fit)) {
            continue;
        }
        bool is_for_all = patterns[i].text[1] == '*' && !patterns[i].handler.owns_paths;
        if (!is_for_all && patterns[i].methods != METHOD_BIT(METHOD_OPTIONS)) {
            allowed |= patterns[i].methods | METHOD_BIT(METHOD_OPTIONS);
        }
        uint64_t methods = patterns[i].methods;
        bool is_own = (methods & METHOD_BIT(method)) != 0 || (method >= METHOD_OTHER && takes_all(methods));
        if (!is_own && !(method == METHOD_HEAD && (methods & 1U << METHOD_GET) != 0)) {
            continue;
        }
        bool is_first = winner == NULL || goes_before(&fit, &best);
        bool is_equal = winner != NULL && !is_first && !goes_before(&best, &fit); /* HEAD and GET of one shape */
        if (is_first || (is_equal && is_own)) {
            winner = &patterns[i];
            best = fit;
        }
    }
    allowed |= (allowed & 1U << METHOD_GET) != 0 ? 1U << METHOD_HEAD : 0;

    struct route_match match;
    enum route_verdict verdict = router_match(router, method, path, strlen(path), &match);
    enum route_verdict expected = winner != NULL ? ROUTE_FOUND : allowed != 0 ? ROUTE_NOT_ALLOWED : ROUTE_NOT_FOUND;
    if (verdict != expected || (winner != NULL && match.route->handler != &winner->handler)) {
        print_error("%s: expected %s, got %s\n", path, winner == NULL ? "none" : winner->text,
                    match.route == NULL ? "none" : match.route->pattern);
    }
    assert_int_equal(verdict, expected);
    seen[verdict]++;
    if (winner == NULL) {
        assert_int_equal(match.allowed, allowed);
        return;
    }
    assert_ptr_equal(match.route->handler, &winner->handler);
    assert_int_equal(match.route->param_count, best.param_count);
    for (size_t i = 0; i < best.param_count; i++) {
        assert_int_equal(match.params[i].offset, best.params[i].offset);
        assert_int_equal(match.params[i].len, best.params[i].len);
    }
}

static unsigned full; /* patterns that were refused because there were too many at one place */

/* Register up to wanted random patterns; a duplicate must be refused exactly when there is one. Returns how many. */
static size_t fill(struct router *router, struct pattern *patterns, size_t wanted)
{
    size_t count = 0;
    for (size_t n = 0; n < wanted; n++) {
        struct pattern *pattern = &patterns[count];
        make_tokens(pattern);
        render(pattern);
        pattern->methods = 1 + random_below((1U << (METHOD_COUNT + NAMES)) - 1);
        pattern->methods &= 1 + random_below((1U << (METHOD_COUNT + NAMES)) - 1);
        pattern->methods |= pattern->methods == 0 ? 1 : 0;
        pattern->handler = (struct handler){.owns_paths = random_below(2) == 0};
        bool is_taken = false;
        for (size_t i = 0; i < count; i++) {
            is_taken |= has_common(patterns[i].methods, pattern->methods) && is_same_shape(&patterns[i], pattern);
        }
        char err[2 * TEXT_MAX] = "";
        int rv = router_add(router, pattern->methods, pattern->text, &pattern->handler, "", err, sizeof err);
        if (rv == -ENOSPC && !is_taken) { /* ROUTE_BRANCHES_MAX parameters at one place */
            full++;
            continue;
        }
        if (rv != (is_taken ? -EEXIST : 0)) {
            print_error("%s: %d %s\n", pattern->text, rv, err);
        }
        assert_int_equal(rv, is_taken ? -EEXIST : 0);
        count += is_taken ? 0 : 1;
    }
    return count;
}

static void run(uint64_t seed, size_t routes, size_t paths)
{
    static struct pattern patterns[ROUTES_MAX];
    random_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    struct router *router = NULL;
    assert_int_equal(router_create(&router), 0);
    give_names(router);
    size_t count = fill(router, patterns, routes);
    for (size_t n = 0; n < paths; n++) {
        char path[TEXT_MAX];
        make_path(path);
        for (unsigned method = 0; method < METHOD_COUNT + NAMES; method++) {
            compare(router, patterns, count, method, path);
        }
    }
    router_destroy(router);
    assert_int_equal(fake_mem_live(), 0);
}

static void assert_seen(enum route_verdict verdict)
{
    assert_true(seen[verdict] > 1000);
    seen[verdict] = 0;
}

static void small_tables_agree_with_a_naive_matcher(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        run(seed, 12, 25);
    }
    assert_int_equal(full, 0); /* twelve are never too many */
    assert_seen(ROUTE_FOUND);
    assert_seen(ROUTE_NOT_ALLOWED);
    assert_seen(ROUTE_NOT_FOUND);
}

static void large_tables_agree_with_a_naive_matcher(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        run(seed, ROUTES_MAX, 600);
    }
    assert_seen(ROUTE_FOUND); /* so many patterns leave few paths that none fits */
    assert_seen(ROUTE_NOT_ALLOWED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_tables_agree_with_a_naive_matcher),
        cmocka_unit_test(large_tables_agree_with_a_naive_matcher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
