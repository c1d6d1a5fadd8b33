/* Requests to other servers.
 *
 * Happy path: everything is checked, then copied into one block. Failure: a text that names the culprit. Fields about
 * framing and the connection are not taken from the caller, so that a request has one meaning whatever is handed
 * over. */

#include "http/client/fetch_order.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/visible.h"
#include "core/write_buffer.h"
#include "http/char_class.h"
#include "http/client/fetch_url.h"
#include "http/head_text.h"
#include "http/message.h"

#include <errno.h>
#include <stdalign.h>
#include <string.h>

enum { SHOWN_MAX = 80 }; /* bytes of a text that an error quotes */

/* Checks. */

static enum fetch_kind refuse_order(char *err, size_t errlen, const char *what, const char *text, size_t len,
                                    const char *why)
{
    char shown[SHOWN_MAX];
    size_t taken;
    visible_copy(shown, sizeof shown, text, len, VISIBLE_QUOTED, &taken);
    error_text(err, errlen, 0, "%s \"%s%s\" %s", what, shown, taken < len ? "..." : "", why);
    return FETCH_BAD_REQUEST;
}

static bool is_all(const char *text, size_t len, enum char_class wanted)
{
    for (size_t i = 0; i < len; i++) {
        if (!char_is(text[i], wanted)) {
            return false;
        }
    }
    return true;
}

static bool is_among(const char *name, size_t len, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (ascii_is(name, len, *names)) {
            return true;
        }
    }
    return false;
}

/* The client's own. */
static const char *const own_fields[] = {"Connection", "Content-Length", "Transfer-Encoding",
                                         "TE",         "Trailer",        "Upgrade",
                                         "Expect",     "Keep-Alive",     "Proxy-Connection",
                                         NULL};

static enum fetch_kind check_order_method(const struct fetch_request *request, char *err, size_t errlen)
{
    const char *method = request->method;
    size_t len = request->method_len;
    char upper[METHOD_NAME_MAX];

    if (method == NULL) {
        return FETCH_SUCCESS;
    }
    if (len == 0 || len > METHOD_NAME_MAX || !is_all(method, len, CLASS_TOKEN)) {
        return refuse_order(err, errlen, "the method", method, len, "is no method");
    }
    if (ascii_is(method, len, "CONNECT")) {
        return refuse_order(err, errlen, "the method", method, len, "is for proxies");
    }
    bool has_lower = false;
    for (size_t i = 0; i < len; i++) {
        bool is_lower = method[i] >= 'a' && method[i] <= 'z';
        upper[i] = (char)(is_lower ? method[i] & ~0x20 : method[i]);
        has_lower |= is_lower;
    }
    if (has_lower && method_find(upper, len) != METHOD_OTHER) {
        return refuse_order(err, errlen, "the method", method, len, "is written in capitals");
    }
    return FETCH_SUCCESS;
}

