/* Stands in until listeners speak TLS. */

#include "http/server.h"

void server_set_tls(struct server *server, struct tls_context *context)
{
    (void)server;
    (void)context;
}
