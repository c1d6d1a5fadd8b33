/* Addresses to listen on are parsed here rather than by getaddrinfo(3), which may ask a resolver. */

#include "core/net_address.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

/* A decimal number of at most max, the whole of text, which has len bytes; -1 for anything else. */
static long parse_number(const char *text, size_t len, long max)
{
    uint64_t value;
    return ascii_parse_number(text, len, (uint64_t)max, &value) ? (long)value : -1;
}

/* Permissions in octal digits, 0 to 0777, the whole of text, which has len bytes; -1 for anything else. */
static int parse_mode(const char *text, size_t len)
{
    int mode = 0;
    for (size_t i = 0; i < len && len <= 4; i++) {
        if (text[i] < '0' || text[i] > '7') {
            return -1;
        }
        mode = mode * 8 + (text[i] - '0');
    }
    return len == 0 || len > 4 || mode > 0777 ? -1 : mode;
}

/* Whether an option of len bytes is that of this name, without a value. */
static bool is_bare_option(const char *option, size_t len, const char *name)
{
    return len == strlen(name) && memcmp(option, name, len) == 0;
}

static int parse_mode_option(struct net_address *address, const char *text, const char *value, size_t len, char *err,
                             size_t errlen)
{
    if (strncmp(text, "unix:", 5) != 0) {
        return error_text(err, errlen, -EINVAL,
                          "listen address \"%s\": the option \"mode\" is for unix: addresses, which have a file", text);
    }
    address->mode = parse_mode(value, len);
    return address->mode >= 0
               ? 0
               : error_text(err, errlen, -EINVAL,
                            "listen address \"%s\": the mode must be octal permissions, as in ?mode=660", text);
}

/* The port of redirect_https=443; without a value, len is 0. */
static int parse_redirect_option(struct net_address *address, const char *text, const char *value, size_t len,
                                 bool has_value, char *err, size_t errlen)
{
    long port = has_value ? parse_number(value, len, UINT16_MAX) : 0;
    if (has_value && port <= 0) {
        return error_text(err, errlen, -EINVAL,
                          "listen address \"%s\": the port to redirect to must be 1 to 65535, as in "
                          "?redirect_https=443",
                          text);
    }
    address->redirects = true;
    address->redirect_port = (uint16_t)port;
    return 0;
}

/* Take one option of an address, len bytes at option. text is the whole address, for errors. */
static int parse_option(struct net_address *address, const char *text, const char *option, size_t len, char *err,
                        size_t errlen)
{
    static const char mode[] = "mode=", redirect[] = "redirect_https=";
    const size_t mode_len = sizeof mode - 1, redirect_len = sizeof redirect - 1;
    bool has_odd_value = strncmp(option, "tls=", 4) == 0 || strncmp(option, "proxy=", 6) == 0;
    const size_t name_len = has_odd_value ? len : strcspn(option, "=&");
    bool is_tls = is_bare_option(option, len, "tls");
    bool is_proxy = is_bare_option(option, len, "proxy");
    bool is_mode = strncmp(option, mode, mode_len) == 0;
    bool has_port = strncmp(option, redirect, redirect_len) == 0;
    bool is_redirect = has_port || is_bare_option(option, len, "redirect_https");
    if ((is_tls && address->tls) || (is_proxy && address->proxy) || (is_mode && address->mode >= 0) ||
        (is_redirect && address->redirects)) {
        return error_text(err, errlen, -EINVAL, "listen address \"%s\": the option \"%.*s\" occurs twice", text,
                          (int)name_len, option);
    }
    if (is_tls) {
        address->tls = true;
        return 0;
    }
    if (is_proxy) {
        address->proxy = true;
        return 0;
    }
    if (is_redirect) {
        const size_t skipped = has_port ? redirect_len : len;
        return parse_redirect_option(address, text, option + skipped, len - skipped, has_port, err, errlen);
    }
    if (is_mode) {
        return parse_mode_option(address, text, option + mode_len, len - mode_len, err, errlen);
    }
    return error_text(err, errlen, -EINVAL,
                      "listen address \"%s\": unknown option \"%.*s\": there are ?tls, ?proxy, ?redirect_https, and "
                      "?mode=660 of a unix: address; \"&\" joins them",
                      text, (int)name_len, option);
}

/* Take the options, which begin behind the "?". */
static int parse_options(struct net_address *address, const char *text, const char *options, char *err, size_t errlen)
{
    for (;;) {
        size_t len = strcspn(options, "&");
        int rv = parse_option(address, text, options, len, err, errlen);
        if (rv < 0) {
            return rv;
        }
        if (options[len] == '\0') {
            break;
        }
        options += len + 1;
    }
    return !address->tls || !address->redirects
               ? 0
               : error_text(err, errlen, -EINVAL,
                            "listen address \"%s\": the options \"tls\" and \"redirect_https\" contradict each other: "
                            "the address that redirects to HTTPS is one without TLS",
                            text);
}

