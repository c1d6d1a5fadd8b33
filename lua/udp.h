#ifndef EVSERVE_LUA_UDP_H
#define EVSERVE_LUA_UDP_H

/* Sockets for datagrams, and the coroutines that wait for one. bind_udp.c has what scripts call. */

#include "core/resolver.h"
#include "lua/coro_pool.h"

#include <sys/socket.h>

enum {
    UDP_SOCKETS_MAX = 1000, /* open at a time, of a script */
    UDP_TURN_MAX = 64,      /* datagrams that a script receives before others have their turn */
    UDP_TIMEOUT_MS = 60000, /* of receive(), unless settimeout() says otherwise */
};

/* The name of a peer that is looked for (udp_name.h). */
struct udp_question {
    struct resolver_query query; /* first: a query is its question */
    struct script_udp *udp;
    int result; /* 0: there is no answer yet; 1: the socket is open; else -errno, and text says why */
    uint16_t port;
    char text[RESOLVER_TEXT_MAX];
    char name[];
};

struct script_udp {
    struct script *script;         /* whose it is */
    struct script_udp *next_free;  /* in the list of those in no use */
    uint32_t index;                /* in script->udps */
    uint64_t id;                   /* never used twice; 0 in no use */
    uint32_t timeout_ms;           /* of each receive() */
    int64_t end_ms;                /* reactor time at which the one that is under way ends */
    struct udp_question *question; /* while its peer is looked for by name, and until that is told; else NULL */
    struct coro *reader;           /* waits for a datagram, or for an answer to question; NULL: nobody does */
    uint64_t timer;                /* that ends its wait; 0: none */
    int fd;                        /* -1: closed, or not open yet */
    unsigned turn;                 /* datagrams received since the last wait */
    bool takes_turn;               /* its wait is over at once: a fast sender must not hold the loop */
    int error;                     /* -errno that the reactor has taken from the socket, for the next call; else 0 */
    bool is_registered;            /* with the reactor */
    socklen_t later_len;           /* of later; 0: there is none */
    struct sockaddr_storage later; /* where it is to lead once the server has started */
};

/* What Lua holds of a socket: numbers, no pointers. */
struct udp_handle {
    uint32_t index; /* in script->udps */
    uint64_t id;    /* tells whether it is still the same one */
};

/* A socket that is closed. NULL when memory is short. */
struct script_udp *udp_take(struct script *script);

/* Close it, and back to the pool. */
void udp_put(struct script_udp *udp);

/* The socket of an object, or NULL if the script has ended. */
struct script_udp *udp_find(const struct script *script, const struct udp_handle *handle);

/* Open it, or open it anew, for datagrams to address. Returns 0 or -errno; -ENOBUFS: too many are open. */
int udp_open(struct script_udp *udp, const struct sockaddr *address, socklen_t len);

/* Whether it is not known yet which peers are denied: the script loads, maybe on another thread. Then udp_open_later()
 * keeps the address, and the first use of the socket opens it (udp_name.h). */
bool udp_is_early(const struct script *script);
void udp_open_later(struct script_udp *udp, const struct sockaddr_storage *address, socklen_t len);

/* Close it. Whoever waits for a datagram is woken with true, and finds it closed. */
void udp_close(struct script_udp *udp);

/* Let coro wait until end_ms, for a datagram if the socket is open. It is woken with true; with nil once the time is
 * over; with false when nobody wants to know any more. coro_wait() with udp_wait must follow. Returns 0 or -errno. */
int udp_begin_wait(struct script_udp *udp, struct coro *coro);

/* The wait is over. Returns who waited; pushing what he is woken with, and coro_resume(), follow. */
struct coro *udp_end_wait(struct script_udp *udp);
extern const struct coro_wait udp_wait;

/* Free those of a script whose Lua state is closed. */
void udp_free_all(struct script *script);

#endif
