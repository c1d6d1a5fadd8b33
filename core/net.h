#ifndef EVSERVE_CORE_NET_H
#define EVSERVE_CORE_NET_H

/* Listeners that accept within a budget and survive running out of file descriptors. net_address.h has what they listen
 * on. */

#include "core/net_address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct log;
struct reactor;

enum {
    NET_ACCEPT_BUDGET = 64, /* connections accepted in one callback (R6) */
    NET_ACCEPT_MS = 10,     /* after which the callback accepts no further one, if each takes long to handle (R6) */
    NET_SILENT_S = 1,       /* how long NET_DEFER leaves a silent peer to the kernel */
    NET_PAUSE_MS = 100,     /* how long a listener rests if it cannot even get its reserve fd back */
};

/* How a listener is opened. */
enum {
    NET_EDGE = 1 << 0,   /* edge-triggered: accepts until EAGAIN, a budget at a time */
    NET_SHARED = 1 << 1, /* others will join it (net_listener_join()) */
    NET_DEFER = 1 << 2,  /* for protocols in which the client sends first: accept a peer with its first bytes, or after
                            it was silent for NET_SILENT_S (TCP_DEFER_ACCEPT); not for unix and inherited sockets */
};

/* Called for each connection; fd is non-blocking, close-on-exec, and the callee's to close. */
typedef void (*net_accept_fn)(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_len);

struct net_listener {
    struct reactor *reactor; /* calls on_readable */
    const struct log *log;   /* borrowed; may be NULL */
    net_accept_fn on_accept; /* gets each connection */
    void *arg;               /* handed to on_accept */
    /* Both are NULL at first, may be set once the listener is open, and are called with arg. on_starved() is called
     * when there is no fd for a connection, and returns whether it has closed one. on_turned_away() gets a connection
     * that is turned away for lack of fds: it may send something, and must close fd before it returns. */
    bool (*on_starved)(void *arg);
    void (*on_turned_away)(void *arg, int fd);
    int fd;                    /* the listening socket, -1 when closed */
    int reserve_fd;            /* given up for a moment to turn a peer away when no fds are left; negative when lost */
    uint64_t pause_timer;      /* set while the listener rests, else 0 */
    bool paused;               /* by net_listener_pause() */
    bool starved;              /* accept(2) fails, and has not said EAGAIN since; logged once */
    int port;                  /* bound port, 0 where there is none */
    bool edge;                 /* NET_EDGE */
    bool defers;               /* NET_DEFER */
    bool keeps_alive;          /* net_listener_set_keepalive() has set its options */
    bool shares_port;          /* sockets of its own kind may be bound beside it (SO_REUSEPORT) */
    bool is_own;               /* no other listener, and no other program, has a part in the socket */
    bool is_handed;            /* another program has handed the socket over (net_handed.h) */
    bool lives_on;             /* another program uses the socket from now on: net_listener_leave() */
    char name[NET_TEXT_MAX];   /* the bound address as text */
    char wanted[NET_TEXT_MAX]; /* the address that it was opened for, as text: with port 0, "fd:3" */
    struct net_unix_file file;
};

/* Bind, listen and register with the reactor. flags is a set of NET_EDGE, NET_SHARED and NET_DEFER. IPv4 and IPv6
 * sockets get SO_REUSEADDR and TCP_NODELAY, which accepted sockets inherit. The file of a unix socket on which no
 * process listens any more is replaced; if other servers are opening sockets in its folder, this waits for them, a
 * second at most. An inherited fd is duplicated and made non-blocking, and so is handed_fd, which otherwise becomes
 * like a socket that was opened here: the file of a unix socket is this listener's to remove. Returns 0, or -errno with
 * a text in err that names the address, and nothing left behind. The listener must not move while it is open. */
int net_listener_open(struct net_listener *listener, struct reactor *reactor, const struct net_address *address,
                      unsigned flags, net_accept_fn on_accept, void *arg, const struct log *log, char *err,
                      size_t errlen);

/* Open one more listener where first listens, for another reactor, usually on another thread. first must be open and
 * NET_SHARED. On an IPv4 or IPv6 address the new listener gets a socket of its own, and the kernel spreads connections
 * over them (SO_REUSEPORT). A unix or inherited socket is duplicated, and whichever thread comes first accepts a
 * connection. The file of a unix socket stays first's to remove. handed_fd above 0 is duplicated instead: a socket
 * beside that of first (net_handed_take_twin()). Returns as net_listener_open() does. */
int net_listener_join(struct net_listener *listener, struct reactor *reactor, const struct net_listener *first,
                      int handed_fd, net_accept_fn on_accept, void *arg, const struct log *log, char *err,
                      size_t errlen);

/* For the connections that are accepted from now on, which inherit it (tcp(7)): after idle_ms without a byte from the
 * peer the kernel probes it, four times in as much time again, and ends the connection if it does not respond. And it
 * ends a connection whose peer has taken no byte for give_up_ms, even if it does respond (TCP_USER_TIMEOUT). idle_ms 0:
 * neither. A unix socket has no such options and is left alone. */
void net_listener_set_keepalive(struct net_listener *listener, uint64_t idle_ms, uint64_t give_up_ms);

/* Stop accepting for now, while the kernel goes on queueing connections; and accept again. */
void net_listener_pause(struct net_listener *listener);
void net_listener_resume(struct net_listener *listener);

/* Accept what the kernel has queued, at most NET_BACKLOG (net_socket.h) connections, then close. So peers that are
 * connected already are not reset. */
void net_listener_finish(struct net_listener *listener);

/* In a process forked from the listener's: close its fds, and leave everything else as it is. */
void net_listener_abandon(struct net_listener *listener);

/* Another program uses the socket from now on: net_listener_close() then neither shuts it down nor removes its file. */
void net_listener_leave(struct net_listener *listener);

/* Stop for good. Removes the file of a unix socket, unless a successor has replaced it. A listener that is closed, or
 * zeroed with fd -1, is left alone. May be called inside on_accept if the listener's memory outlasts the callback. */
void net_listener_close(struct net_listener *listener);

#endif
