/* Happy path: a socket gets its options, is bound and listens; or one that another program has opened is duplicated.
 *
 * Failure modes: whatever the kernel refuses is returned, with nothing left behind: no fd, and no file of a unix
 * socket. net_socket_error() has the words for it. */

#include "core/net_socket.h"

#include "core/log.h"
#include "core/net_address.h"
#include "core/net_unix.h"
#include "core/sys.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

static bool is_any_address(const struct net_address *address)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->socket;
    return in6->sin6_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
}

/* ":PORT" means every address. A machine without IPv6 gets the IPv4 half. */
static int open_family(struct net_address *address)
{
    int fd = sys_socket(address->socket.ss_family);
    if (fd != -EAFNOSUPPORT || !is_any_address(address)) {
        return fd;
    }
    in_port_t port = ((const struct sockaddr_in6 *)&address->socket)->sin6_port;
    *(struct sockaddr_in *)&address->socket = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
    address->len = (socklen_t)sizeof(struct sockaddr_in);
    return sys_socket(AF_INET);
}

static int set_options(int fd, const struct net_address *address)
{
    if (address->socket.ss_family == AF_UNIX) {
        return 0;
    }
    int rv = sys_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    rv = rv < 0 ? rv : sys_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (rv == 0 && is_any_address(address)) {
        rv = sys_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0); /* net.ipv6.bindv6only may say otherwise */
    }
    return rv;
}

/* The first of several listeners may share its port only after it is bound. So an address that another server has is
 * refused, even if that server shares it too; otherwise each would silently get half of the connections. */
static int bind_and_listen(int fd, const struct net_address *address, bool shares_port, struct net_unix_file *file)
{
    int rv = sys_bind(fd, (const struct sockaddr *)&address->socket, address->len);
    if (rv < 0) {
        return rv;
    }
    rv = shares_port ? sys_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) : 0;
    if (address->socket.ss_family == AF_UNIX && !net_unix_is_abstract(address)) {
        rv = net_unix_note(file, fd, address);
    }
    rv = rv < 0 ? rv : sys_listen(fd, NET_BACKLOG);
    if (rv < 0) {
        net_unix_remove(file);
    }
    return rv;
}

static int open_bound(struct net_address *address, bool shares_port, struct net_unix_file *file)
{
    int fd = open_family(address);
    if (fd < 0) {
        return fd;
    }
    int rv = set_options(fd, address);
    rv = rv < 0 ? rv : bind_and_listen(fd, address, shares_port, file);
    if (rv < 0) {
        sys_close(fd);
        return rv;
    }
    return fd;
}

/* A bound and listening socket for address, or -errno. */
static int open_socket(struct net_address *address, bool shares_port, struct net_unix_file *file)
{
    if (address->socket.ss_family != AF_UNIX || net_unix_is_abstract(address)) {
        return open_bound(address, shares_port, file);
    }
    int lock = net_unix_lock(address);
    net_unix_remove_stale(address);
    int fd = open_bound(address, shares_port, file);
    if (lock >= 0) {
        sys_close(lock);
    }
    return fd;
}

int net_socket_open_beside(int fd_of_first)
{
    struct net_address address = {.len = sizeof address.socket, .inherited_fd = -1, .mode = -1};
    struct net_unix_file none = {.path = ""}; /* only ports are shared in this way */
    int rv = sys_socket_name(fd_of_first, (struct sockaddr *)&address.socket, &address.len);
    int fd = rv < 0 ? rv : sys_socket(address.socket.ss_family);
    if (fd < 0) {
        return fd;
    }
    rv = set_options(fd, &address);
    rv = rv < 0 ? rv : sys_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    rv = rv < 0 ? rv : bind_and_listen(fd, &address, false, &none);
    if (rv < 0) {
        sys_close(fd);
        return rv;
    }
    return fd;
}

