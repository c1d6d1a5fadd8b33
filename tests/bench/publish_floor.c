/* The floor of a broadcast: a program that only calls send() for each of its clients.
 *
 *     publish_floor COUNT
 *
 * The port is printed. Each of COUNT clients sends something that ends in an empty line, as the handshake of a
 * WebSocket, and gets a 101. Then each line on standard input makes the program send the same frame, 64 bytes of text,
 * to all of them. It ends with its standard input. tests/bench/bench_publish.py measures it beside evserve. */

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS_MAX = 100000, PAYLOAD_BYTES = 64, REQUEST_BYTES = 1024 };

static int clients[CLIENTS_MAX];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
        fail("listen");
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static int accept_client(int listen_fd)
{
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    char request[REQUEST_BYTES];
    size_t len = 0;
    int fd = accept(listen_fd, NULL, NULL);
    if (fd < 0) {
        fail("accept");
    }
    while (len < 4 || memcmp(request + len - 4, "\r\n\r\n", 4) != 0) {
        ssize_t got = recv(fd, request + len, sizeof request - len, 0);
        if (got <= 0) {
            fail("recv");
        }
        len += (size_t)got;
    }
    if (send(fd, answer, sizeof answer - 1, 0) < 0) {
        fail("send");
    }
    return fd;
}

int main(int argc, char **argv)
{
    char frame[2 + PAYLOAD_BYTES], line[64];
    int count = argc == 2 ? atoi(argv[1]) : 0;
    if (count < 1 || count > CLIENTS_MAX) {
        fprintf(stderr, "usage: publish_floor COUNT\n");
        return 1;
    }
    int listen_fd = listen_somewhere();
    for (int i = 0; i < count; i++) {
        clients[i] = accept_client(listen_fd);
    }
    frame[0] = (char)0x81;
    frame[1] = PAYLOAD_BYTES;
    memset(frame + 2, 'x', PAYLOAD_BYTES);
    while (fgets(line, sizeof line, stdin) != NULL) {
        for (int i = 0; i < count; i++) {
            if (send(clients[i], frame, sizeof frame, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof frame) {
                fail("send");
            }
        }
    }
    return 0;
}
