/* Happy path: a list is parsed into rules; a destination is compared with each of them.
 *
 * Failure modes: an entry that is not understood, or one too many, is an error text. */

#include "core/destinations.h"

#include "core/address_form.h"
#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/net_address.h"
#include "core/network.h"
#include "core/sys_names.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

enum { NAME_SHOWN_MAX = 128 }; /* bytes of a name in a text */

enum rule_kind { RULE_PRIVATE, RULE_NETWORK, RULE_NAME, RULE_DOMAIN, RULE_LOOPBACK, RULE_EVERY_HOST, RULE_UNIX };

struct destination_rule {
    uint8_t kind;      /* enum rule_kind */
    bool is_exception; /* of what is denied */
    uint16_t port;     /* 0: every port */
    struct network network;
    const char *text;  /* name, domain or path; in the list's entries */
    const char *entry; /* as it was written, likewise */
};

struct destinations {
    unsigned count;
    struct destination_rule rules[DESTINATIONS_MAX];
    char *entries; /* behind text: each with a NUL */
    char text[];   /* as it was written */
};

/* Parsing. */

static int refuse_entry(const char *entry, const char *what, char *err, size_t errlen)
{
    bool is_list = strchr(entry, ' ') != NULL; /* whatever else is wrong with it */
    return error_text(err, errlen, -EINVAL, "\"%s\": %s", entry, is_list ? "entries are separated by commas" : what);
}

static bool is_name_of_host(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= NAME_LEN_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == len;
}

/* Take the port from the end of host, "example.org:443". Returns 0, 1 if there is none, or -EINVAL. */
static int take_port(char *host, uint16_t *port)
{
    char *colon = strrchr(host, ':');
    uint64_t number = 0;
    if (colon == NULL || (host[0] == '[' && colon[-1] != ']') || (host[0] != '[' && strchr(host, ':') != colon)) {
        return 1;
    }
    *colon++ = '\0';
    if (strcmp(colon, "*") != 0 && (!ascii_parse_number(colon, strlen(colon), UINT16_MAX, &number) || number == 0)) {
        return -EINVAL;
    }
    *port = (uint16_t)number;
    return 0;
}

/* Read the host of an entry, which was cut down to it. */
static int parse_rule_host(struct destination_rule *rule, char *host, char *err, size_t errlen)
{
    size_t len = strlen(host);
    rule->text = host;
    if (strcmp(host, "*") == 0) {
        rule->kind = RULE_EVERY_HOST;
    } else if (ascii_is(host, len, "localhost")) {
        rule->kind = RULE_LOOPBACK;
    } else if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        rule->kind = RULE_NETWORK;
        return network_parse(&rule->network, host + 1, err, errlen);
    } else if (strspn(host, "0123456789./") == len || strpbrk(host, ":/") != NULL) {
        rule->kind = RULE_NETWORK;
        return network_parse(&rule->network, host, err, errlen);
    } else if (strncmp(host, "*.", 2) == 0 && is_name_of_host(host + 2)) {
        rule->kind = RULE_DOMAIN;
        rule->text++;
    } else if (is_name_of_host(host)) {
        rule->kind = RULE_NAME;
    } else {
        return refuse_entry(rule->entry, "a name of a host has letters, digits, \"-\" and \".\"", err, errlen);
    }
    return 0;
}

static bool parse_rule_unix(struct destination_rule *rule, char *host)
{
    rule->kind = RULE_UNIX;
    rule->text = host + strlen("unix:");
    return strncmp(host, "unix:", strlen("unix:")) == 0;
}

/* Read an entry, of which host is a copy. */
static int parse_denied_rule(struct destination_rule *rule, char *host, char *err, size_t errlen)
{
    if (strcmp(host, "private") == 0) {
        rule->kind = RULE_PRIVATE;
        return 0;
    }
    rule->is_exception = host[0] == '!';
    host += rule->is_exception;
    if (parse_rule_unix(rule, host)) {
        return 0;
    }
    if (take_port(host, &rule->port) < 0) {
        return refuse_entry(rule->entry, "the port must be 1 to 65535", err, errlen);
    }
    int rv = parse_rule_host(rule, host, err, errlen);
    if (rv == 0 && !rule->is_exception && rule->kind != RULE_NETWORK && rule->kind != RULE_LOOPBACK) {
        return refuse_entry(rule->entry,
                            "a name cannot be denied, since its addresses would still be reached by other names: "
                            "deny \"private\", an address or a network",
                            err, errlen);
    }
    return rv;
}

static int parse_allowed_rule(struct destination_rule *rule, char *host, char *err, size_t errlen)
{
    if (parse_rule_unix(rule, host)) {
        return 0;
    }
    int rv = take_port(host, &rule->port);
    if (rv != 0) {
        return refuse_entry(rule->entry,
                            rv < 0 ? "the port must be 1 to 65535, or * for every port"
                                   : "expected HOST:PORT, [ADDRESS]:PORT for IPv6, or unix:PATH",
                            err, errlen);
    }
    return parse_rule_host(rule, host, err, errlen);
}

