/* What a request says of the proxy in front of it. */

#include "http/host/evs_internal.h"
#include "http/proxied.h"

#include <errno.h>
#include <string.h>

int evs_proxied(evs_request *request, struct evs_proxied_info *proxy)
{
    size_t size = proxy->size;
    if (size < offsetof(struct evs_proxied_info, address) || size > sizeof *proxy) {
        return -EINVAL;
    }
    const struct proxied *proxied = exchange_proxied(exchange_of(request));
    const struct proxied nothing = {
        .unique_id = "", .authority = "", .alpn = "", .tls_version = "", .tls_cipher = "", .tls_client = ""};
    const struct proxied *said = proxied == NULL ? &nothing : proxied;
    struct evs_proxied_info filled = {
        .size = size,
        .unique_id = said->unique_id,
        .unique_id_len = said->unique_id_len,
        .authority = said->authority,
        .alpn = said->alpn,
        .tls = said->is_tls ? 1 : 0,
        .tls_version = said->tls_version,
        .tls_cipher = said->tls_cipher,
        .tls_client = said->tls_client,
    };
    if (proxied != NULL) {
        peer_format(&proxied->proxy, filled.address, sizeof filled.address);
        peer_format(&proxied->destination, filled.server, sizeof filled.server);
    }
    memcpy(proxy, &filled, size);
    return proxied != NULL ? 1 : 0;
}
