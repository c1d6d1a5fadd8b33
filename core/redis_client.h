#ifndef EVSERVE_CORE_REDIS_CLIENT_H
#define EVSERVE_CORE_REDIS_CLIENT_H

/* A connection to a Redis server that is made again whenever it is lost: at once, then after pauses that double, up to
 * five seconds, each of them of a random length, so that not all clients of a server that was away come at the same
 * time. One that was lost within five seconds counts as one that failed: so a server that lets us in and throws us
 * out is not asked a thousand times a second. A server that does not answer for a while counts as lost. All on the
 * reactor's thread. */

#include "core/redis_reader.h"
#include "core/redis_url.h"
#include "core/write_buffer.h"

#include "core/reactor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link;
struct outbound;

enum {
    REDIS_CLIENT_QUEUE_MAX = 16 << 20, /* bytes of commands that wait for a connection to take them */
    REDIS_CLIENT_WORDS_MAX = 16,       /* of a command */
    REDIS_CLIENT_CONNECT_MS = 5000,    /* until the server has let us in */
    REDIS_CLIENT_PING_MS = 5000, /* without a word from the server: it is asked for one; and as long again: lost */
    REDIS_CLIENT_PAUSE_LEAST_MS = 100, /* before the second attempt */
    REDIS_CLIENT_PAUSE_MOST_MS = 5000, /* before each further one */
    REDIS_CLIENT_READ_MAX = 256 << 10, /* bytes read in a tick */
    REDIS_FAILURE_MAX = 256            /* bytes of a text that says why, with its NUL */
};

/* A word of a command. */
struct redis_word {
    const char *text;
    size_t len;
};

/* What becomes of the connection. The functions are called by the reactor alone, never inside a function of this file,
 * and must not end the client. */
struct redis_client_user {
    void (*on_ready)(void *arg); /* commands are taken */
    /* They are not any more, or the first attempt has failed: once until the next on_ready. Replies to what was sent
     * will not come, and what was queued is dropped. why is a plain text: "Connection refused". */
    void (*on_lost)(void *arg, const char *why);
    void (*on_reply)(void *arg, const struct redis_reply *reply); /* valid during the call; not those to PING */
};

struct redis_client {
    struct reactor *reactor;              /* borrowed */
    struct outbound *outbound;            /* borrowed */
    const struct redis_url *url;          /* borrowed */
    const struct redis_client_user *user; /* borrowed */
    void *arg;                            /* handed to it */
    int base_fd;                          /* where the name of a file in the URL starts: sys_base() */
    bool is_subscriber;                   /* its database does not matter: channels have none */
    struct link *link;                    /* NULL: a pause */
    struct redis_reader *reader;          /* of link */
    struct write_buffer out;              /* what link has not taken */
    bool is_ready;                        /* on_ready was called, on_lost not yet */
    bool has_failed;                      /* on_lost was called since the last on_ready */
    bool is_heard;                        /* something has come since the last look */
    bool is_asked;                        /* a PING is under way */
    unsigned greetings;                   /* replies that are missing until it is ready */
    uint32_t pause_ms;                    /* before the next attempt */
    uint64_t timer;                       /* of the pause, of the attempt, of the next look; 0: none */
    struct reactor_task flush;            /* sends what was queued in this tick */
    struct reactor_task again;            /* the next attempt, if there is no memory for a timer */
};

/* Begin. The fields marked as borrowed, arg, base_fd and is_subscriber are set, the rest is zero; it must not move. The
 * first attempt follows in the next tick. Returns 0, or -ENOMEM. */
int redis_client_start(struct redis_client *client);

/* Close the connection, after what is queued and fits into the socket, and free what the client has. One of zeros is
 * left alone. */
void redis_client_end(struct redis_client *client);

/* Queue a command. Returns 0; -ENOTCONN while it is not ready; -ENOBUFS if more than REDIS_CLIENT_QUEUE_MAX would wait;
 * or -ENOMEM: then nothing was queued. Replies come in the order of commands. */
int redis_client_command(struct redis_client *client, const struct redis_word *words, size_t count);

#endif
