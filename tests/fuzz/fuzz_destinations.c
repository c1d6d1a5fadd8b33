/* Lists of servers (core/destinations.c), and addresses in their forms (core/address_form.c). The input is a byte whose
 * lowest bit says which kind of list, 4 bytes of an address of IPv4 and 2 of a port, and then a list, a newline and a
 * name. What is denied is so in every form of the address; no exception is made for a form that it does not name. */

#include "core/destinations.h"
#include "tests/lib/fuzz.h"

#include <netinet/in.h>
#include <string.h>

enum { HEAD = 7 }; /* bytes before the list */

static struct sockaddr_in6 form_of(const uint8_t *ipv4, uint16_t port, const uint8_t *prefix, size_t prefix_len)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memcpy(address.sin6_addr.s6_addr, prefix, prefix_len);
    memcpy(address.sin6_addr.s6_addr + prefix_len, ipv4, 4);
    return address;
}

static struct destination to_address(const void *address, socklen_t len, const char *name, uint16_t port)
{
    return (struct destination){.name = name, .address = address, .len = len, .port = port};
}

static void check_denied(const struct destinations *list, const uint8_t *ipv4, uint16_t port, const char *name)
{
    static const uint8_t mapped[12] = {[10] = 0xff, 0xff}, translated[12] = {0, 0x64, 0xff, 0x9b};
    static const uint8_t tunnelled[2] = {0x20, 0x02};
    struct sockaddr_in plain = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&plain.sin_addr, ipv4, 4);
    const struct sockaddr_in6 forms[] = {form_of(ipv4, port, mapped, sizeof mapped),
                                         form_of(ipv4, port, translated, sizeof translated),
                                         form_of(ipv4, port, tunnelled, sizeof tunnelled)};
    const struct destination to = to_address(&plain, sizeof plain, name, port);
    const char *why = destinations_deny(list, &to);
    bool has_exceptions = strchr(destinations_text(list), '!') != NULL;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const struct destination form = to_address(&forms[i], sizeof forms[i], name, port);
        const char *form_why = destinations_deny(list, &form);
        if (i == 0) { /* ::ffff:10.0.0.1 is the address itself */
            FUZZ_MUST((why == NULL) == (form_why == NULL));
        } else if (!has_exceptions) {
            FUZZ_MUST(why == NULL || form_why != NULL);
        }
    }
    char err[512] = "";
    const struct destination_policy policy = {.denied = list};
    FUZZ_MUST((destinations_check(&policy, &to, err, sizeof err) == 0) == (why == NULL));
    FUZZ_MUST((err[0] == '\0') == (why == NULL));
}

static void check_allowed(const struct destinations *list, const uint8_t *ipv4, uint16_t port, const char *name)
{
    struct sockaddr_in plain = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&plain.sin_addr, ipv4, 4);
    const struct destination by_name = {.name = name, .port = port};
    const struct destination both = to_address(&plain, sizeof plain, name, port);
    const struct destination address = to_address(&plain, sizeof plain, NULL, port);
    struct destination_needs needs;
    FUZZ_MUST(destinations_allow(list, &by_name) == destinations_allow(list, &both));
    destinations_get_needs(list, &needs);
    bool has_port = needs.every_port;
    for (unsigned i = 0; i < needs.port_count; i++) {
        has_port = has_port || needs.ports[i] == port;
    }
    bool is_allowed = destinations_allow(list, &address) || destinations_allow(list, &by_name);
    FUZZ_MUST(!is_allowed || (needs.tcp && has_port)); /* the kernel lets it through, too */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < HEAD || len > GUARDED_BYTES) {
        return 0;
    }
    uint16_t port = (uint16_t)(data[5] << 8 | data[6]);
    char *text = malloc(len - HEAD + 1);
    FUZZ_MUST(text != NULL);
    memcpy(text, data + HEAD, len - HEAD);
    text[len - HEAD] = '\0';
    char *newline = strchr(text, '\n');
    const char *name = newline == NULL ? "example.org" : newline + 1;
    if (newline != NULL) {
        *newline = '\0';
    }
    char err[512] = "";
    struct destinations *list = NULL;
    bool is_denied = (data[0] & 1) != 0;
    int rv = is_denied ? destinations_parse_denied(&list, text, err, sizeof err)
                       : destinations_parse_allowed(&list, text, err, sizeof err);
    FUZZ_MUST((rv < 0) == (err[0] != '\0') && (rv == 0 || list == NULL));
    if (list != NULL) {
        FUZZ_MUST(strcmp(destinations_text(list), text) == 0);
        (is_denied ? check_denied : check_allowed)(list, data + 1, port, name);
    }
    destinations_destroy(list);
    free(text);
    FUZZ_MUST(fake_mem_live() == 0);
    return 0;
}
