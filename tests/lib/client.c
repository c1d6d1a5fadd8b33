#include "tests/lib/client.h"

int client_prepare(int fd)
{
    struct timeval limit = {.tv_sec = CLIENT_LIMIT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
}

int client_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = client_prepare(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int client_connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strnlen(path, sizeof address.sun_path - 1));
    int fd = client_prepare(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool client_send(int fd, const char *text)
{
    size_t len = strlen(text);
    return send(fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

size_t client_read_until(int fd, char *buf, size_t size, const char *text)
{
    size_t len = 0;
    buf[0] = '\0';
    while (len + 1 < size && (text == NULL || strstr(buf, text) == NULL)) {
        ssize_t got = recv(fd, buf + len, size - 1 - len, 0);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
        buf[len] = '\0';
    }
    return len;
}

size_t client_read_all(int fd, char *buf, size_t size)
{
    return client_read_until(fd, buf, size, NULL);
}

const char *client_ask_on(int fd, const char *request)
{
    static _Thread_local char answer[65536];
    answer[0] = '\0';
    if (fd >= 0) {
        if (client_send(fd, request)) {
            client_read_all(fd, answer, sizeof answer);
        }
        close(fd);
    }
    return answer;
}

const char *client_ask(int port, const char *request)
{
    return client_ask_on(client_connect(port), request);
}

const char *client_get(int port, const char *path)
{
    char request[1024];
    snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);
    return client_ask(port, request);
}

const char *client_body(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    return end == NULL ? "" : end + 4;
}