/* Why a field cannot be sent; NULL if it can. has_host: there was a Host already. */
static const char *order_field_fault(const struct fetch_field *field, bool has_host)
{
    static const char in_authority[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%:[]";

    if (field->name_len == 0 || !is_all(field->name, field->name_len, CLASS_TOKEN)) {
        return "has no valid name";
    }
    if (!is_all(field->value, field->value_len, CLASS_VALUE)) {
        return "has a control character in its value";
    }
    if (is_among(field->name, field->name_len, own_fields)) {
        return "is written by the client itself";
    }
    if (!ascii_is(field->name, field->name_len, "Host")) {
        return NULL;
    }
    for (size_t i = 0; i < field->value_len; i++) {
        if (field->value[i] == '\0' || strchr(in_authority, field->value[i]) == NULL) {
            return "is neither a name nor an address, with or without a port";
        }
    }
    return has_host ? "is there twice" : NULL;
}

static enum fetch_kind check_order_fields(const struct fetch_request *request, char *err, size_t errlen)
{
    size_t total = 0;
    bool has_host = false;

    if (request->field_count > FETCH_REQUEST_FIELDS_MAX) {
        error_text(err, errlen, 0, "more than %d header fields", FETCH_REQUEST_FIELDS_MAX);
        return FETCH_BAD_REQUEST;
    }
    for (size_t i = 0; i < request->field_count; i++) {
        const struct fetch_field *field = &request->fields[i];
        const char *fault = order_field_fault(field, has_host);
        if (fault != NULL) {
            return refuse_order(err, errlen, "the header field", field->name, field->name_len, fault);
        }
        has_host |= ascii_is(field->name, field->name_len, "Host");
        total += field->name_len < FETCH_REQUEST_HEAD_MAX ? field->name_len + 4 : FETCH_REQUEST_HEAD_MAX;
        total += field->value_len < FETCH_REQUEST_HEAD_MAX ? field->value_len : FETCH_REQUEST_HEAD_MAX;
        if (total > FETCH_REQUEST_HEAD_MAX) {
            error_text(err, errlen, 0, "the header fields have more than %d bytes", FETCH_REQUEST_HEAD_MAX);
            return FETCH_BAD_REQUEST;
        }
    }
    return FETCH_SUCCESS;
}

static enum fetch_kind check_order_options(const struct fetch_request *request, char *err, size_t errlen)
{
    const char *why = NULL;

    if (request->streams_body && request->body != NULL) {
        why = "a request has a body or streams one, not both";
    } else if (request->streams_body && request->body_length < -1) {
        why = "the length of a streamed body is negative";
    } else if (request->redirects < -1 || request->redirects > FETCH_REDIRECTS_MAX) {
        why = "redirects are at most 50";
    } else if (request->timeout_ms > FETCH_TIMEOUT_MAX_MS || request->connect_timeout_ms > FETCH_TIMEOUT_MAX_MS) {
        why = "a timeout is at most a day";
    } else if (request->max_head > FETCH_RESPONSE_HEAD_MAX) {
        why = "max_head is at most 65536";
    } else if ((request->cert_file == NULL) != (request->key_file == NULL)) {
        why = "a certificate of the client's needs its key, and the other way round";
    } else if (request->unix_path != NULL && memchr(request->unix_path, '\0', request->unix_path_len) != NULL) {
        why = "the path of the unix socket has a NUL";
    }
    if (why != NULL) {
        error_text(err, errlen, 0, "%s", why);
        return FETCH_BAD_REQUEST;
    }
    return FETCH_SUCCESS;
}

/* The copy. */

/* Copy a text with a NUL to *at, which moves on. */
static const char *retain_text(char **at, const char *text, size_t len)
{
    char *copy = *at;
    if (text == NULL) {
        return NULL;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    *at += len + 1;
    return copy;
}

static size_t len_of(const char *text)
{
    return text == NULL ? 0 : strlen(text);
}

static size_t order_size(const struct fetch_request *request)
{
    size_t size = request->field_count * sizeof(struct fetch_field) + request->body_len + request->method_len +
                  request->unix_path_len + sizeof "GET";

    for (size_t i = 0; i < request->field_count; i++) {
        size += request->fields[i].name_len + request->fields[i].value_len + 2;
    }
    size += len_of(request->ca_file) + len_of(request->cert_file) + len_of(request->key_file);
    return size + len_of(request->server_name) + 8; /* a NUL for each text */
}

static bool has_field(const struct fetch_order *order, const char *name)
{
    for (size_t i = 0; i < order->field_count; i++) {
        if (ascii_is(order->fields[i].name, order->fields[i].name_len, name)) {
            return true;
        }
    }
    return false;
}

enum fetch_kind fetch_order_init(struct fetch_order *order, const struct fetch_request *request, bool can_gunzip,
                                 char *err, size_t errlen)
{
    *order = (struct fetch_order){0};
    enum fetch_kind kind = check_order_method(request, err, errlen);
    kind = kind == FETCH_SUCCESS ? check_order_fields(request, err, errlen) : kind;
    kind = kind == FETCH_SUCCESS ? check_order_options(request, err, errlen) : kind;
    if (kind != FETCH_SUCCESS) {
        return kind;
    }
    if (request->body_len > SIZE_MAX / 2 || (order->block = mem_alloc(order_size(request))) == NULL) {
        error_text(err, errlen, 0, "out of memory");
        return FETCH_NO_MEMORY;
    }
    order->fields = (void *)order->block;
    order->field_count = request->field_count;
    char *at = order->block + request->field_count * sizeof *order->fields;
    for (size_t i = 0; i < request->field_count; i++) {
        const struct fetch_field *field = &request->fields[i];
        order->fields[i] = (struct fetch_field){.name_len = field->name_len, .value_len = field->value_len};
        order->fields[i].name = retain_text(&at, field->name, field->name_len);
        order->fields[i].value = retain_text(&at, field->value, field->value_len);
    }
    order->method = request->method != NULL ? retain_text(&at, request->method, request->method_len)
                                            : retain_text(&at, "GET", strlen("GET"));
    order->unix_path = retain_text(&at, request->unix_path, request->unix_path_len);
    order->ca_file = retain_text(&at, request->ca_file, len_of(request->ca_file));
    order->cert_file = retain_text(&at, request->cert_file, len_of(request->cert_file));
    order->key_file = retain_text(&at, request->key_file, len_of(request->key_file));
    order->server_name = retain_text(&at, request->server_name, len_of(request->server_name));
    if (request->body != NULL) {
        order->body = request->body_len > 0 ? memcpy(at, request->body, request->body_len) : at;
        order->body_len = request->body_len;
    }
    order->base_fd = request->base_fd;
    order->trusts_anybody = request->trusts_anybody;
    order->streams_body = request->streams_body;
    order->body_length = request->body_length;
    order->closes = request->closes;
    order->asks_for_gzip = can_gunzip && !request->keeps_coding && !has_field(order, "Accept-Encoding") &&
                           !has_field(order, "Range"); /* a range of the coded form would make no sense by itself */
    return FETCH_SUCCESS;
}

void fetch_order_done(struct fetch_order *order)
{
    mem_free(order->block);
    *order = (struct fetch_order){0};
}

/* The head. */

static bool sends_length(const struct fetch_order *order)
{
    static const char *const with_body[] = {"POST", "PUT", "PATCH", NULL};
    return order->body != NULL || is_among(order->method, strlen(order->method), with_body);
}

/* Each line is counted first, and then written, by the same list. */
struct head_line {
    const char *name; /* with the colon */
    size_t name_len;
    const char *value;
    size_t value_len;
};

enum { HEAD_LINES_MAX = 8 };

static inline struct head_line line_of(const char *name, const char *value, size_t value_len)
{
    return (struct head_line){name, strlen(name), value, value_len};
}

static size_t own_lines(const struct fetch_order *order, const struct fetch_url *url, char digits[24],
                        struct head_line lines[HEAD_LINES_MAX])
{
    size_t count = 0;
    const char *framing = NULL;

    if (!has_field(order, "Host")) {
        lines[count++] = line_of("Host: ", url->authority, url->authority_len);
    }
    if (!has_field(order, "User-Agent")) {
        lines[count++] = line_of("User-Agent: ", "evserve", strlen("evserve"));
    }
    if (!has_field(order, "Accept")) {
        lines[count++] = line_of("Accept: ", "*/*", strlen("*/*"));
    }
    if (order->asks_for_gzip) {
        lines[count++] = line_of("Accept-Encoding: ", "gzip", strlen("gzip"));
    }
    if (order->closes) {
        lines[count++] = line_of("Connection: ", "close", strlen("close"));
    }
    if (order->streams_body && order->body_length < 0) {
        lines[count++] = line_of("Transfer-Encoding: ", "chunked", strlen("chunked"));
    } else if (order->streams_body || sends_length(order)) {
        uint64_t length = order->streams_body ? (uint64_t)order->body_length : order->body_len;
        framing = digits;
        *put_number(digits, length) = '\0';
        lines[count++] = line_of("Content-Length: ", framing, strlen(framing));
    }
    return count;
}

int fetch_order_write(const struct fetch_order *order, const struct fetch_url *url, struct write_buffer *out)
{
    static const char version[] = " HTTP/1.1\r\n";
    struct head_line lines[HEAD_LINES_MAX];
    char digits[24];
    size_t count = own_lines(order, url, digits, lines);
    size_t target_len = strlen(url->target);
    size_t body_len = fetch_order_is_split(order) ? 0 : order->body_len;
    size_t size = strlen(order->method) + 1 + target_len + strlen(version) + strlen("\r\n") + body_len;

    for (size_t i = 0; i < count; i++) {
        size += lines[i].name_len + lines[i].value_len + strlen("\r\n");
    }
    for (size_t i = 0; i < order->field_count; i++) {
        size += order->fields[i].name_len + strlen(": ") + order->fields[i].value_len + strlen("\r\n");
    }
    char *start = write_buffer_reserve(out, size, UINT32_MAX, NULL);
    if (start == NULL) {
        return -ENOMEM;
    }
    char *at = put_text(put(put_text(put_text(start, order->method), " "), url->target, target_len), version);
    for (size_t i = 0; i < count; i++) {
        at = put_text(put(put(at, lines[i].name, lines[i].name_len), lines[i].value, lines[i].value_len), "\r\n");
    }
    for (size_t i = 0; i < order->field_count; i++) {
        const struct fetch_field *field = &order->fields[i];
        at = put_text(put(at, field->name, field->name_len), ": ");
        at = put_text(put(at, field->value, field->value_len), "\r\n");
    }
    at = put_text(at, "\r\n");
    if (body_len > 0) {
        put(at, order->body, body_len);
    }
    write_buffer_commit(out, size);
    return 0;
}

/* Again, and elsewhere. */

bool fetch_order_is_repeatable(const struct fetch_order *order)
{
    static const char *const idempotent[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", NULL};
    return !order->streams_body && is_among(order->method, strlen(order->method), idempotent);
}

bool fetch_status_redirects(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Whether a field describes the body, which is not sent again. */
static bool is_about_body(const struct fetch_field *field)
{
    return (field->name_len > strlen("Content-") && ascii_equals(field->name, "Content-", strlen("Content-"))) ||
           ascii_is(field->name, field->name_len, "Digest");
}

static bool is_about_client(const struct fetch_field *field)
{
    static const char *const names[] = {"Authorization", "Proxy-Authorization", "Cookie", "Host", NULL};
    return is_among(field->name, field->name_len, names);
}

bool fetch_order_redirect(struct fetch_order *order, int status, bool leaves_origin)
{
    bool is_post = strcmp(order->method, "POST") == 0;
    bool becomes_get = status == 303 ? strcmp(order->method, "HEAD") != 0 : status < 303 && is_post;
    size_t kept = 0;

    if (order->streams_body && !becomes_get) {
        return false;
    }
    if (becomes_get) {
        order->method = "GET";
        order->body = NULL;
        order->body_len = 0;
        order->streams_body = false;
    }
    for (size_t i = 0; i < order->field_count; i++) {
        bool goes = (becomes_get && is_about_body(&order->fields[i])) ||
                    (leaves_origin && is_about_client(&order->fields[i]));
        if (!goes) {
            order->fields[kept++] = order->fields[i];
        }
    }
    order->field_count = kept;
    if (leaves_origin) {
        order->cert_file = order->key_file = order->server_name = NULL;
        order->trusts_anybody = false;
    }
    return true;
}
