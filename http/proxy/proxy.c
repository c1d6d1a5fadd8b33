/* Happy path: the options are checked and copied into one block; the rest is passage.c.
 * Failure modes: every mistake in the options has a text that names it. */

#include "http/proxy/proxy.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/outbound.h"
#include "http/proxy/passage.h"
#include "http/proxy/passage_end.h"
#include "http/proxy/proxy_state.h"
#include "http/proxy/upstream.h"
#include "http/response_fields.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static void serve_proxied(struct exchange *exchange, void *ctx)
{
    passage_begin(ctx, exchange);
}

/* Copies of texts, in a block that is large enough. */
static const char *copy_proxy_text(char **at, const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

static size_t size_of_proxy_text(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

static size_t size_of_proxy_texts(const struct proxy_options *options)
{
    const char *texts[] = {options->prefix,    options->host,     options->ca_file,
                           options->cert_file, options->key_file, options->server_name};
    size_t size = 1;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size += size_of_proxy_text(texts[i]);
    }
    for (size_t i = 0; i < options->field_count; i++) {
        size += size_of_proxy_text(options->fields[i].name) + size_of_proxy_text(options->fields[i].value);
    }
    return size;
}

/* Checks. */

static int check_proxy_prefix(const char *prefix, char *err, size_t errlen)
{
    size_t len = prefix == NULL ? 0 : strlen(prefix);
    if (len == 0 || prefix[0] != '/' || (len > 1 && prefix[len - 1] == '/') || strpbrk(prefix, ":*{}%?#") != NULL) {
        return error_text(err, errlen, -EINVAL,
                          "a prefix such as \"/api\" or \"/\" expected, without \":\", \"*\", braces and escapes, "
                          "got \"%s\"",
                          prefix == NULL ? "" : prefix);
    }
    return 0;
}

/* Fields that are about the connection, or have an option of their own. */
static int check_proxy_fields(const struct proxy_options *options, char *err, size_t errlen)
{
    static const char *const others[] = {"Expect", "TE", "Proxy-Connection", "HTTP2-Settings"};
    size_t bytes = 0;
    if (options->field_count > PROXY_FIELDS_MAX) {
        return error_text(err, errlen, -EINVAL, "headers: at most %d fields", (int)PROXY_FIELDS_MAX);
    }
    for (size_t i = 0; i < options->field_count; i++) {
        const struct proxy_field *field = &options->fields[i];
        const char *value = field->value == NULL ? "" : field->value;
        int rv = response_check_field(field->name, strlen(field->name), value, strlen(value));
        for (size_t n = 0; n < sizeof others / sizeof others[0]; n++) {
            rv = ascii_compare(field->name, others[n]) == 0 ? -EPERM : rv;
        }
        if (ascii_compare(field->name, "Host") == 0) {
            return error_text(err, errlen, -EINVAL, "headers: Host is set with the option host");
        }
        if (rv == -EPERM && ascii_compare(field->name, "Date") != 0) {
            return error_text(err, errlen, -EINVAL, "headers: %s is about the connection, and the server's own",
                              field->name);
        }
        if (rv < 0 && rv != -EPERM) {
            return error_text(err, errlen, -EINVAL, "headers: \"%s\" is no field with a valid value", field->name);
        }
        bytes += strlen(field->name) + strlen(value);
    }
    return bytes <= PROXY_FIELDS_BYTES_MAX
               ? 0
               : error_text(err, errlen, -EINVAL, "headers: more than %d bytes", (int)PROXY_FIELDS_BYTES_MAX);
}

static int check_proxy_host(const char *host, char *err, size_t errlen)
{
    size_t len = host == NULL ? 0 : strlen(host);
    bool is_valid = host == NULL || (len > 0 && len < 512);
    for (size_t i = 0; i < len; i++) {
        is_valid = is_valid && host[i] > ' ' && host[i] < 0x7f && strchr("/?#@\\,\"<>", host[i]) == NULL;
    }
    return is_valid ? 0 : error_text(err, errlen, -EINVAL, "host: a name such as \"app.internal\" expected");
}

static int check_proxy_numbers(const struct proxy_options *options, char *err, size_t errlen)
{
    if (options->connect_timeout_ms > PROXY_TIMEOUT_MAX_MS || options->timeout_ms > PROXY_TIMEOUT_MAX_MS ||
        options->fail_timeout_ms > PROXY_TIMEOUT_MAX_MS || options->tunnel_timeout_ms > PROXY_TIMEOUT_MAX_MS) {
        return error_text(err, errlen, -EINVAL,
                          "connect_timeout, timeout, fail_timeout and tunnel_timeout: at most a day");
    }
    if (options->upstream_count == 0 || options->upstream_count > PROXY_UPSTREAMS_MAX) {
        return error_text(err, errlen, -EINVAL, "1 to %d upstreams expected, got %zu", (int)PROXY_UPSTREAMS_MAX,
                          options->upstream_count);
    }
    return 0;
}

/* Making one. */

static uint32_t proxy_number(uint32_t given, uint32_t usual)
{
    return given == 0 ? usual : given;
}

static void take_proxy_numbers(struct proxy *proxy, const struct proxy_options *options)
{
    proxy->connect_timeout_ms = proxy_number(options->connect_timeout_ms, PROXY_CONNECT_TIMEOUT_MS);
    proxy->timeout_ms = proxy_number(options->timeout_ms, PROXY_TIMEOUT_MS);
    proxy->fail_timeout_ms = proxy_number(options->fail_timeout_ms, PROXY_FAIL_TIMEOUT_MS);
    proxy->tunnel_timeout_ms = proxy_number(options->tunnel_timeout_ms, PROXY_TUNNEL_TIMEOUT_MS);
    proxy->max_fails = proxy_number(options->max_fails, 1);
    proxy->tries = proxy_number(options->tries, (uint32_t)options->upstream_count);
    proxy->keepalive = options->never_keeps ? 0 : proxy_number(options->keepalive, PROXY_KEEPALIVE);
}

/* Copy the texts; *own has the copies for upstreams. Returns 0 or -ENOMEM. */
static int take_proxy_texts(struct proxy *proxy, const struct proxy_options *options, struct proxy_options *own)
{
    proxy->texts = mem_alloc(size_of_proxy_texts(options));
    proxy->fields = mem_alloc((options->field_count + 1) * sizeof *proxy->fields);
    if (proxy->texts == NULL || proxy->fields == NULL) {
        return -ENOMEM;
    }
    char *at = proxy->texts;
    *own = *options;
    proxy->prefix = copy_proxy_text(&at, options->prefix);
    proxy->prefix_len = options->strips_prefix && options->prefix[1] != '\0' ? strlen(options->prefix) : 0;
    proxy->host = copy_proxy_text(&at, options->host);
    if (proxy->host != NULL && strcmp(proxy->host, "upstream") == 0) {
        proxy->sends_upstream_host = true;
        proxy->host = NULL;
    }
    own->ca_file = copy_proxy_text(&at, options->ca_file);
    own->cert_file = copy_proxy_text(&at, options->cert_file);
    own->key_file = copy_proxy_text(&at, options->key_file);
    own->server_name = copy_proxy_text(&at, options->server_name);
    for (size_t i = 0; i < options->field_count; i++) {
        struct proxy_field *field = &proxy->fields[proxy->field_count++];
        field->name = copy_proxy_text(&at, options->fields[i].name);
        field->value = copy_proxy_text(&at, options->fields[i].value);
        proxy->set_bytes += strlen(field->name) + (field->value == NULL ? 0 : strlen(field->value)) + 4;
    }
    return 0;
}

/* What tables of routes say: its upstreams. Returns 0 or -ENOMEM. */
static int make_proxy_row(struct proxy *proxy)
{
    size_t size = 0;
    for (size_t i = 0; i < proxy->upstream_count; i++) {
        size += strlen(upstream_name(&proxy->upstreams[i])) + sizeof ", " - 1;
    }
    char *at = proxy->upstream_names = mem_alloc(size);
    if (at == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < proxy->upstream_count; i++) {
        at = stpcpy(stpcpy(at, i == 0 ? "" : ", "), upstream_name(&proxy->upstreams[i]));
    }
    proxy->row = (struct handler_row){"proxy", proxy->prefix, proxy->upstream_names};
    proxy->handler.row = &proxy->row;
    return 0;
}

int proxy_create(struct proxy **proxy, const struct proxy_options *options, struct outbound *outbound, char *err,
                 size_t errlen)
{
    if (check_proxy_prefix(options->prefix, err, errlen) < 0 || check_proxy_numbers(options, err, errlen) < 0 ||
        check_proxy_fields(options, err, errlen) < 0 || check_proxy_host(options->host, err, errlen) < 0) {
        return -EINVAL;
    }
    struct proxy *made = mem_zalloc(sizeof *made + options->upstream_count * sizeof made->upstreams[0]);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    struct proxy_options own;
    made->outbound = outbound;
    made->handler =
        (struct handler){.serve = serve_proxied, .ctx = made, .body_mode = BODY_STREAM, .keeps_coding = true};
    limits_init(&made->trailer_limits);
    take_proxy_numbers(made, options);
    int rv = take_proxy_texts(made, options, &own);
    if (rv < 0) {
        error_text(err, errlen, rv, "out of memory");
    }
    while (rv == 0 && made->upstream_count < options->upstream_count) {
        size_t n = made->upstream_count++;
        rv = upstream_init(&made->upstreams[n], options->upstreams[n], &own, err, errlen);
    }
    if (rv == 0 && (rv = make_proxy_row(made)) < 0) {
        error_text(err, errlen, rv, "out of memory");
    }
    if (rv < 0) {
        proxy_destroy(made);
        return rv;
    }
    *proxy = made;
    return 0;
}

void proxy_destroy(struct proxy *proxy)
{
    if (proxy == NULL) {
        return;
    }
    assert(proxy->busy_count == 0);
    passages_done(proxy);
    for (size_t i = 0; i < proxy->upstream_count; i++) {
        upstream_done(&proxy->upstreams[i]);
    }
    mem_free(proxy->fields);
    mem_free(proxy->texts);
    mem_free(proxy->upstream_names);
    mem_free(proxy->block);
    mem_free(proxy->scratch);
    mem_free(proxy);
}

struct handler *proxy_handler(struct proxy *proxy)
{
    return &proxy->handler;
}

int proxy_each_file(const struct handler *handler, int (*fn)(void *arg, const char *file), void *arg)
{
    if (handler->serve != serve_proxied) {
        return 0;
    }
    const struct proxy *proxy = handler->ctx;
    const struct tls_client_settings *settings = &proxy->upstreams[0].settings; /* those of the others are the same */
    const char *const files[] = {settings->ca_file, settings->cert_file, settings->key_file};
    int rv = 0;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && rv == 0; i++) {
        rv = files[i] == NULL ? 0 : fn(arg, files[i]);
    }
    return rv;
}
