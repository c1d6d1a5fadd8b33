#ifndef EVSERVE_CORE_DESTINATIONS_H
#define EVSERVE_CORE_DESTINATIONS_H

/* Which other servers may be connected with. There are two kinds of lists: one of what is denied, which each address is
 * compared with after its name was resolved, and one of what alone is allowed, for the sandbox. Lists do not change, so
 * any thread may read them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct destinations;

enum {
    DESTINATIONS_MAX = 100,       /* entries of a list */
    DESTINATIONS_ENTRY_MAX = 300, /* bytes of one of them */
};

/* Where a connection leads. */
struct destination {
    const char *name;               /* that was resolved, or is to be; NULL: there is an address alone */
    const struct sockaddr *address; /* NULL: not known yet */
    socklen_t len;                  /* of address */
    uint16_t port;                  /* of name; the address has its own */
};

/* Read a list of what is denied:
 *
 *   private                    what is not public: loopback, private, link-local, multicast and reserved addresses, in
 *                              whatever form, and unix sockets
 *   203.0.113.0/24             an address or a network
 *   unix:                      all unix sockets
 *   !127.0.0.1:6379            not this one, whatever else says; without a port: all of its ports
 *   !redis.internal:6379       likewise for a name, whatever its addresses
 *   !unix:/run/redis.sock      likewise for a unix socket
 *
 * "none" alone denies nothing, which makes *made NULL. Returns 0 with what destinations_destroy() frees, -ENOMEM, or
 * -EINVAL with a text in err that quotes what is wrong. */
int destinations_parse_denied(struct destinations **made, const char *text, char *err, size_t errlen);

/* Read a list of what alone is allowed; an empty one allows nothing:
 *
 *   api.example.org:443        by this name, whatever its addresses
 *   *.example.org:443          by a name that ends like this
 *   localhost:6379             this name, and all addresses of loopback
 *   127.0.0.1:6379, [::1]:6379, 10.0.0.0/8:5432, [fd00::/8]:5432
 *                              an address, or those of a network, but not a name
 *   *:443, api.example.org:*   every host; every port
 *   unix:/run/redis.sock       a unix socket; "unix:@x" is abstract, "unix:" is each
 *
 * Returns as above. */
int destinations_parse_allowed(struct destinations **made, const char *text, char *err, size_t errlen);

void destinations_destroy(struct destinations *list); /* NULL is allowed */

/* The list as it was written. */
const char *destinations_text(const struct destinations *list);

/* Why a destination, whose address is known, is denied: "a loopback address", or the entry of the list that says so,
 * valid as long as the list. NULL if it is not. list may be NULL, which denies nothing. */
const char *destinations_deny(const struct destinations *list, const struct destination *to);

/* Whether a list allows a destination: by its name if it has one, else by its address. */
bool destinations_allow(const struct destinations *list, const struct destination *to);

/* Which servers a program may connect with. Zeroed: all. */
struct destination_policy {
    const struct destinations *denied;  /* borrowed; NULL: nothing is denied */
    const struct destinations *allowed; /* borrowed: in a sandbox, this alone; NULL: there is none */
};

/* Whether a destination may be connected with, as far as that is known: one with a name is to be checked before the
 * name is resolved, and again with each of its addresses. Returns 0, or -EPERM with a text in err that says who denies
 * what and why. No other failure of a connection is -EPERM, except that of a firewall of this machine. */
int destinations_check(const struct destination_policy *policy, const struct destination *to, char *err, size_t errlen);

/* What a list of what is allowed takes from a kernel that sees ports and families alone. */
struct destination_needs {
    bool tcp, names, unix_files, unix_abstract; /* whether there are such entries; names are to be resolved */
    bool every_port;                            /* ports does not hold them all */
    unsigned port_count;
    uint16_t ports[DESTINATIONS_MAX]; /* of TCP, each once */
};
void destinations_get_needs(const struct destinations *list, struct destination_needs *needs);

#endif
