#ifndef EVSERVE_HTTP_ACCESS_MEMO_H
#define EVSERVE_HTTP_ACCESS_MEMO_H

/* What one thread need not write anew for each line of the access log: the times, which change once a second, and the
 * client's address, which stays the same from request to request. */

#include "core/net_address.h"
#include "http/peer.h"
#include "http/words.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    ACCESS_TIME_MAX = 48,  /* bytes of a time, and of those that may be read behind it */
    ACCESS_BEGIN_MAX = 96, /* bytes of the begin of a line of "combined": all of them may be copied */
    ACCESS_END_MAX = 32,   /* the same of the end of one */
};

/* Zeros at first. */
struct access_memo {
    int64_t second;                        /* that the times show */
    char local[ACCESS_TIME_MAX];           /* $time_local: "30/Nov/2026:09:17:56 +0000" */
    char iso[ACCESS_TIME_MAX];             /* $time_iso8601: "2026-11-30T09:17:56+00:00" */
    uint8_t local_len, iso_len;            /* bytes of them; 0: there are none yet */
    uint8_t family;                        /* of the address that peer_text shows; 0: of none */
    uint8_t address[16];                   /* that address */
    uint8_t peer_len;                      /* bytes of peer_text */
    char peer_text[NET_TEXT_MAX];          /* an address without its port */
    int64_t begin_second;                  /* that combined_begin shows, with that address; -1: it shows none */
    uint8_t begin_len;                     /* bytes of it */
    char combined_begin[ACCESS_BEGIN_MAX]; /* "ADDRESS - - [LOCAL] \"" */
    uint8_t end_len;                       /* bytes of combined_end */
    uint64_t end_bytes;                    /* of the response that it shows, with its head */
    uint64_t end_look;                     /* and what response_look() said of it; 0: there is none yet */
    char combined_end[ACCESS_END_MAX];     /* "\" STATUS BYTES \"-\" \"-\"\n" */
};

/* Whether the address is that of peer. */
static inline bool access_memo_has_peer(const struct access_memo *memo, const struct peer *peer)
{
    return memo->family == peer->family && words_equal((const char *)memo->address, (const char *)peer->address, 16);
}

/* Write both times for a second; write the address of peer. */
__attribute__((noinline)) void access_memo_renew_times(struct access_memo *memo, int64_t now_s);
__attribute__((noinline)) void access_memo_renew_peer(struct access_memo *memo, const struct peer *peer);

/* Write the begin of a line of "combined", and what it consists of. */
__attribute__((noinline)) void access_memo_renew_begin(struct access_memo *memo, const struct peer *peer,
                                                       int64_t now_s);

#endif
