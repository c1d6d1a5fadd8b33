#ifndef EVSERVE_CORE_NET_HANDED_H
#define EVSERVE_CORE_NET_HANDED_H

/* Listening sockets that another program has handed over, so that no connection is lost while this one takes its place.
 * Each has the address that it was opened for as text (net_listener.wanted): a listener that wants this address gets
 * the socket, instead of opening one. The fds stay with whoever has made the list: listeners duplicate them. */

#include "core/net_address.h"

#include <stdbool.h>

struct net_listener;

/* In the place of an address: not a socket, but the keys of TLS session tickets (tls_tickets_pass()). */
#define NET_HANDED_TICKET_KEYS "ticket-keys:"

struct net_handed {
    int fd;                     /* above 0 */
    char address[NET_TEXT_MAX]; /* as text */
    bool is_taken;              /* a listener has it */
};

struct net_handed_list {
    struct net_handed *sockets; /* count of them, in the order in which the other program opened them */
    unsigned count;             /* 0 for none */
};

/* Take the first socket that was opened for address. Returns its fd, or 0 if there is none; always 0 for "fd:N". */
int net_handed_take(struct net_handed_list *list, const struct net_address *address);

/* Take one that is bound to the same port beside that of first (SO_REUSEPORT). Returns as net_handed_take() does. */
int net_handed_take_twin(struct net_handed_list *list, const struct net_listener *first);

#endif
