/* Failure modes: what files and settings bring, before anything is connected. */

#include "core/link_hello.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/net_address.h"
#include "core/tls_client.h"
#include "core/tls_clients.h"
#include "core/transport.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

struct link_hello {
    struct tls_client_context *context; /* one reference */
    struct tls_pool *pool;              /* borrowed */
    char server_name[];                 /* "" if there is none */
};

/* Whose certificate it must be. Returns 0, or -EINVAL with a text in err. */
static int check_server_name(const struct link_tls *tls, const char *name, char *err, size_t errlen)
{
    const char *fault = name == NULL ? NULL : tls_client_name_fault(name);
    if (fault != NULL) {
        return error_text(err, errlen, -EINVAL, "\"%s\" cannot be the name of a server with TLS, which %s", name,
                          fault);
    }
    if (name == NULL && !tls->settings->is_unverified) {
        return error_text(err, errlen, -EINVAL,
                          "TLS needs the name that the server's certificate must have (server_name)");
    }
    return 0;
}

int link_hello_create(struct link_hello **hello, const struct link_tls *tls, const char *host,
                      struct tls_clients **clients, const struct log *log, char *err, size_t errlen)
{
    const char *name = tls->server_name != NULL ? tls->server_name : host;
    struct tls_client_context *context = NULL;
    int rv = check_server_name(tls, name, err, errlen);
    rv = rv < 0 || *clients != NULL ? rv : tls_clients_create(clients, log, err, errlen);
    rv = rv < 0 ? rv : tls_clients_get(*clients, tls->settings, &context, err, errlen);
    if (rv < 0) {
        return rv;
    }
    size_t len = name == NULL ? 0 : strlen(name);
    struct link_hello *made = mem_zalloc(sizeof *made + len + 1);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    made->context = tls_client_context_ref(context);
    made->pool = tls_clients_pool(*clients);
    memcpy(made->server_name, name == NULL ? "" : name, len);
    *hello = made;
    return 0;
}

void link_hello_destroy(struct link_hello *hello)
{
    if (hello != NULL) {
        tls_client_context_put(hello->context);
        mem_free(hello);
    }
}

int link_hello_say(const struct link_hello *hello, struct transport *transport, const struct sockaddr *peer,
                   socklen_t peer_len)
{
    char text[NET_TEXT_MAX];
    net_address_format(peer, peer_len, text);
    const struct tls_client_opening opening = {.context = hello->context,
                                               .pool = hello->pool,
                                               .server_name = hello->server_name[0] == '\0' ? NULL : hello->server_name,
                                               .peer = text};
    return transport_open(transport, &tls_client_ops, (void *)(uintptr_t)&opening, transport->fd, peer->sa_family);
}
