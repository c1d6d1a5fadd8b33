/* What a request says of its TLS connection. */

#include "core/tls_info.h"
#include "http/host/evs_internal.h"

#include <errno.h>
#include <string.h>

const char *evs_scheme(evs_request *request)
{
    return exchange_scheme(exchange_of(request));
}

int evs_tls(evs_request *request, struct evs_tls_info *tls)
{
    const struct exchange *exchange = exchange_of(request);
    struct tls_info info = {"", "", "", "", "", "", false};
    size_t size = tls->size;
    if (size < offsetof(struct evs_tls_info, version) || size > sizeof *tls) {
        return -EINVAL;
    }
    bool is_secured = exchange_tls(exchange, &info);
    const struct evs_tls_info filled = {
        .size = size,
        .version = info.version,
        .cipher = info.cipher,
        .server_name = info.server_name,
        .alpn = info.alpn,
        .client_subject = info.client_subject,
        .client_fingerprint = info.client_fingerprint,
        .resumed = info.is_resumed ? 1 : 0,
    };
    memcpy(tls, &filled, size);
    return is_secured ? 1 : 0;
}
