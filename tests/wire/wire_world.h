#ifndef EVSERVE_TESTS_WIRE_WORLD_H
#define EVSERVE_TESTS_WIRE_WORLD_H

/* The server of one run of a case, on the fake kernel. */

#include "tests/wire/wire_case.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_peer;
struct reactor;
struct server;
struct site;

struct world {
    struct reactor *reactor;      /* of the server */
    struct site *site;            /* wire_site.c has it */
    struct server *server;        /* with the case's limits */
    int listener_fd;              /* plain */
    int tls_listener_fd;          /* for TLS, of such a run */
    const struct fake_peer *peer; /* the client whose bytes are watched; set by the caller */
    char error[512];              /* what has gone wrong */
};

/* Make the world of a case, with tiny limits or without. Returns whether that went well; either way world_close() is
 * due. */
bool world_open(struct world *world, const struct wire_case *wire_case, bool is_tiny, bool is_tls);
void world_close(struct world *world);

/* Run ticks until nothing happens any more, without letting time pass. Returns whether it comes to that. */
bool world_settle(struct world *world);

/* Let time pass as an idle loop would see it. Returns the same. */
bool world_pass_ms(struct world *world, int64_t ms);

#endif