int net_socket_adopt(int inherited_fd)
{
    int listening = sys_get_option(inherited_fd, SOL_SOCKET, SO_ACCEPTCONN);
    if (listening <= 0) {
        return listening < 0 ? listening : -EINVAL;
    }
    int fd = sys_duplicate(inherited_fd);
    if (fd < 0) {
        return fd;
    }
    int rv = sys_set_nonblocking(fd);
    if (rv < 0) {
        sys_close(fd);
        return rv;
    }
    sys_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* a unix socket has none and says so */
    return fd;
}

/* Take over a socket that another program has handed over: it must listen where the address says. */
static int adopt_handed(const struct net_address *address, struct net_unix_file *file)
{
    char wanted[NET_TEXT_MAX], bound[NET_TEXT_MAX];
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    const struct sockaddr *at = (const struct sockaddr *)&address->socket;
    bool is_unix = at->sa_family == AF_UNIX;
    int rv = sys_socket_name(address->handed_fd, (struct sockaddr *)&name, &len);
    if (rv < 0) {
        return rv;
    }
    net_address_format(at, address->len, wanted);
    net_address_format((const struct sockaddr *)&name, len, bound);
    bool is_loose = is_any_address(address) || (!is_unix && net_port(at) == 0); /* IPv4 alone; the kernel's choice */
    if (!is_loose && strcmp(wanted, bound) != 0) {
        return -EDESTADDRREQ;
    }
    int fd = net_socket_adopt(address->handed_fd);
    if (fd >= 0 && is_unix && !net_unix_is_abstract(address)) {
        (void)net_unix_note(file, fd, address); /* if the file has gone, there is none to remove */
    }
    return fd;
}

int net_socket_open(const struct net_address *address, bool shares_port, struct net_unix_file *file)
{
    if (address->inherited_fd >= 0) {
        return net_socket_adopt(address->inherited_fd);
    }
    struct net_address own = *address;
    if (address->handed_fd <= 0) {
        return open_socket(&own, shares_port, file);
    }
    int fd = adopt_handed(address, file);
    int rv = fd < 0 || !shares_port ? 0 : sys_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (rv < 0) {
        net_unix_abandon(file);
        sys_close(fd);
    }
    return rv < 0 ? rv : fd;
}

/* Whether an address is every address of its family. */
static bool is_wildcard(const struct net_address *address)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address->socket;
    return is_any_address(address) ||
           (address->socket.ss_family == AF_INET && in->sin_addr.s_addr == htonl(INADDR_ANY));
}

const char *net_socket_error(int error, const struct net_address *address)
{
    bool inherited = address->inherited_fd >= 0 || address->handed_fd > 0;
    bool is_unix = !inherited && address->socket.ss_family == AF_UNIX && !net_unix_is_abstract(address);
    bool is_ip = !inherited && address->socket.ss_family != AF_UNIX;
    switch (-error) {
    case EADDRINUSE:
        return is_unix && !net_unix_is_socket(net_unix_path(address))
                   ? "a file that is not a socket exists there; it is left alone"
               : is_ip && is_wildcard(address)
                   ? "address already in use (\":PORT\" and \"[::]:PORT\" serve IPv4, too, without "
                     "\"0.0.0.0:PORT\" beside them)"
               : is_unix
                   ? "address already in use: if a server listens there, stop it first, or move its socket file away"
                   : "address already in use";
    case ESTALE:
        return is_unix ? "the socket's file has been replaced" : errno_text(-error);
    case ENOENT:
        return is_unix ? "no such directory" : errno_text(-error);
    case EADDRNOTAVAIL:
        return "no such address on this machine";
    case EACCES:
        return is_ip ? "permission denied (ports below 1024 need privileges)" : "permission denied";
    case EINVAL:
    case ENOTSOCK:
        return inherited ? "not a listening socket" : errno_text(-error);
    case EDESTADDRREQ:
        return "the socket that was handed over for it listens elsewhere";
    default:
        return errno_text(-error);
    }
}
