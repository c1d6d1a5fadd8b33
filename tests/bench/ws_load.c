/* WebSocket clients that send a text of 64 bytes, wait for it to come back, and send the next one.
 *
 *     ws_load PORT COUNT
 *
 * When COUNT clients are connected, "ready" is printed. Each line on standard input is a number of milliseconds: all
 * send for that long, and the number of messages that have come back is printed. It ends with its standard input.
 * tests/bench/bench_ws.py starts it. */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 100000, TEXT_BYTES = 64, SENT_BYTES = 6 + TEXT_BYTES, BACK_BYTES = 2 + TEXT_BYTES, EVENTS = 512 };

struct client {
    int fd;
    int missing; /* bytes of the message that is on its way */
};

static struct client clients[CLIENTS_MAX];
static char sent[SENT_BYTES], back[BACK_BYTES];
static int epoll_fd;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void make_messages(void)
{
    static const unsigned char mask[4] = {1, 2, 3, 4};
    sent[0] = back[0] = (char)0x81;
    sent[1] = (char)(0x80 | TEXT_BYTES);
    back[1] = TEXT_BYTES;
    memcpy(sent + 2, mask, sizeof mask);
    for (int i = 0; i < TEXT_BYTES; i++) {
        back[2 + i] = 'x';
        sent[6 + i] = (char)('x' ^ mask[i % 4]);
    }
}

static void connect_client(struct client *client, int port)
{
    static const char hello[] = "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char reply[1024];
    size_t len = 0;
    int one = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
        send(client->fd, hello, sizeof hello - 1, 0) < 0) {
        fail("connect");
    }
    while (len < 4 || memcmp(reply + len - 4, "\r\n\r\n", 4) != 0) {
        ssize_t got = recv(client->fd, reply + len, sizeof reply - len, 0);
        if (got <= 0) {
            fail("recv");
        }
        len += (size_t)got;
    }
    if (strncmp(reply, "HTTP/1.1 101 ", 13) != 0) {
        fprintf(stderr, "no WebSocket: %.*s\n", (int)len, reply);
        exit(1);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0) {
        fail("epoll_ctl");
    }
}

static void say(struct client *client)
{
    if (send(client->fd, sent, sizeof sent, MSG_NOSIGNAL) != sizeof sent) {
        fail("send");
    }
    client->missing = sizeof back;
}

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Messages that have come back within so many milliseconds, and the last one of each client. */
static long long run(int count, int duration_ms)
{
    struct epoll_event events[EVENTS];
    long long messages = 0, end = now_ms() + duration_ms;
    int on_their_way = count;
    for (int i = 0; i < count; i++) {
        say(&clients[i]);
    }
    while (on_their_way > 0) {
        int ready = epoll_wait(epoll_fd, events, EVENTS, -1);
        int is_over = now_ms() >= end;
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            char got[BACK_BYTES];
            ssize_t len = recv(client->fd, got, (size_t)client->missing, 0);
            if (len <= 0 || memcmp(got, back + BACK_BYTES - client->missing, (size_t)len) != 0) {
                fail("another message");
            }
            client->missing -= (int)len;
            if (client->missing > 0) {
                continue;
            }
            messages++;
            if (is_over) {
                on_their_way--;
            } else {
                say(client);
            }
        }
    }
    return messages;
}

int main(int argc, char **argv)
{
    char line[64];
    int count = argc == 3 ? atoi(argv[2]) : 0;
    if (count < 1 || count > CLIENTS_MAX) {
        fprintf(stderr, "usage: ws_load PORT COUNT\n");
        return 2;
    }
    make_messages();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < count; i++) {
        connect_client(&clients[i], atoi(argv[1]));
    }
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        printf("%lld\n", run(count, atoi(line)));
        fflush(stdout);
    }
    return 0;
}
