#ifndef EVSERVE_TESTS_CLIENT_H
#define EVSERVE_TESTS_CLIENT_H

/* A blocking client on the real kernel, for tests that run a whole server on another thread, or between two calls of
 * the test's own. Every wait has a limit that only a server that hangs reaches. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENT_LIMIT_S = 60 };

/* Sets the time limit of a socket. Returns fd. */
int client_prepare(int fd);

/* A connection to a port of 127.0.0.1, or -1. */
int client_connect(int port);

/* A connection to a unix socket, or -1. */
int client_connect_unix(const char *path);

/* Send all of text. Returns whether that was possible. */
bool client_send(int fd, const char *text);

/* Read until text has come or the server closes; what came is in buf, NUL-terminated. Returns its length. */
size_t client_read_until(int fd, char *buf, size_t size, const char *text);

/* Read all that comes until the server closes. */
size_t client_read_all(int fd, char *buf, size_t size);

/* Send one request, over fd or a new connection, read the response and close. Returns the response, valid until the
 * next call on this thread, or "". */
const char *client_ask_on(int fd, const char *request);
const char *client_ask(int port, const char *request);

/* client_ask() with GET of HTTP/1.0, after which the server closes. */
const char *client_get(int port, const char *path);

/* What follows the head of a response. */
const char *client_body(const char *answer);

#endif
