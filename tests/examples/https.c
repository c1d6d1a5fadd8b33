/* A host that serves HTTPS with a certificate from memory, as one that gets it from a vault would.
 *
 *     https CERT KEY [CLIENT_CA]
 *
 *     GET /          what TLS has agreed on
 *     GET /account   the name of the client: only for clients with a certificate that CLIENT_CA has signed
 *
 * Plain HTTP is redirected to it, and browsers that came once keep to HTTPS for an hour.
 *
 * CERT, KEY and CLIENT_CA are PEM files, read here once. A host that renews its certificates gives the names of files
 * instead, and the library looks after them. */

#include <evserve.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PEM_MAX = 1 << 16 };

static evserve *running; /* for the signal handler; evserve_stop(NULL) does nothing */

static void on_signal(int number)
{
    (void)number;
    evserve_stop(running, 1000);
}

/* The text of a file, to be freed; NULL if it cannot be read. */
static char *read_text(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, PEM_MAX + 1);
    size_t len = file == NULL || text == NULL ? 0 : fread(text, 1, PEM_MAX, file);
    if (file != NULL) {
        fclose(file);
    }
    if (len == 0) {
        fprintf(stderr, "cannot read %s\n", path);
        free(text);
        return NULL;
    }
    return text;
}

static void serve_facts(evs_request *request, void *arg)
{
    (void)arg;
    char text[512];
    struct evs_tls_info tls = {.size = sizeof tls};
    evs_tls(request, &tls);
    int len = snprintf(text, sizeof text, "%s\n%s\n%s\nserver name: %s\nalpn: %s\n%s\n", evs_scheme(request),
                       tls.version, tls.cipher, tls.server_name, tls.alpn, tls.resumed ? "resumed" : "new");
    evs_reply(request, 200, "text/plain", text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}

static void serve_account(evs_request *request, void *arg)
{
    (void)arg;
    struct evs_tls_info tls = {.size = sizeof tls};
    if (evs_tls(request, &tls) != 1 || tls.client_fingerprint[0] == '\0') {
        static const char text[] = "a client certificate is needed\n";
        evs_reply(request, 403, "text/plain", text, sizeof text - 1);
        return;
    }
    char text[512];
    int len = snprintf(text, sizeof text, "%s\n%s\n", tls.client_subject, tls.client_fingerprint);
    evs_reply(request, 200, "text/plain", text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: https CERT KEY [CLIENT_CA]\n");
        return 2;
    }
    char *cert = read_text(argv[1]), *key = read_text(argv[2]), *ca = argc > 3 ? read_text(argv[3]) : NULL;
    if (cert == NULL || key == NULL || (argc > 3 && ca == NULL)) {
        free(cert);
        free(key);
        free(ca);
        return 1;
    }
    const struct evs_certificate certificates[] = {
        {.cert_pem = cert, .key_pem = key, .client_ca_pem = ca, .client_optional = ca != NULL},
        {.cert_pem = NULL},
    };
    const struct evs_route routes[] = {
        {.route = "GET /", .serve = serve_facts},
        {.route = "GET /account", .serve = serve_account},
        {.route = NULL},
    };
    const struct evserve_config config = {
        .size = sizeof config,
        .listen = "127.0.0.1:0?tls,127.0.0.1:0?redirect_https", /* in the wild: ":443?tls,:80?redirect_https" */
        .certificates = certificates,
        .routes = routes,
        .hsts = "1h",
    };
    char err[EVSERVE_ERROR_MAX];
    evserve *server = evserve_start(&config, err, sizeof err);
    memset(key, 0, strlen(key)); /* the library has copied it */
    free(cert);
    free(key);
    free(ca);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    running = server;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    fprintf(stderr, "listening on %s\n", evserve_address(server, 1));
    int cut = evserve_wait(server);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    evserve_free(server);
    return cut != 0;
}
