/* Happy path: the lines of fields are made when the rule is added; a response gets them with the origin of its request.
 * Failure modes: an origin that is not allowed gets no fields but Vary, and its preflight 403; a list that means nothing
 * is an error text. */

#include "http/rules/rule_cors.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/network.h"
#include "core/write_buffer.h"
#include "http/char_class.h"
#include "http/exchange.h"
#include "http/exchange_log.h"
#include "http/response.h"
#include "http/response_fields.h"
#include "http/rules/cors_origins.h"
#include "http/rules/rule_head.h"
#include "http/rules/rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct cors {
    struct cors_origins *origins;  /* NULL: none */
    struct write_buffer fields;    /* lines of all responses to these origins, with CRLF */
    struct write_buffer preflight; /* of responses to preflights, beside those */
};

static const char allow_origin[] = "Access-Control-Allow-Origin";
static const char vary_origin_line[] = "Vary: Origin\r\n";

static void destroy_cors(void *data)
{
    struct cors *cors = data;
    mem_free(cors->origins);
    write_buffer_done(&cors->fields);
    write_buffer_done(&cors->preflight);
    mem_free(cors);
}

/* Responses. */

static bool has_cors_word(const char *list, size_t len, const char *word)
{
    for (const char *end = list + len, *next; list < end; list = next + 1) {
        next = memchr(list, ',', (size_t)(end - list));
        next = next == NULL ? end : next;
        const char *from = list, *to = next;
        while (from < to && (*from == ' ' || *from == '\t')) {
            from++;
        }
        while (from < to && (to[-1] == ' ' || to[-1] == '\t')) {
            to--;
        }
        if (ascii_is(from, (size_t)(to - from), word)) {
            return true;
        }
    }
    return false;
}

/* Say that the response depends on the origin, unless its handler has. Returns 0 or -ENOMEM. */
static int put_vary_origin(struct exchange *exchange)
{
    size_t len = 0;
    const char *vary = response_added_field(exchange, "Vary", 4, &len);
    bool is_said = vary != NULL && (has_cors_word(vary, len, "Origin") || has_cors_word(vary, len, "*"));
    return is_said ? 0 : rule_head_add(exchange, vary_origin_line, sizeof vary_origin_line - 1);
}

static int put_allow_origin(struct exchange *exchange, const char *origin, size_t len)
{
    int rv = rule_head_add(exchange, allow_origin, sizeof allow_origin - 1);
    rv = rv < 0 ? rv : rule_head_add(exchange, ": ", 2);
    rv = rv < 0 ? rv : rule_head_add(exchange, origin, len);
    return rv < 0 ? rv : rule_head_add(exchange, "\r\n", 2);
}

static int put_cors(struct exchange *exchange, const struct rule *first, struct rule_head *head)
{
    const struct cors *cors = first->data;
    size_t len = 0;
    int rv = 0;
    if (cors->origins == NULL || rule_head_has(exchange, head, allow_origin, sizeof allow_origin - 1)) {
        return 0;
    }
    const char *origin = exchange_field(exchange, "Origin", &len);
    if (cors_origins_is_any(cors->origins)) { /* the same for all, so caches need not know more */
        origin = "*";
        len = 1;
    } else {
        rv = put_vary_origin(exchange);
        origin = origin != NULL && cors_origins_allow(cors->origins, origin, len) ? origin : NULL;
    }
    if (rv < 0 || origin == NULL) {
        return rv;
    }
    rv = put_allow_origin(exchange, origin, len);
    size_t fields_len = write_buffer_len(&cors->fields);
    return rv < 0 || fields_len == 0 ? rv : rule_head_add(exchange, write_buffer_data(&cors->fields), fields_len);
}

static enum rules_verdict decide_preflight(struct exchange *exchange, const struct rule *first)
{
    const struct cors *cors = first->data;
    size_t len = 0, ignored;
    if (exchange->head.method != METHOD_OPTIONS || cors->origins == NULL) {
        return RULES_PASS;
    }
    const char *origin = exchange_field(exchange, "Origin", &len);
    if (origin == NULL || exchange_field(exchange, "Access-Control-Request-Method", &ignored) == NULL) {
        return RULES_PASS;
    }
    if (!cors_origins_allow(cors->origins, origin, len)) {
        exchange_log(exchange, LOG_DEBUG, first,
                     "403 for a preflight of %s: the rule for \"%s\" does not allow the origin %.*s", exchange->path,
                     first->prefix_len == 0 ? "/" : first->prefix, (int)(len < 200 ? len : 200), origin);
        response_error(exchange, 403, NULL);
        return RULES_ANSWERED;
    }
    if (rule_head_add(exchange, write_buffer_data(&cors->preflight), write_buffer_len(&cors->preflight)) < 0) {
        response_error(exchange, 503, NULL);
        return RULES_ANSWERED;
    }
    response_send(exchange, 204, NULL, NULL, 0);
    return RULES_ANSWERED;
}

static const struct rules_kind cors_kind = {
    .order = RULE_CORS,
    .decide = decide_preflight,
    .on_head = put_cors,
    .destroy = destroy_cors,
    .name = "app.cors",
    .host_name = "evs_rule.cors",
};

/* Adding. */

