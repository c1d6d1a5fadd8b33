#ifndef EVSERVE_HTTP_PASSAGE_STATE_H
#define EVSERVE_HTTP_PASSAGE_STATE_H

/* An exchange on its way through a proxy, as the files passage*.c share it:
 *
 *   passage.c          upstreams, one after the other; turns, time
 *   passage_send.c     the request
 *   passage_receive.c  the response
 *   passage_end.c      memory, and how a passage ends */

#include "core/deadline.h"
#include "core/outbound.h"
#include "core/write_buffer.h"
#include "http/client/fetch_body.h"
#include "http/client/fetch_head.h"
#include "http/proxy/proxy_state.h"

#include <stdbool.h>
#include <stdint.h>

struct exchange;
struct link;

enum { PASSAGE_WHY_MAX = 256 }; /* bytes of a text that says why */

struct passage {
    struct proxy *proxy;
    struct passage *next; /* of those that are kept */
    struct exchange *exchange;
    struct upstream *upstream;
    struct link *link;        /* NULL: there is none */
    struct deadline deadline; /* of what is waited for; its timer stays when the passage is kept */
    struct write_buffer out;  /* of the request, what the upstream has not taken */
    struct write_buffer came; /* of the head of the response, if it came in pieces */
    uint32_t tried;           /* upstreams that have had the request, bit n for upstream n */
    unsigned reused;          /* how often the link was used before */
    /* This upstream did not do: on to the next one, or the client gets this status. is_unsent: nothing of the request has
     * reached it. The passage may be gone when this returns. */
    void (*give_up)(struct passage *passage, int status, bool is_unsent, const char *why);
    bool opens;             /* the link is not open yet */
    bool is_fresh;          /* no kept connection this time: one has failed */
    bool has_taken;         /* something of the request's body was taken from the client */
    bool is_body_sent;      /* all of the request was handed to the link or to out */
    bool is_send_broken;    /* the upstream takes no more; its response may be there all the same */
    bool upgrades;          /* the client has asked for another protocol, and the upstream with it */
    bool has_bytes;         /* something of a response came */
    bool has_begun;         /* the client gets a response */
    bool awaits_head;       /* deadline is that of the response's head, which bytes of it do not put off */
    bool is_followed;       /* bytes came behind the response */
    uint8_t interims;       /* interim responses so far */
    struct fetch_body body; /* behind the head of the response */
    uint64_t taken_turn;    /* of the reactor, when a kept link was taken unseen; else 0 */
    int64_t began_ms;       /* when the upstream was chosen, reactor time */
    int status;             /* of the response; 0: there is none */
    uint32_t keep_ms;       /* how long the connection may be kept */
    struct fetch_head head; /* large, and not zeroed with the rest */
};

static inline struct reactor *passage_reactor(const struct passage *passage)
{
    return passage->proxy->outbound->links.reactor;
}

#endif
