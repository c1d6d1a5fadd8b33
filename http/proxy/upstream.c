/* Happy path: an upstream is up, and the next request goes to the one behind it in the list.
 *
 * Failure modes: one that fails max_fails times in a row is down for fail_timeout. A single upstream is never passed
 * over: to try it is better than to refuse a request unasked. */

#include "http/proxy/upstream.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "http/head_text.h"
#include "http/proxy/proxy_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { UPSTREAM_URL_MAX = 200 }; /* bytes of a URL that are quoted in errors */

/* The name of its kept connections: two upstreams have the same one if they are the same server, and TLS is told the
 * same. Returns 0 or -ENOMEM. */
static int name_kept_links(struct upstream *upstream)
{
    const struct fetch_url *url = &upstream->url;
    const struct tls_client_settings *settings = &upstream->settings;
    const char *parts[] = {url->unix_path,    url->host,           upstream->tls.server_name,
                           settings->ca_file, settings->cert_file, settings->key_file};
    size_t count = url->is_secured ? sizeof parts / sizeof parts[0] : 2, len = 16;
    for (size_t i = 0; i < count; i++) {
        len += 1 + (parts[i] == NULL ? 0 : strlen(parts[i]));
    }
    upstream->kept_name = mem_alloc(len);
    if (upstream->kept_name == NULL) {
        return -ENOMEM;
    }
    char *at = put_number(put_text(upstream->kept_name, "P"), url->port);
    *at++ = url->is_secured ? settings->is_unverified ? 'u' : 's' : 'p';
    for (size_t i = 0; i < count; i++) { /* none of the parts has a NUL */
        *at++ = '\0';
        at = parts[i] == NULL ? at : put_text(at, parts[i]);
    }
    upstream->kept_name_len = (size_t)(at - upstream->kept_name);
    return 0;
}

/* What the access log calls it. Returns 0 or -ENOMEM. */
static int name_address(struct upstream *upstream)
{
    const struct fetch_url *url = &upstream->url;
    const char *name = url->unix_path == NULL ? url->host : url->unix_path;
    size_t size = strlen(name) + sizeof "[]:65535 unix:";
    upstream->address = mem_alloc(size);
    if (upstream->address == NULL) {
        return -ENOMEM;
    }
    if (url->unix_path != NULL) {
        snprintf(upstream->address, size, "unix:%s", name);
    } else {
        bool is_v6 = strchr(name, ':') != NULL;
        snprintf(upstream->address, size, "%s%s%s:%u", is_v6 ? "[" : "", name, is_v6 ? "]" : "", url->port);
    }
    return 0;
}

/* Whether the files for TLS can be read. They are read for the first request, but a wrong name is to be known at once. */
static int check_tls_files(const struct proxy_options *options, char *err, size_t errlen)
{
    const struct {
        const char *option, *file;
    } files[] = {{"ca", options->ca_file}, {"the certificate", options->cert_file}, {"the key", options->key_file}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        int fd = files[i].file == NULL ? -ENOENT
                                       : sys_open(sys_base(options->base_fd), files[i].file,
                                                  O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd >= 0) {
            sys_close(fd);
        } else if (files[i].file != NULL) {
            return error_text(err, errlen, fd, "%s: cannot open %s: %s", files[i].option, files[i].file,
                              errno_text(-fd));
        }
    }
    return 0;
}

int upstream_init(struct upstream *upstream, const char *text, const struct proxy_options *options, char *err,
                  size_t errlen)
{
    struct fetch_url *url = &upstream->url;
    const char *why = NULL;
    int rv = fetch_url_parse(url, text, strlen(text), &why);
    if (rv < 0) {
        return rv == -ENOMEM
                   ? error_text(err, errlen, rv, "out of memory")
                   : error_text(err, errlen, rv, "the upstream \"%.*s\" %s", (int)UPSTREAM_URL_MAX, text, why);
    }
    if (strchr(url->target, '?') != NULL) {
        return error_text(err, errlen, -EINVAL, "the upstream \"%.*s\" has a query: that of each request goes there",
                          (int)UPSTREAM_URL_MAX, text);
    }
    upstream->base = url->target;
    upstream->base_len = strlen(url->target);
    while (upstream->base_len > 0 && url->target[upstream->base_len - 1] == '/') {
        upstream->base_len--;
    }
    upstream->settings = (struct tls_client_settings){.is_unverified = options->trusts_anybody,
                                                      .ca_file = options->ca_file,
                                                      .cert_file = options->cert_file,
                                                      .key_file = options->key_file,
                                                      .alpn = "http/1.1",
                                                      .base_fd = options->base_fd};
    upstream->tls = (struct link_tls){.settings = &upstream->settings,
                                      .server_name = options->server_name == NULL ? url->host : options->server_name};
    upstream->target = (struct link_target){.path = url->unix_path, .tls = url->is_secured ? &upstream->tls : NULL};
    if (url->unix_path == NULL) {
        upstream->target.host = url->host;
        upstream->target.port = url->port;
    }
    rv = url->is_secured ? check_tls_files(options, err, errlen) : 0;
    if (rv < 0) {
        return rv;
    }
    bool is_named = name_kept_links(upstream) == 0 && name_address(upstream) == 0;
    return !is_named ? error_text(err, errlen, -ENOMEM, "out of memory") : 0;
}

void upstream_done(struct upstream *upstream)
{
    fetch_url_done(&upstream->url);
    mem_free(upstream->kept_name);
    mem_free(upstream->address);
}

struct upstream *upstream_choose(struct proxy *proxy, uint32_t tried, int64_t now_ms)
{
    if (proxy->upstream_count == 1) {
        return tried == 0 ? proxy->upstreams : NULL;
    }
    struct upstream *best = NULL;
    for (size_t i = 0; i < proxy->upstream_count; i++) {
        size_t n = (proxy->next + i) % proxy->upstream_count;
        struct upstream *upstream = &proxy->upstreams[n];
        if ((tried >> n & 1) != 0) {
            continue;
        }
        if (upstream->down_until_ms <= now_ms) {
            best = upstream;
            break;
        }
        best = best == NULL || upstream->down_until_ms < best->down_until_ms ? upstream : best;
    }
    if (best != NULL) {
        proxy->next = (unsigned)((size_t)(best - proxy->upstreams) + 1) % (unsigned)proxy->upstream_count;
    }
    return best;
}

bool upstream_note_failure(struct proxy *proxy, struct upstream *upstream, int64_t now_ms)
{
    bool was_down = upstream->down_until_ms > now_ms;
    if (++upstream->fails < proxy->max_fails || proxy->upstream_count == 1) {
        return false;
    }
    upstream->down_until_ms = now_ms + proxy->fail_timeout_ms;
    return !was_down;
}

void upstream_note_success(struct upstream *upstream)
{
    upstream->fails = 0;
    upstream->down_until_ms = 0;
}

const char *upstream_name(const struct upstream *upstream)
{
    return upstream->url.text;
}