/* Check a list of tokens, and add a line of it. Returns 0 or -errno. */
static int add_cors_list(struct write_buffer *lines, const char *field, const char *member, const char *list,
                         bool credentials, char *err, size_t errlen)
{
    const char *rest = list, *between = ": ";
    size_t field_len = strlen(field);
    bool has_star = false;
    if (strlen(list) > CORS_LIST_MAX) {
        return error_text(err, errlen, -ENOSPC, "%s: %zu bytes: at most %d", member, strlen(list), CORS_LIST_MAX);
    }
    int rv = write_buffer_append(lines, field, field_len, SIZE_MAX);
    do {
        size_t len;
        const char *part = network_next_part(&rest, &len);
        for (size_t i = 0; i < len; i++) {
            len = char_is(part[i], CLASS_TOKEN) ? len : 0;
        }
        if (len == 0) {
            return error_text(err, errlen, -EINVAL, "%s: \"%.200s\" is no list of %s, separated by commas", member,
                              list, strcmp(member, "methods") == 0 ? "methods" : "names of fields");
        }
        has_star = has_star || ascii_is(part, len, "*");
        rv = rv < 0 ? rv : write_buffer_append(lines, between, 2, SIZE_MAX);
        rv = rv < 0 ? rv : write_buffer_append(lines, part, len, SIZE_MAX);
        between = ", ";
    } while (rest[0] != '\0' || rest[-1] == ',');
    if (strcmp(member, "methods") == 0 && strpbrk(list, "abcdefghijklmnopqrstuvwxyz") != NULL) {
        return error_text(err, errlen, -EINVAL, "methods: \"%.200s\": methods are written in capitals", list);
    }
    if (has_star && credentials) {
        return error_text(err, errlen, -EINVAL, "%s: with credentials, browsers take \"*\" for a name: name each",
                          member);
    }
    rv = rv < 0 ? rv : write_buffer_append(lines, "\r\n", 2, SIZE_MAX);
    return rv < 0 ? error_text(err, errlen, rv, "%s", errno_text(-rv)) : 0;
}

static int check_cors_origins(const struct cors_origins *origins, bool credentials, char *err, size_t errlen)
{
    if (credentials && cors_origins_is_any(origins)) {
        return error_text(
            err, errlen, -EINVAL,
            "origins: \"*\" lets every site act as the user, so browsers refuse it with credentials: list "
            "the origins, or leave out credentials");
    }
    if (credentials && cors_origins_has_null(origins)) {
        return error_text(
            err, errlen, -EINVAL,
            "origins: every site can have the origin \"null\", and would act as the user: leave it out, or "
            "credentials");
    }
    return 0;
}

/* Make the lines. Returns 0 or -errno. */
static int make_cors_lines(struct cors *made, const struct rule_cors *cors, char *err, size_t errlen)
{
    static const char credentials[] = "Access-Control-Allow-Credentials: true\r\n";
    const char *methods = cors->methods == NULL ? "GET, HEAD, POST, PUT, PATCH, DELETE" : cors->methods;
    const char *headers = cors->headers == NULL ? "Content-Type" : cors->headers;
    char age[64];
    int rv = cors->credentials ? write_buffer_append(&made->fields, credentials, sizeof credentials - 1, SIZE_MAX) : 0;
    int age_len = snprintf(age, sizeof age, "Access-Control-Max-Age: %d\r\n", cors->max_age);
    rv = rv < 0 || cors->max_age == CORS_AGE_NONE
             ? rv
             : write_buffer_append(&made->preflight, age, (size_t)age_len, SIZE_MAX);
    if (rv < 0) {
        return error_text(err, errlen, rv, "%s", errno_text(-rv));
    }
    if (cors->expose != NULL) {
        rv = add_cors_list(&made->fields, "Access-Control-Expose-Headers", "expose", cors->expose, cors->credentials,
                           err, errlen);
    }
    rv = rv < 0 ? rv
                : add_cors_list(&made->preflight, "Access-Control-Allow-Methods", "methods", methods, cors->credentials,
                                err, errlen);
    return rv < 0 ? rv
                  : add_cors_list(&made->preflight, "Access-Control-Allow-Headers", "headers", headers,
                                  cors->credentials, err, errlen);
}

static int make_cors(struct cors *made, const struct rule_cors *cors, char *err, size_t errlen)
{
    char why[512];
    int rv = 0;
    if (cors->max_age < CORS_AGE_NONE || cors->max_age > CORS_AGE_MAX) {
        return error_text(err, errlen, -EINVAL, "max_age: %d is out of range: 0 to %d seconds", cors->max_age,
                          CORS_AGE_MAX);
    }
    if (cors->origins[0] == '\0') {
        return 0;
    }
    made->origins = cors_origins_create(cors->origins, &rv, why, sizeof why);
    if (made->origins == NULL) {
        return error_text(err, errlen, rv, "origins: %s", why);
    }
    rv = check_cors_origins(made->origins, cors->credentials, err, errlen);
    return rv < 0 ? rv : make_cors_lines(made, cors, err, errlen);
}

int rule_cors_add(struct rules **rules, const char *prefix, const struct rule_cors *cors, char *err, size_t errlen)
{
    struct cors *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    int rv = make_cors(made, cors, err, errlen);
    if (rv < 0 || rules_add(rules, &cors_kind, prefix, made, &rv, err, errlen) == NULL) {
        destroy_cors(made);
    }
    return rv;
}
