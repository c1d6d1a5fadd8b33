/* TLS of a build without it: all that would make something fails and says so. */

#include "core/log.h"
#include "core/tls.h"

#include <errno.h>

static const char tls_is_absent[] = "this evserve was built without TLS (EVSERVE_TLS=OFF, or no libssl-dev)";

int tls_context_create(struct tls_context **context, const struct tls_settings *settings, struct tls_context *former,
                       int base_fd, const struct log *log, char *err, size_t errlen)
{
    (void)settings;
    (void)former;
    (void)base_fd;
    (void)log;
    *context = NULL;
    return error_text(err, errlen, -ENOTSUP, "%s", tls_is_absent);
}

int tls_context_add(struct tls_context *context, const struct tls_certificate *certificate, char *err, size_t errlen)
{
    (void)context;
    (void)certificate;
    return error_text(err, errlen, -ENOTSUP, "%s", tls_is_absent);
}

bool tls_context_is_stale(const struct tls_context *context)
{
    (void)context;
    return false;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    return context;
}

void tls_context_put(struct tls_context *context)
{
    (void)context;
}

const struct transport_ops tls_transport_ops = {.close = NULL};

bool tls_get_info(const struct transport *transport, struct tls_info *info)
{
    (void)transport;
    (void)info;
    return false;
}