typedef int (*rule_parser_fn)(struct destination_rule *rule, char *host, char *err, size_t errlen);

/* Read the entries of text. entries has room for each of them twice, with their NULs. */
static int parse_destinations(struct destinations *list, rule_parser_fn parse, char *err, size_t errlen)
{
    const char *rest = list->text;
    char *end = list->entries;
    int rv = 0;
    while (rv == 0 && (rest[0] != '\0' || (rest > list->text && rest[-1] == ','))) {
        size_t len;
        const char *begin = network_next_part(&rest, &len);
        if (len == 0) {
            return error_text(err, errlen, -EINVAL, "an entry is missing in \"%.200s\"", list->text);
        }
        if (len > DESTINATIONS_ENTRY_MAX) {
            return error_text(err, errlen, -EINVAL, "\"%.80s...\" is longer than %d bytes", begin,
                              DESTINATIONS_ENTRY_MAX);
        }
        char *entry = end, *host = end + len + 1;
        end = host + len + 1;
        memcpy(entry, begin, len);
        memcpy(host, begin, len);
        if (list->count == DESTINATIONS_MAX) {
            return error_text(err, errlen, -EINVAL, "\"%s\" is one too many: at most %d entries", entry,
                              DESTINATIONS_MAX);
        }
        struct destination_rule *rule = &list->rules[list->count++];
        rule->entry = entry;
        rv = parse(rule, host, err, errlen);
    }
    return rv;
}

static int make_destinations(struct destinations **made, const char *text, rule_parser_fn parse, char *err,
                             size_t errlen)
{
    size_t len = strlen(text);
    *made = NULL;
    /* Behind the text each entry is there twice, with a NUL in place of its comma. */
    struct destinations *list = mem_zalloc(sizeof *list + 3 * (len + 1));
    if (list == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    memcpy(list->text, text, len + 1);
    list->entries = list->text + len + 1;
    int rv = parse_destinations(list, parse, err, errlen);
    if (rv < 0) {
        mem_free(list);
        return rv;
    }
    *made = list;
    return 0;
}

int destinations_parse_denied(struct destinations **made, const char *text, char *err, size_t errlen)
{
    *made = NULL;
    if (text[0] == '\0') {
        return error_text(err, errlen, -EINVAL, "the list is empty: write \"none\" to deny nothing");
    }
    return strcmp(text, "none") == 0 ? 0 : make_destinations(made, text, parse_denied_rule, err, errlen);
}

int destinations_parse_allowed(struct destinations **made, const char *text, char *err, size_t errlen)
{
    return make_destinations(made, text, parse_allowed_rule, err, errlen);
}

void destinations_destroy(struct destinations *list)
{
    mem_free(list);
}

const char *destinations_text(const struct destinations *list)
{
    return list->text;
}

/* Matching. */

/* Bytes of a name without the dot at its end. */
static size_t name_len(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && name[len - 1] == '.' ? len - 1 : len;
}

static bool names_are_equal(const char *one, const char *other)
{
    size_t len = name_len(one);
    return len == name_len(other) && ascii_equals(one, other, len);
}

/* Whether name ends in domain, ".example.org", and has more. */
static bool name_ends_in(const char *name, const char *domain)
{
    size_t len = name_len(name), end = name_len(domain);
    return len > end && ascii_equals(name + len - end, domain, end);
}

/* Whether a unix socket's address has a path as entries write it; an empty one is that of each. */
static bool has_path(const struct destination *to, const char *path)
{
    struct sockaddr_un socket = {.sun_family = AF_UNIX};
    const size_t at = offsetof(struct sockaddr_un, sun_path);
    size_t len = strlen(path);
    size_t have = to->len > at ? to->len - at : 0;
    if (len == 0) {
        return true;
    }
    memcpy(&socket, to->address, to->len < sizeof socket ? to->len : sizeof socket);
    if (path[0] == '@') {
        return have == len && socket.sun_path[0] == '\0' && memcmp(socket.sun_path + 1, path + 1, len - 1) == 0;
    }
    return have > 0 && strnlen(socket.sun_path, have) == len && memcmp(socket.sun_path, path, len) == 0;
}

static uint16_t port_of(const struct destination *to)
{
    struct sockaddr_in6 ipv6;
    struct sockaddr_in ipv4;
    if (to->address == NULL) {
        return to->port;
    }
    if (to->address->sa_family == AF_INET6) {
        memcpy(&ipv6, to->address, sizeof ipv6);
        return ntohs(ipv6.sin6_port);
    }
    if (to->address->sa_family == AF_INET) {
        memcpy(&ipv4, to->address, sizeof ipv4);
        return ntohs(ipv4.sin_port);
    }
    return 0;
}

static bool is_in_network(const struct network *network, const struct address_form *forms, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (network_has(network, forms[i].family, forms[i].bytes)) {
            return true;
        }
    }
    return false;
}

static bool is_loopback(const struct address_form *forms, unsigned count)
{
    return (count > 0 && address_is_loopback(&forms[0])) || (count > 1 && address_is_loopback(&forms[1]));
}

/* Whether a rule is about a destination. Exceptions, and what is allowed, are about the address itself; what is denied
 * is so in each form. */
