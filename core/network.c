/* Failure modes: what is no address or network, or has bits set behind those that count, is an error text. */

#include "core/network.h"

#include "core/ascii.h"
#include "core/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

enum { MAPPED_BITS = 96 }; /* in front of an IPv4 address that is written as one of IPv6 */

static unsigned address_len(int family)
{
    return family == AF_INET ? 4 : 16;
}

/* The bits of the n-th byte that count. */
static uint8_t mask_of(unsigned bits, unsigned n)
{
    unsigned kept = bits <= 8 * n ? 0 : bits - 8 * n;
    return (uint8_t)(kept >= 8 ? 0xffu : 0xff00u >> kept);
}

/* Read what follows the slash: a whole number up to most. */
static bool read_bits(const char *text, unsigned most, uint8_t *bits)
{
    uint64_t number;
    size_t len = strlen(text);
    if (len > 3 || !ascii_parse_number(text, len, most, &number)) {
        return false;
    }
    *bits = (uint8_t)number;
    return true;
}

/* RFC 4291, section 2.5.5.2. */
static void unmap_network(struct network *network)
{
    static const uint8_t mapped[MAPPED_BITS / 8] = {[10] = 0xff, 0xff};
    if (network->family == AF_INET6 && network->bits >= MAPPED_BITS &&
        memcmp(network->address, mapped, sizeof mapped) == 0) {
        memmove(network->address, network->address + sizeof mapped, 4);
        memset(network->address + 4, 0, sizeof network->address - 4);
        network->family = AF_INET;
        network->bits = (uint8_t)(network->bits - MAPPED_BITS);
    }
}

int network_parse(struct network *network, const char *text, char *err, size_t errlen)
{
    char address[NETWORK_TEXT_MAX] = "", begin[INET6_ADDRSTRLEN];
    size_t len = strcspn(text, "/");
    bool has_bits = text[len] == '/';
    if (len < sizeof address) {
        memcpy(address, text, len);
    }
    *network = (struct network){.family = strchr(address, ':') == NULL ? AF_INET : AF_INET6};
    network->bits = (uint8_t)(8 * address_len(network->family));
    if (inet_pton(network->family, address, network->address) != 1 ||
        (has_bits && !read_bits(text + len + 1, network->bits, &network->bits))) {
        if (strpbrk(text, " \t") != NULL) {
            return error_text(err, errlen, -EINVAL, "\"%s\" is no address or network: commas separate several", text);
        }
        return error_text(err, errlen, -EINVAL,
                          "\"%s\" is no address or network, such as 127.0.0.1, 10.0.0.0/8, fd00::/8 or unix:", text);
    }
    struct network whole = *network;
    for (unsigned i = 0; i < sizeof network->address; i++) {
        network->address[i] = (uint8_t)(network->address[i] & mask_of(network->bits, i));
    }
    if (memcmp(whole.address, network->address, sizeof whole.address) != 0) {
        (void)inet_ntop(network->family, network->address, begin, sizeof begin);
        return error_text(err, errlen, -EINVAL, "\"%s\" is an address within a network: write %s/%u for the network",
                          text, begin, network->bits);
    }
    unmap_network(network);
    return 0;
}

bool network_has(const struct network *network, int family, const uint8_t *address)
{
    unsigned len = address_len(network->family);
    bool is_in = network->family == family;
    for (unsigned i = 0; i < len && is_in; i++) {
        is_in = ((address[i] ^ network->address[i]) & mask_of(network->bits, i)) == 0;
    }
    return is_in;
}

const char *network_next_part(const char **text, size_t *len)
{
    const char *begin = *text + strspn(*text, " \t");
    size_t span = strcspn(begin, ",");
    *text = begin + span + (begin[span] == ',');
    while (span > 0 && (begin[span - 1] == ' ' || begin[span - 1] == '\t')) {
        span--;
    }
    *len = span;
    return begin;
}
