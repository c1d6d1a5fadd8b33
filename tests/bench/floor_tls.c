/* The floor of HTTPS: what a request, a handshake and an idle connection cost when nothing but OpenSSL and the kernel
 * works for them. It parses no HTTP and answers whatever one read brings with the same bytes, which scripts/bench.sh
 * takes from the server that is measured against it.
 *
 *     floor_tls [--close] --answer FILE --cert FILE --key FILE
 *
 * Level-triggered epoll, one SSL object a connection on its socket, OpenSSL's own tickets, SSL_MODE_RELEASE_BUFFERS,
 * read-ahead. With --close it sends close_notify after the answer and closes. The port is printed; the program ends
 * when it is killed. An answer must fit into a socket's send buffer: a short write ends the program. */

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 1024,    /* of one epoll_wait */
    READ_BYTES = 16384,   /* of one SSL_read */
    ANSWER_MAX = 65536,   /* bytes */
    FDS_MAX = 65536,      /* highest descriptor and one */
    ACCEPTS_MAX = 64,     /* of one event */
    LISTEN_BACKLOG = 4096 /* as the server's */
};

struct floor_tls {
    int epoll_fd;
    int listen_fd;
    bool closes; /* one request a connection */
    SSL_CTX *ctx;
    char answer[ANSWER_MAX];
    size_t answer_len;
    SSL *sessions[FDS_MAX]; /* by descriptor */
};

static _Noreturn void fail(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void load_answer(struct floor_tls *floor, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail(path);
    }
    floor->answer_len = fread(floor->answer, 1, sizeof floor->answer, file);
    fclose(file);
}

static void make_ctx(struct floor_tls *floor, const char *cert, const char *key)
{
    floor->ctx = SSL_CTX_new(TLS_server_method());
    if (floor->ctx == NULL || SSL_CTX_use_certificate_chain_file(floor->ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(floor->ctx, key, SSL_FILETYPE_PEM) != 1) {
        fail(cert);
    }
    SSL_CTX_set_mode(floor->ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(floor->ctx, 1);
    SSL_CTX_set_session_cache_mode(floor->ctx, SSL_SESS_CACHE_OFF);
}

static void watch(const struct floor_tls *floor, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(floor->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        fail("epoll_ctl");
    }
}

static void listen_anywhere(struct floor_tls *floor)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int one = 1;
    floor->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (floor->listen_fd < 0 || setsockopt(floor->listen_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
        bind(floor->listen_fd, (struct sockaddr *)&address, len) < 0 || listen(floor->listen_fd, LISTEN_BACKLOG) < 0 ||
        getsockname(floor->listen_fd, (struct sockaddr *)&address, &len) < 0) {
        fail("listen");
    }
    watch(floor, floor->listen_fd);
    printf("%u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
}

/* Read what there is, and answer each read. Returns false when the connection is over. */
static bool serve(const struct floor_tls *floor, SSL *ssl)
{
    static char in[READ_BYTES];
    int got;
    do {
        ERR_clear_error();
        got = SSL_read(ssl, in, sizeof in);
        if (got > 0) {
            int sent = SSL_write(ssl, floor->answer, (int)floor->answer_len);
            if (sent != (int)floor->answer_len) {
                if (SSL_get_error(ssl, sent) == SSL_ERROR_WANT_WRITE) {
                    fail("short write");
                }
                return false; /* the client has left */
            }
            if (floor->closes) {
                (void)SSL_shutdown(ssl);
                return false;
            }
        }
    } while (got > 0 && SSL_has_pending(ssl));
    return got > 0 || SSL_get_error(ssl, got) == SSL_ERROR_WANT_READ;
}

static void accept_some(struct floor_tls *floor)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(floor->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 || fd >= FDS_MAX) {
            return;
        }
        SSL *ssl = SSL_new(floor->ctx);
        if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
            fail("SSL_new");
        }
        SSL_set_accept_state(ssl);
        floor->sessions[fd] = ssl;
        watch(floor, fd);
    }
}

int main(int argc, char **argv)
{
    static struct floor_tls floor = {.epoll_fd = -1};
    const char *cert = NULL, *key = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--close") == 0) {
            floor.closes = true;
        } else if (strcmp(argv[i], "--answer") == 0 && i + 1 < argc) {
            load_answer(&floor, argv[++i]);
        } else if (strcmp(argv[i], "--cert") == 0 && i + 1 < argc) {
            cert = argv[++i];
        } else if (strcmp(argv[i], "--key") == 0 && i + 1 < argc) {
            key = argv[++i];
        }
    }
    if (floor.answer_len == 0 || cert == NULL || key == NULL) {
        fprintf(stderr, "usage: floor_tls [--close] --answer FILE --cert FILE --key FILE\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    make_ctx(&floor, cert, key);
    floor.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    listen_anywhere(&floor);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(floor.epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == floor.listen_fd) {
                accept_some(&floor);
            } else if (!serve(&floor, floor.sessions[fd])) {
                SSL_free(floor.sessions[fd]);
                close(fd);
            }
        }
    }
}