/* "@" and a name of len bytes in all: a zero byte stands for the "@", and the length says where the name ends. */
static int parse_abstract(struct net_address *address, const char *name, size_t len, char *err, size_t errlen)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&address->socket;
    if (len == 1) {
        return error_text(err, errlen, -EINVAL, "listen address \"unix:%s\": \"@\" must be followed by a name", name);
    }
    if (address->mode >= 0) {
        return error_text(
            err, errlen, -EINVAL,
            "listen address \"unix:%s\": an abstract socket has no file, and therefore no mode: every process "
            "of the network namespace can connect",
            name);
    }
    un->sun_path[0] = '\0';
    address->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return 0;
}

/* A path of len bytes; options follow it. */
static int parse_unix(struct net_address *address, const char *path, size_t len, char *err, size_t errlen)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&address->socket;
    if (len == 0 || len >= sizeof un->sun_path) {
        return error_text(err, errlen, -EINVAL, "listen address \"unix:%s\": the path must have 1 to %zu bytes", path,
                          sizeof un->sun_path - 1);
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, len);
    address->len = (socklen_t)sizeof *un;
    return path[0] == '@' ? parse_abstract(address, path, len, err, errlen) : 0;
}

/* Fill in host and port; host is what stood before the last colon, without brackets. */
static bool parse_ip(struct net_address *address, const char *host, bool bracketed, long port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&address->socket;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address->socket;
    if (host[0] == '\0' && !bracketed) {
        *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        address->len = (socklen_t)sizeof *in6;
        return true;
    }
    if (bracketed) {
        *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        address->len = (socklen_t)sizeof *in6;
        return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1;
    }
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address->len = (socklen_t)sizeof *in;
    return inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &in->sin_addr) == 1;
}

/* HOST:PORT, len bytes. */
static int parse_host_port(struct net_address *address, const char *text, size_t len, char *err, size_t errlen)
{
    char host[INET6_ADDRSTRLEN + 1] = "";
    const char *colon = memrchr(text, ':', len);
    bool bracketed = text[0] == '[' && colon != NULL && colon > text + 1 && colon[-1] == ']';
    const char *start = bracketed ? text + 1 : text;
    const char *end = bracketed ? colon - 1 : colon;
    long port = colon == NULL ? -1 : parse_number(colon + 1, (size_t)(text + len - colon - 1), UINT16_MAX);
    if (port < 0) {
        return error_text(
            err, errlen, -EINVAL,
            "listen address \"%s\": expected HOST:PORT with a port from 0 to 65535, unix:PATH, unix:@NAME or fd:N",
            text);
    }
    if ((size_t)(end - start) < sizeof host) {
        memcpy(host, start, (size_t)(end - start));
        if (parse_ip(address, host, bracketed, port)) {
            return 0;
        }
    }
    return error_text(
        err, errlen, -EINVAL,
        "listen address \"%s\": the host must be an IPv4 address, an IPv6 address in brackets, or localhost", text);
}

int net_address_parse(struct net_address *address, const char *text, char *err, size_t errlen)
{
    *address = (struct net_address){.inherited_fd = -1, .mode = -1};
    size_t len = strcspn(text, "?");
    int rv = text[len] == '\0' ? 0 : parse_options(address, text, text + len + 1, err, errlen);
    if (rv < 0) {
        return rv;
    }
    if (strncmp(text, "unix:", 5) == 0) {
        return parse_unix(address, text + 5, len - 5, err, errlen);
    }
    if (strncmp(text, "fd:", 3) == 0) {
        long fd = parse_number(text + 3, len - 3, INT32_MAX);
        if (fd < 0) {
            return error_text(err, errlen, -EINVAL,
                              "listen address \"%s\": fd: must be followed by a number, as in fd:3", text);
        }
        address->inherited_fd = (int)fd;
        return 0;
    }
    return parse_host_port(address, text, len, err, errlen);
}

void net_address_format(const struct sockaddr *address, socklen_t len, char text[NET_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, NET_TEXT_MAX, "%s:%u", host, ntohs(in->sin_port));
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(text, NET_TEXT_MAX, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else if (address->sa_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)address;
        size_t max = len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;
        bool is_abstract = max > 1 && un->sun_path[0] == '\0';
        snprintf(text, NET_TEXT_MAX, "unix:%s%.*s", is_abstract ? "@" : "", (int)max - is_abstract,
                 un->sun_path + is_abstract);
    } else {
        snprintf(text, NET_TEXT_MAX, "?");
    }
}

int net_port(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        return ntohs(in->sin_port);
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        return ntohs(in6->sin6_port);
    }
    return 0;
}

bool net_address_is_local(const struct net_address *address)
{
    struct sockaddr_storage name = address->socket;
    socklen_t len = sizeof name;
    if (address->inherited_fd >= 0 && sys_socket_name(address->inherited_fd, (struct sockaddr *)&name, &len) < 0) {
        return false;
    }
    if (name.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &name, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (name.ss_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, &name, sizeof in);
        return IN6_IS_ADDR_LOOPBACK(&in.sin6_addr);
    }
    return name.ss_family == AF_UNIX;
}
