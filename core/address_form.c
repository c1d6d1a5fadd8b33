/* An address of IPv6 may lead to one of IPv4: ::ffff:10.0.0.1 on the machine itself, 64:ff9b::a00:1 and 2002:a00:1::
 * through a gateway. Whoever connects with 0.0.0.0 or :: reaches this machine, as with a loopback address. */

#include "core/address_form.h"

#include "core/network.h"

#include <netinet/in.h>
#include <string.h>

static const struct network mapped_ipv4 = {AF_INET6, 96, {[10] = 0xff, 0xff}};       /* RFC 4291, section 2.5.5.2 */
static const struct network translated_ipv4 = {AF_INET6, 96, {0, 0x64, 0xff, 0x9b}}; /* NAT64: RFC 6052 */
static const struct network tunnelled_ipv4 = {AF_INET6, 16, {0x20, 0x02}};           /* 6to4: RFC 3056 */
static const struct network public_ipv6 = {AF_INET6, 3, {0x20}};                     /* RFC 4291, section 2.4 */

/* Addresses that are not public: the registries for special purposes of IANA (RFC 6890). */
static const struct special_network {
    struct network network;
    const char *what;
} special_networks[] = {
    {{AF_INET, 8, {0}}, "an address of this network"},
    {{AF_INET, 8, {10}}, "a private address"},
    {{AF_INET, 10, {100, 64}}, "an address behind a carrier's NAT"},
    {{AF_INET, 8, {127}}, "a loopback address"},
    {{AF_INET, 16, {169, 254}}, "a link-local address"},
    {{AF_INET, 12, {172, 16}}, "a private address"},
    {{AF_INET, 24, {192, 0, 0}}, "a reserved address"},
    {{AF_INET, 24, {192, 0, 2}}, "an address for documentation"},
    {{AF_INET, 24, {192, 88, 99}}, "a reserved address"},
    {{AF_INET, 16, {192, 168}}, "a private address"},
    {{AF_INET, 15, {198, 18}}, "an address for benchmarks"},
    {{AF_INET, 24, {198, 51, 100}}, "an address for documentation"},
    {{AF_INET, 24, {203, 0, 113}}, "an address for documentation"},
    {{AF_INET, 4, {224}}, "a multicast address"},
    {{AF_INET, 4, {240}}, "a reserved address"},
    {{AF_INET6, 128, {0}}, "an address of this network"},
    {{AF_INET6, 128, {[15] = 1}}, "a loopback address"},
    {{AF_INET6, 7, {0xfc}}, "a private address"},
    {{AF_INET6, 10, {0xfe, 0x80}}, "a link-local address"},
    {{AF_INET6, 10, {0xfe, 0xc0}}, "a private address"},
    {{AF_INET6, 8, {0xff}}, "a multicast address"},
    {{AF_INET6, 23, {0x20, 0x01}}, "a reserved address"},
    {{AF_INET6, 32, {0x20, 0x01, 0x0d, 0xb8}}, "an address for documentation"},
    {{AF_INET6, 20, {0x3f, 0xff}}, "an address for documentation"},
};

static struct address_form ipv4_form(const uint8_t *bytes)
{
    struct address_form form = {.family = AF_INET};
    memcpy(form.bytes, bytes, 4);
    return form;
}

static unsigned get_ipv4_forms(const uint8_t *bytes, struct address_form forms[ADDRESS_FORMS_MAX])
{
    static const uint8_t unspecified[4] = {0}, loopback[4] = {127, 0, 0, 1};
    forms[0] = ipv4_form(bytes);
    if (memcmp(bytes, unspecified, sizeof unspecified) != 0) {
        return 1;
    }
    forms[1] = ipv4_form(loopback);
    return 2;
}

unsigned address_get_forms(const struct sockaddr *address, struct address_form forms[ADDRESS_FORMS_MAX])
{
    static const uint8_t unspecified[16] = {0};
    if (address->sa_family == AF_INET) {
        struct sockaddr_in ipv4;
        memcpy(&ipv4, address, sizeof ipv4);
        return get_ipv4_forms((const uint8_t *)&ipv4.sin_addr, forms);
    }
    if (address->sa_family != AF_INET6) {
        return 0;
    }
    struct sockaddr_in6 ipv6;
    memcpy(&ipv6, address, sizeof ipv6);
    const uint8_t *bytes = ipv6.sin6_addr.s6_addr;
    if (network_has(&mapped_ipv4, AF_INET6, bytes)) {
        return get_ipv4_forms(bytes + 12, forms);
    }
    forms[0] = (struct address_form){.family = AF_INET6};
    memcpy(forms[0].bytes, bytes, 16);
    if (memcmp(bytes, unspecified, sizeof unspecified) == 0) {
        forms[1] = (struct address_form){.family = AF_INET6, .bytes = {[15] = 1}};
        return 2;
    }
    if (network_has(&translated_ipv4, AF_INET6, bytes)) {
        forms[1] = ipv4_form(bytes + 12);
        return 2;
    }
    if (network_has(&tunnelled_ipv4, AF_INET6, bytes)) {
        forms[1] = ipv4_form(bytes + 2);
        return 2;
    }
    return 1;
}

const char *address_why_private(const struct address_form *forms, unsigned count)
{
    if (count == 0) {
        return "a unix socket";
    }
    for (unsigned i = 0; i < count; i++) {
        for (unsigned n = 0; n < sizeof special_networks / sizeof special_networks[0]; n++) {
            if (network_has(&special_networks[n].network, forms[i].family, forms[i].bytes)) {
                return special_networks[n].what;
            }
        }
    }
    bool is_public = forms[0].family == AF_INET || network_has(&public_ipv6, AF_INET6, forms[0].bytes) ||
                     network_has(&translated_ipv4, AF_INET6, forms[0].bytes);
    return is_public ? NULL : "a reserved address";
}

bool address_is_loopback(const struct address_form *form)
{
    static const struct network ipv4 = {AF_INET, 8, {127}}, ipv6 = {AF_INET6, 128, {[15] = 1}};
    return network_has(&ipv4, form->family, form->bytes) || network_has(&ipv6, form->family, form->bytes);
}
