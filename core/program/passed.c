/* Failure modes: none. A name that is not one of ours, or that is not a whole one, makes a socket without address, as
 * systemd passes it. */

#include "core/program/passed.h"

#include "core/program/systemd.h"

#include <string.h>

static const char passed_prefix[] = "listen=";

enum { PASSED_PREFIX_LEN = sizeof passed_prefix - 1 };

/* systemd allows no colons and no control characters in a name. */
static bool stands_for_itself(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("./-_@[]", c) != NULL);
}

void passed_name(const char *address, char name[PASSED_NAME_MAX])
{
    static const char digits[] = "0123456789ABCDEF";
    memcpy(name, passed_prefix, PASSED_PREFIX_LEN);
    char *to = name + PASSED_PREFIX_LEN;
    for (size_t i = 0; i < NET_TEXT_MAX && address[i] != '\0'; i++) {
        unsigned char c = (unsigned char)address[i];
        if (stands_for_itself(address[i])) {
            *to++ = address[i];
        } else {
            *to++ = '%';
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        }
    }
    *to = '\0';
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The address in a name of len bytes, or "". */
static void read_name(const char *name, size_t len, char address[NET_TEXT_MAX])
{
    size_t used = 0;
    address[0] = '\0';
    if (len <= PASSED_PREFIX_LEN || memcmp(name, passed_prefix, PASSED_PREFIX_LEN) != 0) {
        return;
    }
    for (size_t i = PASSED_PREFIX_LEN; i < len && used < NET_TEXT_MAX - 1; used++) {
        if (name[i] != '%') {
            address[used] = name[i++];
            continue;
        }
        int high = i + 2 < len ? hex_value(name[i + 1]) : -1;
        int low = i + 2 < len ? hex_value(name[i + 2]) : -1;
        if (high < 0 || low < 0 || high + low == 0) {
            address[0] = '\0';
            return;
        }
        address[used] = (char)(high << 4 | low);
        i += 3;
    }
    address[used] = '\0';
}

void passed_read(struct passed_socket *sockets, int count, const char *names)
{
    const char *at = names == NULL ? "" : names;
    for (int i = 0; i < count; i++) {
        size_t len = strcspn(at, ":");
        sockets[i].fd = SYSTEMD_FIRST_FD + i;
        read_name(at, len, sockets[i].address);
        at += len + (at[len] == ':' ? 1 : 0);
    }
}
