/* Where a request came from: the client, the listener, the socket. */

#include "http/host/evs_internal.h"

#include "http/peer.h"

int evs_sockaddr(evs_request *request, struct sockaddr_storage *address)
{
    return (int)peer_address(exchange_of(request)->peer, address);
}

int evs_listener(evs_request *request)
{
    return exchange_of(request)->listener;
}

int evs_socket(evs_request *request)
{
    return exchange_of(request)->framing->fd(exchange_of(request));
}
