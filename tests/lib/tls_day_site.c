#include "tests/lib/tls_day_site.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/x509v3.h>

struct tls_day_site tls_day_site;

static void keep_line(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    size_t used = strlen(tls_day_site.logged);
    snprintf(tls_day_site.logged + used, sizeof tls_day_site.logged - used, "%s\n", line);
}

/* Routes. */

static void serve_hello(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "text/plain", "hello\n", 6);
}

/* What is known of the connection; 503 when that is not known. */
static void serve_who(evs_request *request, void *arg)
{
    (void)arg;
    struct evs_tls_info info = {.size = sizeof info};
    char text[1024];
    bool is_short = evs_tls(request, &info) != 1 ||
                    (strcmp(info.server_name, "b.example") == 0 && info.client_fingerprint[0] == '\0');
    if (is_short && strcmp(evs_scheme(request), "https") == 0) {
        evs_reply(request, 503, NULL, NULL, 0);
        return;
    }
    int len = snprintf(text, sizeof text, "%s %s %s [%s] %s [%s] %s\n", evs_scheme(request), info.version, info.cipher,
                       info.server_name, info.alpn, info.client_subject, info.client_fingerprint);
    tls_day_site.resumed += info.resumed;
    evs_reply(request, 200, "text/plain", text, (size_t)len);
}

static void serve_whole(evs_request *request, void *arg)
{
    (void)arg;
    size_t len;
    const char *body = evs_body(request, &len);
    evs_reply(request, 200, "text/plain", body, len);
}

/* The bytes of an upload are counted in arg. */
static void count_upload(evs_request *request, size_t *count)
{
    const void *data;
    size_t len;
    int rv;
    while ((rv = evs_read(request, &data, &len)) == EVS_PIECE) {
        *count += len;
    }
    if (rv != EVS_WAIT) {
        char text[32];
        snprintf(text, sizeof text, "%zu bytes", *count);
        tls_day_site.requests--;
        evs_reply(request, rv == EVS_END ? 200 : -rv, "text/plain", text, strlen(text));
    }
}

static void on_upload(evs_request *request, int event, void *arg)
{
    if (event == EVS_DATA) {
        count_upload(request, arg);
    } else if (event == EVS_GONE) {
        tls_day_site.requests--;
    }
}

static void serve_upload(evs_request *request, void *arg)
{
    tls_day_site.requests++;
    *(size_t *)arg = 0;
    evs_on(request, on_upload, arg);
    count_upload(request, arg);
}

/* The lines left of a stream are counted in arg. */
static void go_on(evs_request *request, int *left)
{
    static const char line[1000] = "c";
    int rv = 1;
    while (rv > 0 && *left > 0) {
        --*left;
        rv = evs_write(request, line, sizeof line);
    }
    if (rv >= 0 && *left == 0) {
        tls_day_site.requests--;
        evs_end(request);
    }
}

static void on_stream(evs_request *request, int event, void *arg)
{
    if (event == EVS_DRAIN) {
        go_on(request, arg);
    } else if (event == EVS_GONE) {
        tls_day_site.requests--;
    }
}

static void serve_stream(evs_request *request, void *arg)
{
    tls_day_site.requests++;
    *(int *)arg = 100;
    evs_on(request, on_stream, arg);
    evs_begin(request, 200, "text/plain", -1);
    go_on(request, arg);
}

static void on_later(evs_request *request, int event, void *arg)
{
    (void)arg;
    tls_day_site.requests -= event == EVS_TIMER || event == EVS_GONE;
    if (event == EVS_TIMER) {
        evs_reply(request, 200, "text/plain", "later\n", 6);
    }
}

/* arg is how much later. */
static void serve_later(evs_request *request, void *arg)
{
    tls_day_site.requests++;
    evs_on(request, on_later, NULL);
    if (evs_after(request, *(uint32_t *)arg) < 0) {
        tls_day_site.requests--;
        evs_reply(request, 503, NULL, NULL, 0);
    }
}

