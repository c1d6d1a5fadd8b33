/* Happy path: parse_proxy() for each part of the list; a client is compared with each of them.
 * Failure modes: what is no address or network, or one too many, is an error text. */

#include "http/trusted_proxies.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/network.h"
#include "http/peer.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct trusted_proxies {
    unsigned count;
    struct network networks[TRUSTED_PROXIES_MAX];
    char text[]; /* as it was written */
};

/* Clients of IPv4 are shown as such even where IPv6 listens (http/peer.c), as are networks of "::ffff:10.0.0.0". */
static int parse_proxy(struct network *network, const char *text, char *err, size_t errlen)
{
    if (strcmp(text, "unix:") == 0) {
        *network = (struct network){.family = AF_UNIX};
        return 0;
    }
    return network_parse(network, text, err, errlen);
}

static int parse_list(struct trusted_proxies *made, char *err, size_t errlen)
{
    const char *rest = made->text;
    do {
        char part[NETWORK_TEXT_MAX];
        size_t len;
        const char *begin = network_next_part(&rest, &len);
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
        int rv = parse_proxy(&made->networks[made->count++], part, err, errlen);
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
        const struct network *network = &proxies->networks[i];
        if (network->family == AF_UNIX ? peer->family == AF_UNIX : network_has(network, peer->family, peer->address)) {
            return true;
        }
    }
    return false;
}

const char *trusted_proxies_text(const struct trusted_proxies *proxies)
{
    return proxies->text;
}
