#ifndef EVSERVE_CORE_SYS_NAMES_H
#define EVSERVE_CORE_SYS_NAMES_H

/* Names of hosts, as the C library resolves them: /etc/hosts, DNS, or what nsswitch.conf(5) says. A test links its own
 * in place of this file. */

#include <stdint.h>

enum {
    NAME_ADDRESSES_MAX = 16, /* of one name; further ones are left out */
    NAME_LEN_MAX = 253       /* bytes of a name, without the dot at its end (RFC 1035, section 2.3.4) */
};

/* One address of a name. */
struct name_address {
    uint16_t family;   /* AF_INET or AF_INET6 */
    uint32_t scope;    /* of a link-local address of IPv6, else 0 */
    uint8_t bytes[16]; /* in network order; of AF_INET the first four */
};

/* Find the addresses of a name, the best first (RFC 6724). Blocks, for as long as resolv.conf(5) allows: a thread of
 * its own calls it. Returns how many there are, or -errno: -ENOENT if there is no such name, -EAGAIN if nobody who
 * knows has answered, -EIO if they could not say, -ENOMEM, ... */
int sys_find_addresses(const char *name, struct name_address addresses[NAME_ADDRESSES_MAX]);

#endif
