#ifndef EVSERVE_HTTP_TUNNEL_H
#define EVSERVE_HTTP_TUNNEL_H

/* A connection of a client and one of an upstream that have gone over to another protocol (RFC 9110 section 7.8), which
 * nobody here looks into: what the one side sends goes to the other, as it comes. What one side cannot take holds up
 * the other: at most a read of it (READ_BLOCK_BYTES) is kept each way, and an idle tunnel keeps nothing. */

#include <stddef.h>
#include <stdint.h>

struct exchange;
struct link;

enum {
    TUNNEL_NAME_MAX = 64,         /* bytes of the protocol's name */
    TUNNEL_HALF_OPEN_MS = 30000,  /* how long a tunnel may be silent after one side has ended, */
    TUNNEL_DRAIN_QUIET_MS = 1000, /* and while the server stops */
};

/* What went through it. */
struct tunnel_counts {
    uint64_t up;   /* bytes that the upstream has taken, */
    uint64_t down; /* and the client */
};

/* Texts are copied. */
struct tunnel_plan {
    struct link *link; /* open, to the upstream; its user is exchanged */
    const char *name;  /* the protocol, for Upgrade: "websocket" */
    const char *early; /* early_len bytes that the upstream has sent behind its 101 */
    size_t early_len;
    uint32_t idle_timeout_ms;  /* the tunnel ends after such a silence of both sides; 0: never */
    uint32_t write_timeout_ms; /* and when the client takes nothing of what waits for it for so long; 0: never */

    /* It is over, and the link is closed: called once, by the reactor or while the connection is closed. May be
     * NULL. */
    void (*on_end)(void *arg, const struct tunnel_counts *counts);
    void *arg;
};

/* Respond with 101 and the fields added (response_switch()), and then pass on whatever comes. Returns 0: the link is
 * the tunnel's. Or, with everything as it was and nothing sent, what response_switch() returns, -ENOMEM, or -EINVAL for
 * a name that is too long. */
int tunnel_open(struct exchange *exchange, const struct tunnel_plan *plan);

#endif
