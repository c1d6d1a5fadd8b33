#ifndef EVSERVE_CORE_NETWORK_H
#define EVSERVE_CORE_NETWORK_H

/* Addresses and networks, as settings list them: "127.0.0.1, 10.0.0.0/8, fd00::/8". No state; any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NETWORK_TEXT_MAX = 64 }; /* bytes of one address or network as text, including its NUL */

/* Addresses that begin with the same bits. One of IPv4 fills the first four bytes. */
struct network {
    uint8_t family;
    uint8_t bits; /* of address that count */
    uint8_t address[16];
};

/* Read "10.0.0.0/8", or one address. A network of IPv4 addresses that are written as those of IPv6,
 * "::ffff:10.0.0.0/104", is one of IPv4. Returns 0, or -EINVAL with a text in err that quotes what is wrong. */
int network_parse(struct network *network, const char *text, char *err, size_t errlen);

/* Whether an address of a family, 4 or 16 bytes of it, is in the network. */
bool network_has(const struct network *network, int family, const uint8_t *address);

/* The next part of a list separated by commas, without the blanks around it: it begins where this returns, has *len
 * bytes, and *text moves behind its comma. */
const char *network_next_part(const char **text, size_t *len);

#endif
