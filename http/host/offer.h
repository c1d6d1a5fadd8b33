#ifndef EVSERVE_HTTP_HOST_OFFER_H
#define EVSERVE_HTTP_HOST_OFFER_H

/* What one thread serves: a site, with the routes in C and the script that fill it. Used by one reactor's thread. */

#include "http/host/script_kind.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evs_error_page;
struct evs_mount;
struct evs_proxies;
struct evs_proxy;
struct evs_route;
struct evs_routes;
struct evs_rule;
struct evs_vhost;
struct evs_vhosts;
struct log;
struct reactor;
struct server;
struct site;
struct tls_plan;

/* What to fill a site with. */
struct offer_config {
    int base_fd;                    /* borrowed: where relative paths start, see sys_base() */
    const char *root;               /* directory served at "/", or NULL; wins over the script's */
    const struct evs_mount *mounts; /* more directories, ended by a NULL prefix, or NULL; win over the script's */
    const struct evs_rule *rules;   /* ended by a NULL prefix, or NULL; beside the script's */
    const struct evs_error_page *error_pages; /* ended by NULL statuses, or NULL; beside those of the script */
    const struct evs_proxy *proxies;          /* ended by a NULL prefix, or NULL */
    const struct evs_route *routes;           /* in C, ended by a NULL route, or NULL */
    const struct evs_vhost *hosts;            /* ended by NULL names, or NULL; win over the script's */
    uint64_t unknown_host;                    /* 404, 421; 200: the default host; 0: as the script says */
    const char *script;                       /* path of the script, or NULL */
    const char *acme;                         /* directory of ACME challenges, or NULL; wins over the script's */
    const char *hsts;                         /* text of hsts_parse(), or NULL; wins over the script's */
    const char *trusted_proxies;              /* valid, or NULL; wins over the script's */
    const char *forwarded;                    /* valid, or NULL; wins over the script's */
    bool strip_forwarded;                     /* or the script says so */
    const char *deny_connect;                 /* valid, or NULL; wins over the script's */
    const char *broker;                       /* valid, or NULL; wins over the script's */
    const char *metrics_hosts;                /* valid, or NULL; come with the script's */
    const char *access_log;                   /* where it goes, or NULL; wins over the script's */
    const char *access_log_format;            /* valid, or NULL; wins over the script's */
    bool adds_tls;                            /* if no address speaks TLS, all do */
    const struct script_kind *kind; /* of the script; NULL if this build runs no scripts: a script is refused then */
    struct script_host host;        /* for the script */
};

struct offer {
    struct site *site;              /* owned */
    struct evs_routes *routes;      /* owned; NULL without any */
    struct evs_proxies *proxies;    /* likewise */
    struct evs_vhosts *hosts;       /* owned; NULL without any */
    struct script *script;          /* owned; NULL without one */
    const struct script_kind *kind; /* of script */
    bool adds_tls;                  /* of its config */
    struct offer *next;             /* for http/host/retired.h: in its list */
    int64_t unused_ms;              /* for http/host/retired.h: when its last request was over, 0 before */
};

/* Make an offer. reactor and log are borrowed and must outlive it; the strings of config need not. Returns 0, or -errno
 * with a text in err that names the culprit. */
int offer_create(struct offer **offer, const struct offer_config *config, struct reactor *reactor,
                 const struct log *log, char *err, size_t errlen);

/* Free it. No server may use its site any more. NULL is allowed. */
void offer_destroy(struct offer *offer);

/* Listen on each address in listen (separated by commas; "none" for no address). If listen is NULL, listen on the
 * script's addresses, or on 127.0.0.1:8080 if it has none. is_shared: servers of other threads will join. Returns 0 or
 * more, or -errno with a text in err that begins with the place in the script that asked for the address. */
int offer_listen(const struct offer *offer, const char *listen, struct server *server, bool is_shared, char *err,
                 size_t errlen);

/* The certificates and TLS settings that the script asks for, or NULL without a script. */
const struct tls_plan *offer_tls(const struct offer *offer);

/* Whether one of the addresses that offer_listen() would listen on speaks TLS. If so, text gets the first of them, as
 * error texts begin with it: "site.lua:3: listen address \":443?tls\"". Addresses that are not valid are left to
 * offer_listen(). */
enum { OFFER_ADDRESS_MAX = 512 };
bool offer_find_tls(const struct offer *offer, const char *listen, char text[OFFER_ADDRESS_MAX]);

/* The same for an address that redirects to HTTPS. */
bool offer_find_redirect(const struct offer *offer, const char *listen, char text[OFFER_ADDRESS_MAX]);

/* Whether one of the addresses is a socket that somebody else has opened: "fd:3". */
bool offer_has_passed(const struct offer *offer, const char *listen);

/* Whether only processes of this machine can connect to the addresses that speak TLS: 0, or -EINVAL with a text in err
 * that says why that should be. */
int offer_check_local(const struct offer *offer, const char *listen, char *err, size_t errlen);

/* Call fn with each address that offer_listen() listens on, until it returns less than 0; place is where the script
 * asked for it, or NULL. Returns what fn returned last. */
typedef int (*offer_address_fn)(void *arg, const char *address, const char *place);
int offer_each_address(const struct offer *offer, const char *listen, offer_address_fn fn, void *arg);

/* Whether such an address may stand in a list: "none" beside other addresses of a host contradicts them. Returns 0, or
 * -EINVAL with a text in err. */
int offer_check_address(const char *address, const char *place, char *err, size_t errlen);

/* Bytes that the script holds, and how many it may; both 0 without one. The thread of its reactor. */
void offer_get_memory(const struct offer *offer, uint64_t *held, uint64_t *limit);

/* The functions of http/host/script_kind.h for the script of the offer. Without a script they do nothing and return 0
 * or false. */
int offer_each_folder(const struct offer *offer, int (*fn)(void *arg, const char *folder), void *arg);
int offer_start(struct offer *offer, const struct server *server, char *err, size_t errlen);
int offer_adopt(struct offer *offer, const struct server *server);
void offer_announce_stop(struct offer *offer);
void offer_end_timers(struct offer *offer);
bool offer_is_busy(const struct offer *offer, int64_t until_ms);

/* The same, and what waits for the access logs of hosts is written. */
void offer_stop(struct offer *offer);

#endif
