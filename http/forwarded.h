#ifndef EVSERVE_HTTP_FORWARDED_H
#define EVSERVE_HTTP_FORWARDED_H

/* What proxies say of a request: in X-Forwarded-For, -Proto and -Host, or in Forwarded (RFC 7239). Pure: it knows heads
 * and addresses, no exchange.
 *
 * Each proxy adds the address that it sees at the right end of a list. So the list is walked from the right, as long as
 * the addresses are those of trusted proxies; the first other one is the client's. What is further to the left may be
 * anything that the client has made up. Where the walk meets something that is no address ("unknown", "_hidden"), or
 * after FORWARDED_HOPS_MAX of them, the client is the last address known.
 *
 * A list of protocols or hosts is read from the right, too: by as many elements as the walk took, or the leftmost one
 * if there are fewer, since most proxies replace these fields rather than add to them. */

#include "http/message.h"
#include "http/peer.h"

#include <stdint.h>

struct trusted_proxies;

enum {
    FORWARDED_TEXT_MAX = 64, /* bytes of the setting as text, with its NUL */
    FORWARDED_HOPS_MAX = 64, /* addresses of a list that are looked at */
};

/* Which fields count: bits of the setting "forwarded". */
enum {
    FORWARDED_BY_FOR = 1,      /* X-Forwarded-For */
    FORWARDED_BY_PROTO = 2,    /* X-Forwarded-Proto */
    FORWARDED_BY_HOST = 4,     /* X-Forwarded-Host */
    FORWARDED_BY_STANDARD = 8, /* Forwarded, and none of the others */
    FORWARDED_BY_DEFAULT = FORWARDED_BY_FOR | FORWARDED_BY_PROTO | FORWARDED_BY_HOST,
};

/* What was told, as bits. */
enum {
    FORWARDED_CLIENT = 1, /* in client */
    FORWARDED_HTTP = 2,   /* the client sent the request in clear */
    FORWARDED_HTTPS = 4,  /* the client sent it over TLS */
    FORWARDED_HOST = 8,   /* in host */
};

/* The values behind those bits; the others are undefined. */
struct forwarded {
    struct peer client; /* its port is 0 unless it was told */
    struct slice host;  /* in the head; valid syntax (http/authority.h) */
};

/* Read the setting: "x-forwarded", "forwarded", "off", or a list of "x-forwarded-for", "x-forwarded-proto" and
 * "x-forwarded-host". Returns 0 with *sources, or -EINVAL with a text in err. */
int forwarded_parse_setting(uint8_t *sources, const char *text, char *err, size_t errlen);

/* Write it in one of these forms. */
void forwarded_format_setting(unsigned sources, char text[FORWARDED_TEXT_MAX]);

/* Read the fields of a head, whose bytes are at data, which a trusted proxy has sent. Returns FORWARDED_... bits, for
 * which told has the values. */
uint8_t forwarded_read(struct forwarded *told, const struct head *head, const char *data, unsigned sources,
                       const struct trusted_proxies *trusted);

/* Take fields out of a head that nobody should believe: all that begin with "X-Forwarded-", Forwarded and X-Real-IP,
 * except those that sources (of a trusted sender; 0 for others) let count. With X-Forwarded-... in sources, others of
 * that kind than the three stay, too. */
void forwarded_strip(struct head *head, const char *data, unsigned sources);

#endif