static bool rule_fits(const struct destination_rule *rule, const struct destination *to,
                      const struct address_form *forms, unsigned count)
{
    bool is_unix = to->address != NULL && to->address->sa_family == AF_UNIX;
    if (is_unix != (rule->kind == RULE_UNIX) && rule->kind != RULE_PRIVATE) {
        return false;
    }
    if (rule->port != 0 && rule->port != port_of(to)) {
        return false;
    }
    count = rule->is_exception && count > 1 ? 1 : count;
    switch ((enum rule_kind)rule->kind) {
    case RULE_PRIVATE:
        return address_why_private(forms, count) != NULL;
    case RULE_NETWORK:
        return is_in_network(&rule->network, forms, count);
    case RULE_LOOPBACK:
        return (to->name != NULL && names_are_equal(to->name, "localhost")) || is_loopback(forms, count);
    case RULE_NAME:
        return to->name != NULL && names_are_equal(to->name, rule->text);
    case RULE_DOMAIN:
        return to->name != NULL && name_ends_in(to->name, rule->text);
    case RULE_EVERY_HOST:
        return true;
    case RULE_UNIX:
        return has_path(to, rule->text);
    }
    return false;
}

const char *destinations_deny(const struct destinations *list, const struct destination *to)
{
    const char *why = NULL;
    struct address_form forms[ADDRESS_FORMS_MAX] = {{0}};
    unsigned count = address_get_forms(to->address, forms);
    for (unsigned i = 0; list != NULL && i < list->count; i++) {
        const struct destination_rule *rule = &list->rules[i];
        if (!rule_fits(rule, to, forms, count)) {
            continue;
        }
        if (rule->is_exception) {
            return NULL;
        }
        why = why != NULL ? why : rule->kind == RULE_PRIVATE ? address_why_private(forms, count) : rule->entry;
    }
    return why;
}

bool destinations_allow(const struct destinations *list, const struct destination *to)
{
    struct address_form forms[ADDRESS_FORMS_MAX] = {{0}};
    struct destination asked = *to;
    if (asked.name != NULL) {
        asked.address = NULL; /* the name alone counts */
        asked.len = 0;
    }
    unsigned count = asked.address == NULL ? 0 : address_get_forms(asked.address, forms);
    for (unsigned i = 0; i < list->count; i++) {
        if (rule_fits(&list->rules[i], &asked, forms, count > 1 ? 1 : count)) {
            return true;
        }
    }
    return false;
}

/* Both. */

/* "example.org:443", or the address alone. */
static void name_destination(const struct destination *to, char *text, size_t size)
{
    char address[NET_TEXT_MAX];
    if (to->name != NULL) {
        snprintf(text, size, "%.*s:%u", NAME_SHOWN_MAX, to->name, port_of(to));
    } else {
        net_address_format(to->address, to->len, address);
        snprintf(text, size, "%s", address);
    }
}

int destinations_check(const struct destination_policy *policy, const struct destination *to, char *err, size_t errlen)
{
    char text[NAME_SHOWN_MAX + 8 + NET_TEXT_MAX], address[NET_TEXT_MAX];
    if (policy->allowed != NULL && !destinations_allow(policy->allowed, to)) {
        name_destination(to, text, sizeof text);
        return error_text(err, errlen, -EPERM, "the sandbox allows no connection to %s: --allow-connect %s", text,
                          text);
    }
    const char *why = to->address == NULL ? NULL : destinations_deny(policy->denied, to);
    if (why == NULL) {
        return 0;
    }
    const char *is = strncmp(why, "a ", 2) == 0 || strncmp(why, "an ", 3) == 0 ? "is" : "is in";
    name_destination(to, text, sizeof text);
    net_address_format(to->address, to->len, address);
    return to->name == NULL ? error_text(err, errlen, -EPERM, "%s %s %s: deny_connect denies it", text, is, why)
                            : error_text(err, errlen, -EPERM, "%s leads to %s, which %s %s: deny_connect denies it",
                                         text, address, is, why);
}

/* What the kernel is asked for. */

static void need_port(struct destination_needs *needs, uint16_t port)
{
    needs->every_port = needs->every_port || port == 0;
    for (unsigned i = 0; i < needs->port_count; i++) {
        if (needs->ports[i] == port) {
            return;
        }
    }
    if (port != 0) {
        needs->ports[needs->port_count++] = port;
    }
}

void destinations_get_needs(const struct destinations *list, struct destination_needs *needs)
{
    *needs = (struct destination_needs){.port_count = 0};
    for (unsigned i = 0; i < list->count; i++) {
        const struct destination_rule *rule = &list->rules[i];
        if (rule->kind == RULE_UNIX) {
            needs->unix_abstract = needs->unix_abstract || rule->text[0] == '@' || rule->text[0] == '\0';
            needs->unix_files = needs->unix_files || rule->text[0] != '@';
            continue;
        }
        needs->tcp = true;
        needs->names = needs->names || (rule->kind != RULE_NETWORK && rule->kind != RULE_LOOPBACK);
        need_port(needs, rule->port);
    }
}
