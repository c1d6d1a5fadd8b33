/* Happy path: host_name_parse() for each name at the start, host_name_of_authority() for each request to a site that
 * has several hosts.
 *
 * Failure modes: what is no name is an error text at the start; in a request it is a name that nobody has. */

#include "http/host_name.h"

#include "core/ascii.h"
#include "core/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { LABEL_MAX = 63 }; /* bytes of a label (RFC 1035 section 2.3.4) */

/* An IPv6 address of len bytes, without brackets. Returns whether it is one. */
static bool take_ipv6(struct host_name *name, const char *text, size_t len)
{
    char bare[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    if (len >= sizeof bare) {
        return false;
    }
    memcpy(bare, text, len);
    bare[len] = '\0';
    if (inet_pton(AF_INET6, bare, bytes) != 1 || inet_ntop(AF_INET6, bytes, bare, sizeof bare) == NULL) {
        return false;
    }
    name->len = (size_t)snprintf(name->text, sizeof name->text, "[%s]", bare);
    return true;
}

/* What is wrong with a name of len bytes, or NULL. */
static const char *fault_of_name(const char *text, size_t len)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    if (len == 0) {
        return "it is empty";
    }
    if (strstr(text, "://") != NULL || strchr(text, '/') != NULL) {
        return "a name alone is expected, not a URL";
    }
    if (strchr(text, ':') != NULL) {
        return "a name without a port is expected: it holds for all ports";
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] >= 0x80) {
            return "a name in ASCII is expected, as DNS has it: \"xn--...\"";
        }
    }
    if (strcmp(text, "*") == 0 || strcmp(text, "_") == 0) {
        return "names that no host has are served by the default host";
    }
    if (text[0] == '.') {
        return "write \"example.org\" and \"*.example.org\" for a name and those below it";
    }
    const char *name = text + (len > 2 && strncmp(text, "*.", 2) == 0 ? 2 : 0);
    if (strchr(name, '*') != NULL) {
        return "'*' is allowed only in front, as in \"*.example.org\"";
    }
    if (strspn(name, letters) < len - (size_t)(name - text)) {
        return "a name such as \"example.org\", an address or \"*.example.org\" is expected";
    }
    for (const char *label = name; label <= text + len;) {
        size_t label_len = strcspn(label, ".");
        if (label_len == 0 || label_len > LABEL_MAX) {
            return label_len == 0 ? "there is nothing between two dots" : "a part between two dots is longer than 63";
        }
        label += label_len + 1;
    }
    return len > HOST_NAME_MAX_BYTES ? "it is longer than 253" : NULL;
}

int host_name_parse(struct host_name *name, const char *text, char *err, size_t errlen)
{
    size_t len = strlen(text);
    bool has_brackets = text[0] == '[' && text[len - 1] == ']';
    if (take_ipv6(name, text + has_brackets, len - 2 * (size_t)has_brackets)) {
        return 0;
    }
    len -= len > 1 && text[len - 1] == '.';
    const char *fault = fault_of_name(text, len);
    if (fault != NULL) {
        return error_text(err, errlen, -EINVAL, "\"%.300s\" is no name of a host: %s", text, fault);
    }
    ascii_copy_lower(name->text, text, len);
    name->text[len] = '\0';
    name->len = len;
    return 0;
}

bool host_name_is_dns(const char *text)
{
    struct in_addr address;
    return strchr(text, ':') == NULL && inet_pton(AF_INET, text, &address) != 1;
}

size_t host_name_cut(const char *authority, size_t len)
{
    size_t end = len;
    while (end > 0 && authority[end - 1] >= '0' && authority[end - 1] <= '9') {
        end--;
    }
    end = end > 0 && authority[end - 1] == ':' ? end - 1 : len;
    return end > 1 && authority[end - 1] == '.' ? end - 1 : end;
}

void host_name_of_authority(struct host_name *name, const char *authority, size_t len)
{
    name->len = 0;
    name->text[0] = '\0';
    len = host_name_cut(authority, len);
    if (len > 0 && authority[0] == '[') {
        if (authority[len - 1] == ']') {
            (void)take_ipv6(name, authority + 1, len - 2);
        }
    } else if (len <= HOST_NAME_MAX_BYTES) {
        ascii_copy_lower(name->text, authority, len);
        name->text[len] = '\0';
        name->len = len;
    }
}