static size_t upload_count;
static int stream_left;
static uint32_t soon = 20, never = UINT32_MAX;

static const struct evs_route routes[] = {
    {.route = "GET /hello", .serve = serve_hello},
    {.route = "GET /who", .serve = serve_who},
    {.route = "PUT /whole", .serve = serve_whole},
    {.route = "PUT /upload", .serve = serve_upload, .arg = &upload_count, .flags = EVS_STREAM_BODY},
    {.route = "GET /stream", .serve = serve_stream, .arg = &stream_left},
    {.route = "GET /later", .serve = serve_later, .arg = &soon},
    {.route = "GET /never", .serve = serve_later, .arg = &never},
    {.route = NULL},
};

void tls_day_site_replace(const struct made *made)
{
    tree_replace_file(&tls_day_site.tree, "cert.pem", made->cert_pem);
    tree_replace_file(&tls_day_site.tree, "key.pem", made->key_pem);
}

static const char *path_of(const char *name, char path[96])
{
    snprintf(path, 96, "%s/%s", tls_day_site.tree.path, name);
    return path;
}

evserve *tls_day_site_start(char *err, size_t errlen)
{
    char www[96], cert[96], key[96], ca[96];
    const struct evs_certificate certificates[] = {
        {.cert_file = path_of("cert.pem", cert), .key_file = path_of("key.pem", key)},
        {.cert_pem = tls_day_site.rsa.cert_pem, .key_pem = tls_day_site.rsa.key_pem},
        {.cert_pem = tls_day_site.other.cert_pem,
         .key_pem = tls_day_site.other.key_pem,
         .client_ca_file = path_of("ca.pem", ca)},
        {.cert_file = NULL},
    };
    const struct evserve_config config = {.size = sizeof config,
                                          .listen = "127.0.0.1:0?tls",
                                          .root = path_of("www", www),
                                          .routes = routes,
                                          .log = keep_line,
                                          .log_level = EVSERVE_LOG_DEBUG,
                                          .idle_timeout_ms = 5000,
                                          .header_timeout_ms = 10000,
                                          .body_timeout_ms = 5000,
                                          .write_timeout_ms = 5000,
                                          .certificates = certificates};
    return evserve_start(&config, err, errlen);
}

void tls_day_site_make(void)
{
    struct tls_day_site *site = &tls_day_site;
    tree_make(&site->tree);
    made_create(&site->authority, KEY_RSA, "authority", NULL);
    made_create(&site->alice, KEY_EC, "alice", &site->authority);
    made_create(&site->first, KEY_EC, "a.example,z.example", &site->authority);
    made_create(&site->rsa, KEY_RSA, "a.example,z.example", &site->authority);
    made_create(&site->second, KEY_EC, "a.example,z.example", &site->authority);
    made_create(&site->third, KEY_EC, "z.example,a.example", &site->authority);
    made_create(&site->other, KEY_EC, "b.example", &site->authority);
    const struct made *all[] = {&site->first, &site->rsa, &site->second, &site->third, &site->other};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        X509_check_purpose(all[i]->cert, -1, 0); /* reads and keeps the extensions, as X509_cmp() would some day */
    }
    tree_add_dir(&site->tree, "www");
    tree_add_file(&site->tree, "www/small", "small\n");
    tree_add_filled(&site->tree, "www/large", 'l', TLS_DAY_LARGE);
    tree_add_file(&site->tree, "ca.pem", site->authority.cert_pem);
    tree_set_mtime(&site->tree, "www/small", 784080000, 0);
    tree_set_mtime(&site->tree, "www/large", 784080000, 0);
}

void tls_day_site_remove(void)
{
    struct tls_day_site *site = &tls_day_site;
    struct made *all[] = {&site->authority, &site->alice, &site->first, &site->rsa,
                          &site->second,    &site->third, &site->other};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        made_done(all[i]);
    }
    made_keys_free();
    tree_remove(&site->tree);
}
