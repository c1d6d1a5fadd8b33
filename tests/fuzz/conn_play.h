#ifndef EVSERVE_TESTS_CONN_PLAY_H
#define EVSERVE_TESTS_CONN_PLAY_H

/* What the fuzz targets of whole connections share: a server with the site of the wire cases
 * (tests/wire/wire_site.c) on the fake kernel, clients that do what the input says, and what must hold of the
 * responses. A target says what lies between its clients and the server. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_peer;
struct server;

enum { PLAY_INPUT_MAX = 4096, PLAY_CLIENTS = 4 };

struct play_client {
    int number;                /* from 0 */
    struct fake_peer *peer;    /* NULL before it comes */
    bool is_disturbed;         /* it does not take all of what it gets, or something failed */
    bool is_done;              /* it sends no more */
    size_t sent_len;           /* of sent */
    size_t new_len;            /* of sent, not on its way yet */
    char sent[PLAY_INPUT_MAX]; /* content */
};

/* What a client and the server have said to each other, as far as it has got through. */
struct play_seen {
    const char *sent, *output;   /* content of either */
    size_t sent_len, output_len; /* of them */
    bool is_ended;               /* the server has ended its side in order: what ends with it is whole */
    bool says_end;               /* each end in order, and no other, is said: nothing is cut before it */
};

/* What lies between clients and server. Members that are NULL do nothing, or what a plain socket does. */
struct conn_line {
    void (*open)(struct server *server); /* the server listens: nobody has come yet */
    void (*come)(struct play_client *client);
    void (*send)(struct play_client *client, const char *content, size_t len);
    void (*finish)(struct play_client *client);                                /* it shuts its side in order */
    size_t (*act)(struct play_client *client, char what, unsigned char first); /* returns bytes of input behind what */
    void (*see)(struct play_client *client, struct play_seen *seen);           /* undone by the next call of it */
};

/* Play one input, and abort if something does not hold. Returns 0. */
int conn_play(const struct conn_line *line, const uint8_t *data, size_t len);

#endif
