/* Clients that make TLS handshakes, as many as they can: scripts/bench.sh measures the server's CPU meanwhile.
 *
 *     handshakes --port PORT --conns N --seconds S [--resume] [--path PATH] [--version 1.2|1.3]
 *     handshakes --port PORT --hold N
 *
 * Happy path: each of N slots connects, makes a handshake, sends one request with "Connection: close", reads to the end
 * and connects again. With --resume it offers the session that the connection before it got last. The result is one
 * line of JSON, as load.lua writes it, with the count of resumed sessions, and the version and cipher that were agreed
 * on.
 *
 * With --hold, N connections make one request each and stay; "held" is printed, and the program ends when its standard
 * input does.
 *
 * Failure mode: a connection that fails counts as an error, and its slot tries again. One thread, one epoll. */

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    SLOTS_MAX = 20000,       /* connections */
    TIMES_MAX = 1 << 20,     /* handshakes whose duration is kept */
    HELD_TOGETHER = 64,      /* connections of --hold that are on their way at once */
    ERRORS_IN_A_ROW = 10000, /* then the server is gone */
    COUNT_SECONDS = 60,      /* for a given count of handshakes at most */
    EVENTS_MAX = 256         /* of one epoll_wait */
};

struct slot {
    int fd;
    SSL *ssl;
    SSL_SESSION *session; /* to be resumed, or NULL */
    int64_t begun_ns;     /* when it connected */
    bool has_sent;        /* its request */
    bool is_held;         /* its response has come */
};

struct load {
    SSL_CTX *ctx;
    int epoll_fd;
    uint16_t port;
    bool resumes, holds;
    char request[512], first[64]; /* what is sent, and the version and cipher of the first handshake */
    struct slot *slots;
    int count;                      /* of slots */
    uint64_t most;                  /* connections that are made, or 0: as many as fit into the time */
    uint64_t done, resumed, errors; /* connections */
    int errors_in_a_row;
    uint32_t *times; /* microseconds from connecting to the end of the handshake */
    size_t time_count;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "handshakes: %s: %s\n", what, errno != 0 ? strerror(errno) : "");
    ERR_print_errors_fp(stderr);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void watch(struct load *load, struct slot *slot, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = slot};
    if (epoll_ctl(load->epoll_fd, how, slot->fd, &event) < 0) {
        fail("epoll_ctl");
    }
}

