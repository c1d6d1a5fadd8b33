#ifndef EVSERVE_CORE_PROGRAM_REQUEST_CLIENT_H
#define EVSERVE_CORE_PROGRAM_REQUEST_CLIENT_H

/* The client of `evserve --request`: sends one request on a connected socket and takes the response apart for people.
 * It has no loop and no clock of its own: whoever has them calls request_client_advance() when the socket is ready. It
 * is made for the responses of this server, not of any. */

#include <stdbool.h>
#include <stddef.h>

/* What to ask. The texts are borrowed during request_client_create() alone. */
struct request_text {
    const char *request;        /* "GET /users/7"; without a method it is GET. No line end in it */
    const char *const *headers; /* header_count field lines such as "Accept: text/html", without line ends */
    size_t header_count;
    const char *body; /* NULL without one */
    size_t body_len;
};

/* Takes a piece of the response: the head with plain line ends and an empty line, then the content without chunk
 * framing. */
typedef void (*request_answer_fn)(void *arg, const char *data, size_t len);

enum request_progress {
    REQUEST_WAITS,    /* for the socket */
    REQUEST_ANSWERED, /* the response is whole */
    REQUEST_CUT,      /* the connection ended before the response did, or the response is none of this server's */
};

struct request_client;

/* Make the request: Host and Content-Length are added when headers do not have them. fd is borrowed and non-blocking.
 * Returns 0 or -ENOMEM. */
int request_client_create(struct request_client **client, int fd, const struct request_text *text,
                          request_answer_fn on_answer, void *arg);

/* Whether it waits for room to send, beside something to read. */
bool request_client_wants_room(const struct request_client *client);

/* Send what the socket takes, and read once. */
enum request_progress request_client_advance(struct request_client *client);

/* The status of the response, 0 before it is known. */
int request_client_status(const struct request_client *client);

/* Forget the request and what came of its response. */
void request_client_destroy(struct request_client *client); /* NULL is allowed; the fd stays open */

#endif
