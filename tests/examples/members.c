/* A site for members: it serves two directories, one of which requires a name and password (RFC 7617), and prints a
 * line for each request. "members DIR NAME:PASSWORD" serves DIR/open at /open and DIR/members at /. */

#include "evserve.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static evserve *server;
static char expected[256]; /* the Authorization that members send */

enum { PASSWORD_MAX = 150 }; /* bytes of NAME:PASSWORD that fit into expected */

static void on_signal(int signal)
{
    (void)signal;
    evserve_stop(server, 1000);
}

/* Write "Basic " and text, at most PASSWORD_MAX bytes, in base64 (RFC 4648 section 4). */
static void expect_basic(const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = expected + sprintf(expected, "Basic ");
    for (size_t len = strlen(text), i = 0; i < len; i += 3) {
        unsigned long bits = (unsigned long)(unsigned char)text[i] << 16;
        bits |= i + 1 < len ? (unsigned long)(unsigned char)text[i + 1] << 8 : 0;
        bits |= i + 2 < len ? (unsigned long)(unsigned char)text[i + 2] : 0;
        for (size_t k = 0; k < 4; k++) {
            *out++ = (char)(i + k <= len ? digits[bits >> (18 - 6 * k) & 63] : '=');
        }
    }
}

/* Takes the same time for each wrong text of this length, so that timing does not reveal how much of it is right. */
static int is_member(const char *given)
{
    int difference = given == NULL || strlen(given) != strlen(expected);
    for (size_t i = 0; !difference && expected[i] != '\0'; i++) {
        difference |= given[i] ^ expected[i];
    }
    return !difference;
}

/* Called before files are looked up. Returns 0 to let the request continue. */
static int check_member(evs_request *request, void *arg)
{
    (void)arg;
    if (strncmp(evs_path(request), "/open/", 6) == 0 || is_member(evs_header(request, "Authorization"))) {
        return 0;
    }
    evs_set_header(request, "WWW-Authenticate", "Basic realm=\"members\", charset=\"UTF-8\"");
    evs_reply(request, 401, "text/plain", "Members only.\n", 14);
    return 1;
}

static void write_line(void *arg, const struct evs_outcome *outcome)
{
    static const char *const ends[] = {"gone", "complete", "timeout", "aborted", "stopped"};
    (void)arg;
    printf("%s %s %s %d %llu %lluus %s\n", outcome->peer, outcome->method, outcome->target, outcome->status,
           (unsigned long long)outcome->bytes, (unsigned long long)outcome->duration_us, ends[outcome->end]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char open_dir[4096], members_dir[4096], err[EVSERVE_ERROR_MAX];
    if (argc != 3) {
        fprintf(stderr, "usage: members DIR NAME:PASSWORD\n");
        return 2;
    }
    if (strlen(argv[2]) > PASSWORD_MAX) {
        fprintf(stderr, "members: NAME:PASSWORD is longer than %d bytes\n", PASSWORD_MAX);
        return 2;
    }
    snprintf(open_dir, sizeof open_dir, "%s/open", argv[1]);
    snprintf(members_dir, sizeof members_dir, "%s/members", argv[1]);
    expect_basic(argv[2]);
    const struct evs_mount mounts[] = {
        {.prefix = "/open", .dir = open_dir, .cache_s = 3600},
        {.prefix = "/", .dir = members_dir, .list = 1},
        {.prefix = NULL},
    };
    const struct evserve_config config = {
        .size = sizeof config,
        .listen = "127.0.0.1:0",
        .mounts = mounts,
        .before = check_member,
        .finished = write_line,
    };
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    int cut = evserve_wait(server);
    signal(SIGINT, SIG_IGN); /* the handler uses a server that is about to be freed */
    signal(SIGTERM, SIG_IGN);
    evserve_free(server);
    return cut != 0;
}
