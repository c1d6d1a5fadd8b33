/* The floor: what a request costs when nothing is done for it but the kernel's work. It parses nothing and answers each
 * request with the same bytes, which scripts/bench.sh takes from the server that is measured against it.
 *
 *     floor [--close] --answer FILE --request BYTES
 *
 * Level-triggered epoll, recv, one send: two system calls a request and its share of epoll_wait. --request says how
 * long a request is, so that pipelined ones are counted without looking at them. With --close it reads right after
 * accept, answers, closes, and adds a connection to epoll only when that read says EAGAIN. The port is printed; the
 * program ends when it is killed. An answer must fit into a socket's send buffer: a short send ends the program. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 1024,    /* of one epoll_wait */
    READ_BYTES = 65536,   /* of one recv */
    ANSWERS_MAX = 64,     /* sent together */
    FDS_MAX = 65536,      /* highest descriptor and one */
    ACCEPTS_MAX = 64,     /* of one event */
    LISTEN_BACKLOG = 4096 /* as the server's */
};

struct floor {
    int epoll_fd;
    int listen_fd;
    bool closes;              /* one request a connection */
    char *answers;            /* the answer, ANSWERS_MAX times */
    size_t answer_len;        /* of one of them */
    size_t request_len;       /* bytes of a request */
    uint16_t behind[FDS_MAX]; /* by descriptor: bytes of a request that has begun */
    char in[READ_BYTES];
};

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void load_answer(struct floor *floor, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail(path);
    }
    static char one[READ_BYTES];
    floor->answer_len = fread(one, 1, sizeof one, file);
    fclose(file);
    floor->answers = malloc(floor->answer_len * ANSWERS_MAX);
    if (floor->answers == NULL || floor->answer_len == 0) {
        fail(path);
    }
    for (size_t i = 0; i < ANSWERS_MAX; i++) {
        memcpy(floor->answers + i * floor->answer_len, one, floor->answer_len);
    }
}

static void watch(const struct floor *floor, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(floor->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        fail("epoll_ctl");
    }
}

static void listen_anywhere(struct floor *floor)
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

/* One read and its answers. Returns false when the connection is over. */
static bool serve(struct floor *floor, int fd, bool *is_empty)
{
    ssize_t got = recv(fd, floor->in, sizeof floor->in, 0);
    *is_empty = got < 0 && errno == EAGAIN;
    if (got <= 0) {
        return *is_empty;
    }
    size_t bytes = (size_t)got + floor->behind[fd];
    size_t count = bytes / floor->request_len;
    floor->behind[fd] = (uint16_t)(bytes % floor->request_len);
    while (count > 0) {
        size_t now = count < ANSWERS_MAX ? count : ANSWERS_MAX;
        ssize_t sent = send(fd, floor->answers, now * floor->answer_len, MSG_NOSIGNAL);
        if (sent < 0) {
            return false;
        }
        if ((size_t)sent != now * floor->answer_len) {
            fail("short send");
        }
        count -= now;
    }
    return !floor->closes;
}

static void accept_some(struct floor *floor)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(floor->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 || fd >= FDS_MAX) {
            return;
        }
        floor->behind[fd] = 0;
        bool is_empty = true;
        if (floor->closes && !serve(floor, fd, &is_empty)) {
            close(fd);
        } else if (!floor->closes || is_empty) {
            watch(floor, fd);
        }
    }
}

int main(int argc, char **argv)
{
    static struct floor floor = {.epoll_fd = -1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--close") == 0) {
            floor.closes = true;
        } else if (strcmp(argv[i], "--answer") == 0 && i + 1 < argc) {
            load_answer(&floor, argv[++i]);
        } else if (strcmp(argv[i], "--request") == 0 && i + 1 < argc) {
            floor.request_len = strtoul(argv[++i], NULL, 10);
        }
    }
    if (floor.answers == NULL || floor.request_len == 0 || floor.request_len > READ_BYTES) {
        fprintf(stderr, "usage: floor [--close] --answer FILE --request BYTES\n");
        return 2;
    }
    floor.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    listen_anywhere(&floor);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(floor.epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            bool is_empty;
            if (events[i].data.fd == floor.listen_fd) {
                accept_some(&floor);
            } else if (!serve(&floor, events[i].data.fd, &is_empty)) {
                close(events[i].data.fd);
            }
        }
    }
}
