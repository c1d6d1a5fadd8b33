#ifndef EVSERVE_HTTP_OUTCOME_H
#define EVSERVE_HTTP_OUTCOME_H

/* What became of each request: for hosts that keep an account of them, and the place where an access log is written.
 *
 * An exchange is watched if somebody wants to hear of its end: the server's finished hook, of all of them, or
 * exchange->on_over, of this one. The response of a watched exchange is handed to the kernel before the next request of
 * its connection is begun, and its head is kept until then. Others have none of this. */

#include "core/net.h"
#include "http/outcome_end.h"

#include <stddef.h>
#include <stdint.h>

struct exchange;
struct peer;
struct service;

/* Valid during the call. */
struct outcome {
    struct service *service;   /* of the server that it came to */
    struct exchange *exchange; /* to ask for more of the request; NULL if its head has not arrived */
    const char *method;        /* as sent; "" if the request line has not arrived */
    const char *target;        /* the same */
    int status;                /* of the response; 0 if there is none */
    uint64_t bytes;            /* of the response that the kernel took, head and framing included */
    int64_t duration_us;       /* from the request's first byte to the end */
    char peer[NET_TEXT_MAX];   /* as peer_format() writes it; "" if it is not known */
    const char *route;         /* pattern of the route that responded; NULL if none did */
    enum outcome_end end;
};

/* An exchange for which that is due: its request begins now. queued: bytes of earlier responses that are still in its
 * connection's queue. */
void outcome_begin(struct exchange *exchange, size_t queued);

/* A watched exchange is over: report it to the observers, and stop watching it. Nothing is reported for a
 * connection that ended between requests, or in the middle of a head. raw is what has come of a head that was never
 * complete: raw_len bytes, which may be written to; unused otherwise. */
void outcome_end(struct exchange *exchange, enum outcome_end end, char *raw, size_t raw_len);

/* A client was turned away with status and bytes of a response. scrap is what it has sent: len bytes, which may be
 * written to. newcomer knows its address, or is NULL. */
void outcome_turned_away(struct service *service, const struct peer *newcomer, int status, uint64_t bytes, char *scrap,
                         size_t len, enum outcome_end end);

#endif
