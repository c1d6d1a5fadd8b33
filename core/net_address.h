#ifndef EVSERVE_CORE_NET_ADDRESS_H
#define EVSERVE_CORE_NET_ADDRESS_H

/* Addresses to listen on, as text and as the kernel has them. core/net.h includes this. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

enum { NET_TEXT_MAX = 128 }; /* bytes of an address as text, including its NUL */

/* Where to listen, parsed from text. */
struct net_address {
    struct sockaddr_storage socket; /* for family AF_INET, AF_INET6, AF_UNIX */
    socklen_t len;                  /* of socket */
    int inherited_fd;               /* of "fd:N", else -1 */
    int handed_fd;                  /* above 0: a socket that listens there already (net_handed.h); parsing sets 0 */
    int mode;                       /* permissions of a unix socket's file, -1 for what the umask leaves */
    uint16_t redirect_port;         /* of ?redirect_https=443; 0: that of the TLS listener */
    bool tls;                       /* ?tls: its connections speak TLS */
    bool proxy;                     /* ?proxy: its connections begin with a header of the PROXY protocol */
    bool redirects;                 /* ?redirect_https: all requests are sent on to HTTPS */
};

/* Parse an address:
 *
 *   127.0.0.1:8080, [::1]:8080, localhost:8080
 *   :8080                      every address, IPv4 and IPv6
 *   unix:/run/x.sock           the file gets the permissions that the umask leaves
 *   unix:/run/x.sock?mode=660  the file gets these permissions, in octal
 *   unix:@x                    an abstract socket (unix(7)); a file of that name is unix:./@x
 *   fd:3                       a listening socket that this process inherited
 *   :443?tls                   behind any address: TLS
 *   127.0.0.1:8081?proxy       behind any address: the PROXY protocol, required
 *   :80?redirect_https         behind any address: requests are redirected to the first TLS listener
 *   :80?redirect_https=443     the same, with another port
 *
 * "&" joins options: unix:/run/x.sock?tls&mode=660.
 *
 * The first '?' begins the options, in a path too. Port 0 lets the kernel choose. Names other than localhost are
 * rejected, because a server that starts must not wait for a resolver. Returns 0, or -EINVAL with a text in err. */
int net_address_parse(struct net_address *address, const char *text, char *err, size_t errlen);

/* Write an address as text, in the form that net_address_parse() reads. */
void net_address_format(const struct sockaddr *address, socklen_t len, char text[NET_TEXT_MAX]);

/* Whether only processes of this machine can connect: a loopback address, or a unix socket. */
bool net_address_is_local(const struct net_address *address);

/* The port of an address, 0 where there is none. */
int net_port(const struct sockaddr *address);

/* The file that bind(2) has made for a unix socket (net_unix.h). */
struct net_unix_file {
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* empty: there is none to remove */
    int base_fd;                                            /* where a relative path starts; else 0 */
    dev_t device;                                           /* which file it is, whatever path leads to by now */
    ino_t inode;
};

#endif
