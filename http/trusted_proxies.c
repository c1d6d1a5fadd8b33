/* Happy path: parse_network() for each part of the list; a client is compared with each of them.
 * Failure modes: what is no address or network, or one too many, is an error text. */

#include "http/trusted_proxies.h"

#include "core/log.h"
#include "core/mem.h"
#include "http/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

/* Addresses that begin with the same bits. */
struct trusted_network {
    uint8_t family;
    uint8_t bits; /* of address that count */
    uint8_t address[16];
};

struct trusted_proxies {
    unsigned count;
    struct trusted_network networks[TRUSTED_PROXIES_MAX];
    char text[]; /* as it was written */
};

enum {
    NETWORK_TEXT_MAX = 64, /* bytes of one network, with a NUL */
    MAPPED_BITS = 96,      /* in front of an IPv4 address that is written as one of IPv6 */
};

/* Set all bits but the first ones to 0. */
static void cut_bits(uint8_t address[16], unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = bits <= 8 * i ? 0 : bits - 8 * i;
        address[i] = (uint8_t)(address[i] & (kept >= 8 ? 0xffu : 0xff00u >> kept));
    }
}

/* Read what follows the slash: a whole number up to most. */
static bool read_bits(const char *text, unsigned most, uint8_t *bits)
{
    unsigned number = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 3 || strspn(text, "0123456789") != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        number = 10 * number + (unsigned)(text[i] - '0');
    }
    *bits = (uint8_t)number;
    return number <= most;
}

/* Clients of IPv4 are shown as such even where IPv6 listens (http/peer.c), so networks of "::ffff:10.0.0.0" are
 * theirs. */
static void unmap_ipv4(struct trusted_network *network)
{
    static const uint8_t mapped[MAPPED_BITS / 8] = {[10] = 0xff, 0xff}; /* RFC 4291, section 2.5.5.2 */
    if (network->family == AF_INET6 && network->bits >= MAPPED_BITS &&
        memcmp(network->address, mapped, sizeof mapped) == 0) {
        memmove(network->address, network->address + sizeof mapped, 4);
        memset(network->address + 4, 0, sizeof network->address - 4);
        network->family = AF_INET;
        network->bits = (uint8_t)(network->bits - MAPPED_BITS);
    }
}

static int parse_network(struct trusted_network *network, const char *text, char *err, size_t errlen)
{
    char address[NETWORK_TEXT_MAX], begin[INET6_ADDRSTRLEN];
    *network = (struct trusted_network){.family = AF_UNIX};
    if (strcmp(text, "unix:") == 0) {
        return 0;
    }
    strcpy(address, text);
    char *slash = strchr(address, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    network->family = strchr(address, ':') == NULL ? AF_INET : AF_INET6;
    network->bits = network->family == AF_INET ? 32 : 128;
    if (inet_pton(network->family, address, network->address) != 1 ||
        (slash != NULL && !read_bits(slash + 1, network->bits, &network->bits))) {
        return error_text(err, errlen, -EINVAL,
                          "\"%s\" is no address or network, such as 127.0.0.1, 10.0.0.0/8, fd00::/8 or unix:", text);
    }
    struct trusted_network whole = *network;
    cut_bits(network->address, network->bits);
    if (memcmp(whole.address, network->address, sizeof whole.address) != 0) {
        (void)inet_ntop(network->family, network->address, begin, sizeof begin);
        return error_text(err, errlen, -EINVAL, "\"%s\" is an address within a network: write %s/%u for the network",
                          text, begin, network->bits);
    }
    unmap_ipv4(network);
    return 0;
}

/* The next part of the list, without the blanks around it: at *text, which moves behind its comma. */
static const char *next_network(const char **text, size_t *len)
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

static int parse_list(struct trusted_proxies *made, char *err, size_t errlen)
{
    const char *rest = made->text;
    do {
        char part[NETWORK_TEXT_MAX];
        size_t len;
        const char *begin = next_network(&rest, &len);
        if (len >= sizeof part || len == 0) {
            return error_text(err, errlen, -EINVAL,
                              len == 0 ? "an address is missing in \"%.200s\""
                                       : "\"%.80s...\" is no address or network",
                              len == 0 ? made->text : begin);
        }
        memcpy(part, begin, len);
        part[len] = '\0';
        if (made->count == TRUSTED_PROXIES_MAX) {
            return error_text(err, errlen, -EINVAL, "\"%s\" is one too many: at most %d addresses and networks", part,
                              TRUSTED_PROXIES_MAX);
        }
        int rv = parse_network(&made->networks[made->count++], part, err, errlen);
        if (rv < 0) {
            return rv;
        }
    } while (rest[0] != '\0' || rest[-1] == ',');
    return 0;
}

int trusted_proxies_parse(struct trusted_proxies **made, const char *text, char *err, size_t errlen)
{
    *made = NULL;
    if (strcmp(text, "none") == 0) {
        return 0;
    }
    struct trusted_proxies *proxies = mem_zalloc(sizeof *proxies + strlen(text) + 1);
    if (proxies == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    strcpy(proxies->text, text);
    int rv = parse_list(proxies, err, errlen);
    if (rv < 0) {
        mem_free(proxies);
        return rv;
    }
    *made = proxies;
    return 0;
}

void trusted_proxies_destroy(struct trusted_proxies *proxies)
{
    mem_free(proxies);
}

bool trusted_proxies_have(const struct trusted_proxies *proxies, const struct peer *peer)
{
    for (unsigned i = 0; proxies != NULL && i < proxies->count; i++) {
        const struct trusted_network *network = &proxies->networks[i];
        if (network->family != peer->family) {
            continue;
        }
        uint8_t address[16];
        memcpy(address, peer->address, sizeof address);
        cut_bits(address, network->bits);
        if (network->family == AF_UNIX || memcmp(address, network->address, sizeof address) == 0) {
            return true;
        }
    }
    return false;
}

const char *trusted_proxies_text(const struct trusted_proxies *proxies)
{
    return proxies->text;
}