static void begin(struct load *load, struct slot *slot)
{
    struct sockaddr_in server = {.sin_family = AF_INET,
                                 .sin_port = htons(load->port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    slot->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (slot->fd < 0 || setsockopt(slot->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
        (connect(slot->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)) {
        fail("connect");
    }
    slot->ssl = SSL_new(load->ctx);
    if (slot->ssl == NULL || SSL_set_fd(slot->ssl, slot->fd) != 1) {
        fail("SSL_new");
    }
    SSL_set_app_data(slot->ssl, slot);
    SSL_set_connect_state(slot->ssl);
    if (slot->session != NULL) { /* a copy: without a new ticket the same one is offered again */
        SSL_SESSION *session = SSL_SESSION_dup(slot->session);
        SSL_set_session(slot->ssl, session);
        SSL_SESSION_free(session);
    }
    slot->has_sent = false;
    slot->begun_ns = now_ns();
    watch(load, slot, EPOLL_CTL_ADD, EPOLLOUT);
}

static void end(struct load *load, struct slot *slot, bool is_whole)
{
    load->done += is_whole;
    load->errors += !is_whole;
    load->errors_in_a_row = is_whole ? 0 : load->errors_in_a_row + 1;
    if (load->errors_in_a_row == ERRORS_IN_A_ROW) {
        fail("the server is gone");
    }
    if (is_whole) {
        SSL_set_shutdown(slot->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else the session counts as bad */
    }
    SSL_free(slot->ssl);
    ERR_clear_error();
    close(slot->fd);
    if (load->most == 0 || load->done + load->errors < load->most) {
        begin(load, slot);
    }
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct slot *slot = SSL_get_app_data(ssl);
    SSL_SESSION_free(slot->session);
    slot->session = session;
    return 1;
}

static void note_handshake(struct load *load, struct slot *slot)
{
    load->resumed += SSL_session_reused(slot->ssl) != 0;
    if (load->first[0] == '\0') {
        snprintf(load->first, sizeof load->first, "%s %s", SSL_get_version(slot->ssl), SSL_get_cipher(slot->ssl));
    }
    if (load->time_count < TIMES_MAX) {
        load->times[load->time_count++] = (uint32_t)((now_ns() - slot->begun_ns) / 1000);
    }
    slot->has_sent = true;
    watch(load, slot, EPOLL_CTL_MOD, EPOLLIN);
}

/* Go on with a connection as far as it goes. */
static void step(struct load *load, struct slot *slot)
{
    int rv = SSL_is_init_finished(slot->ssl) ? 1 : SSL_do_handshake(slot->ssl);
    if (rv == 1 && !slot->has_sent) {
        note_handshake(load, slot);
        rv = SSL_write(slot->ssl, load->request, (int)strlen(load->request));
    }
    bool has_head = false;
    while (rv > 0) {
        char data[16384];
        rv = SSL_read(slot->ssl, data, sizeof data);
        has_head |= rv > 0;
    }
    switch (SSL_get_error(slot->ssl, rv)) {
    case SSL_ERROR_WANT_READ:
        if (!slot->has_sent) {
            watch(load, slot, EPOLL_CTL_MOD, EPOLLIN);
        }
        load->done += load->holds && has_head && !slot->is_held;
        slot->is_held |= has_head;
        return;
    case SSL_ERROR_WANT_WRITE:
        return;
    default:
        end(load, slot, SSL_get_shutdown(slot->ssl) == SSL_RECEIVED_SHUTDOWN);
    }
}

static void run(struct load *load, int seconds)
{
    int64_t until_ns = now_ns() + seconds * INT64_C(1000000000);
    for (int i = 0; i < load->count; i++) {
        begin(load, &load->slots[i]);
    }
    while (now_ns() < until_ns && (load->most == 0 || load->done + load->errors < load->most)) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(load->epoll_fd, events, EVENTS_MAX, 100);
        for (int i = 0; i < count; i++) {
            step(load, events[i].data.ptr);
        }
    }
}

static void hold(struct load *load)
{
    int begun = 0;
    while (load->done < (uint64_t)load->count) {
        for (; begun < load->count && (uint64_t)begun < load->done + HELD_TOGETHER; begun++) {
            begin(load, &load->slots[begun]);
        }
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(load->epoll_fd, events, EVENTS_MAX, 10000);
        if (count <= 0 || load->errors > 0) {
            fail("a connection is not held");
        }
        for (int i = 0; i < count; i++) {
            step(load, events[i].data.ptr);
        }
    }
    printf("held %s\n", load->first);
    fflush(stdout);
    while (getchar() != EOF) {
    }
}

static int compare_times(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void report(struct load *load, double seconds)
{
    size_t last = load->time_count == 0 ? 0 : load->time_count - 1;
    qsort(load->times, load->time_count, sizeof *load->times, compare_times);
    printf("RESULT {\"requests\": %llu, \"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u, \"p999_us\": %u, "
           "\"resumed\": %llu, \"agreed\": \"%s\", \"errors\": {\"connections\": %llu}}\n",
           (unsigned long long)load->done, seconds, load->times[last / 2], load->times[last * 99 / 100],
           load->times[last - last / 1000], (unsigned long long)load->resumed, load->first,
           (unsigned long long)load->errors);
}

static void make_ctx(struct load *load, const char *version)
{
    load->ctx = SSL_CTX_new(TLS_client_method());
    if (load->ctx == NULL) {
        fail("SSL_CTX_new");
    }
    SSL_CTX_set_mode(load->ctx, SSL_MODE_RELEASE_BUFFERS);
    if (strcmp(version, "1.2") == 0) {
        SSL_CTX_set_max_proto_version(load->ctx, TLS1_2_VERSION);
    }
    if (load->resumes) {
        SSL_CTX_set_session_cache_mode(load->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(load->ctx, on_session);
    }
}

int main(int argc, char **argv)
{
    static struct load load;
    const char *path = "/small.txt", *version = "1.3";
    int seconds = 1;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--resume") == 0) {
            load.resumes = true;
            continue;
        }
        if (strcmp(argv[i], "--port") == 0) {
            load.port = (uint16_t)atoi(value);
        } else if (strcmp(argv[i], "--conns") == 0 || strcmp(argv[i], "--hold") == 0) {
            load.holds = strcmp(argv[i], "--hold") == 0;
            load.count = atoi(value);
        } else if (strcmp(argv[i], "--seconds") == 0) {
            seconds = atoi(value);
        } else if (strcmp(argv[i], "--count") == 0) {
            load.most = (uint64_t)atoi(value);
            seconds = COUNT_SECONDS;
        } else if (strcmp(argv[i], "--path") == 0) {
            path = value;
        } else if (strcmp(argv[i], "--version") == 0) {
            version = value;
        }
        i++;
    }
    if (load.port == 0 || load.count <= 0 || load.count > SLOTS_MAX) {
        fprintf(stderr, "usage: handshakes --port PORT {--conns N --seconds S [--resume] | --hold N}\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    snprintf(load.request, sizeof load.request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s\r\n", path,
             (unsigned)load.port, load.holds ? "" : "Connection: close\r\n");
    make_ctx(&load, version);
    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load.slots = calloc((size_t)load.count, sizeof *load.slots);
    load.times = calloc(TIMES_MAX, sizeof *load.times);
    if (load.epoll_fd < 0 || load.slots == NULL || load.times == NULL) {
        fail("memory");
    }
    if (load.holds) {
        hold(&load);
        return 0;
    }
    int64_t begun_ns = now_ns();
    run(&load, seconds);
    report(&load, (double)(now_ns() - begun_ns) / 1e9);
    return 0;
}
