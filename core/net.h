#ifndef EVSERVE_CORE_NET_H
#define EVSERVE_CORE_NET_H

/* Addresses, and listeners that accept within a budget and survive running out of file descriptors. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct log;
struct reactor;

enum {
    NET_TEXT_MAX = 128,     /* bytes of an address as text, its NUL included */
    NET_BACKLOG = 4096,     /* asked of listen(2); the kernel takes at most net.core.somaxconn */
    NET_ACCEPT_BUDGET = 64, /* connections accepted in one callback (R6) */
    NET_ACCEPT_MS = 10,     /* after which no further one is accepted in it: what is done with them takes long (R6) */
    NET_SILENT_S = 1,       /* how long NET_DEFER leaves a peer that sends nothing to the kernel */
    NET_PAUSE_MS = 100,     /* how long a listener rests when not even its reserve fd can be had again */
};

/* How a listener is opened. */
enum {
    NET_EDGE = 1 << 0,   /* edge-triggered: accepts until EAGAIN, a budget at a time */
    NET_SHARED = 1 << 1, /* others will join it (net_listener_join()) */
    NET_DEFER = 1 << 2,  /* where the client speaks first: TCP_DEFER_ACCEPT, so that a peer is accepted with its first
                            bytes, or when it has been silent for NET_SILENT_S; unix and inherited sockets without */
};

/* Where to listen, parsed from text. */
struct net_address {
    struct sockaddr_storage socket; /* for family AF_INET, AF_INET6, AF_UNIX */
    socklen_t len;                  /* of socket */
    int inherited_fd;               /* of "fd:N", else -1 */
    int mode;                       /* permissions of a unix socket's file, -1 for what the umask leaves */
};

/* Parse "127.0.0.1:8080", "[::1]:8080", "localhost:8080", ":8080" (every address, IPv4 and IPv6), "unix:/run/x.sock",
 * "unix:/run/x.sock?mode=660" (the file's permissions, octal; else what the umask leaves), "unix:@x" (an abstract
 * socket, unix(7); a file of that name is "unix:./@x") or "fd:3" (a listening socket
 * that this process inherited). What follows the first "?" of a unix: address is an option, and another one than mode is
 * refused. Port 0 lets the kernel choose. Names other than localhost
 * are refused: a server that starts must not wait for a resolver. Returns 0, or -EINVAL with a text in err. */
int net_address_parse(struct net_address *address, const char *text, char *err, size_t errlen);

/* Write an address as text, in the form that net_address_parse() reads. */
void net_address_format(const struct sockaddr *address, socklen_t len, char text[NET_TEXT_MAX]);

/* The port of an address, 0 where there is none. */
int net_port(const struct sockaddr *address);

/* Called for each connection; fd is non-blocking, close-on-exec, and the callee's to close. */
typedef void (*net_accept_fn)(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_len);

/* The file that bind(2) has made for a unix socket. */
struct net_unix_file {
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* empty: there is none to remove */
    int base_fd;                                            /* where a relative path starts; else 0 */
    dev_t device;                                           /* which file it is, whatever path leads to by now */
    ino_t inode;
};

struct net_listener {
    struct reactor *reactor; /* who calls on_readable */
    const struct log *log;   /* borrowed; may be NULL */
    net_accept_fn on_accept; /* gets each connection */
    void *arg;               /* handed to on_accept */
    /* May be set once it is open, NULL at first; with arg. The first is called when there is no fd for a connection, and
     * says whether it has closed one; the second gets the connection that is turned away for want of fds: it may send
     * something, and closes fd before it returns. */
    bool (*on_starved)(void *arg);
    void (*on_turned_away)(void *arg, int fd);
    int fd;                  /* the listening socket, -1 when closed */
    int reserve_fd;          /* given up for a moment to turn a peer away when no fds are left; negative when lost */
    uint64_t pause_timer;    /* set while the listener rests, else 0 */
    bool paused;             /* by net_listener_pause() */
    bool starved;            /* accept(2) fails, and has not said EAGAIN since; logged once */
    int port;                /* bound port, 0 where there is none */
    bool edge;               /* NET_EDGE */
    bool defers;             /* NET_DEFER */
    bool keeps_alive;        /* net_listener_set_keepalive() has set its options */
    bool shares_port;        /* sockets of its own kind may be bound beside it (SO_REUSEPORT) */
    bool is_own;             /* no other listener, and no other program, has a part in the socket */
    char name[NET_TEXT_MAX]; /* the bound address as text */
    struct net_unix_file file;
};

/* Bind, listen and register with the reactor. IPv4 and IPv6 sockets get SO_REUSEADDR and TCP_NODELAY, which accepted
 * sockets inherit; a unix socket file that nobody listens on any more is replaced, and while other servers open sockets
 * in its folder, this waits for them, a second at most; an inherited fd is duplicated and made non-blocking. flags is a
 * set of NET_EDGE, NET_SHARED and NET_DEFER. Returns 0, or -errno with a text in err that names the address, and nothing
 * left behind. The listener must not move while it is open. */
int net_listener_open(struct net_listener *listener, struct reactor *reactor, const struct net_address *address,
                      unsigned flags, net_accept_fn on_accept, void *arg, const struct log *log, char *err,
                      size_t errlen);

/* Open one more listener where first listens, which is open and NET_SHARED, for another reactor, on another thread as a
 * rule: of an IPv4 or IPv6 address it gets a socket of its own, and the kernel spreads connections over them
 * (SO_REUSEPORT); a unix socket or an inherited one is duplicated, and who comes first accepts. The file of a unix
 * socket stays first's to remove. Returns as net_listener_open(). */
int net_listener_join(struct net_listener *listener, struct reactor *reactor, const struct net_listener *first,
                      net_accept_fn on_accept, void *arg, const struct log *log, char *err, size_t errlen);

/* Of the connections that are accepted from now on, which inherit it (tcp(7)): after idle_ms without a byte from the peer
 * the kernel asks whether it is there, four times in as much time again, and ends the connection when nothing comes; and it
 * gives up bytes that the peer has not taken for give_up_ms (TCP_USER_TIMEOUT, which also ends a wait for a peer that
 * answers and takes nothing). idle_ms 0: neither. A unix socket has no such thing, and is left alone. */
void net_listener_set_keepalive(struct net_listener *listener, uint64_t idle_ms, uint64_t give_up_ms);

/* Stop accepting for now (the kernel goes on queueing connections), and go on. */
void net_listener_pause(struct net_listener *listener);
void net_listener_resume(struct net_listener *listener);

/* Accept what the kernel has queued, at most NET_BACKLOG connections, then close: peers that are connected already are
 * not reset. */
void net_listener_finish(struct net_listener *listener);

/* In a process forked from the listener's: close its fds, and leave everything else as it is. */
void net_listener_abandon(struct net_listener *listener);

/* Stop for good; removes the file of a unix socket, unless a successor has replaced it. A listener that is closed, or
 * zeroed with fd -1, is left alone. Inside on_accept too, but then the listener's memory must outlast the callback. */
void net_listener_close(struct net_listener *listener);

#endif
