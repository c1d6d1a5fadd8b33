#ifndef EVSERVE_CORE_ADDRESS_FORM_H
#define EVSERVE_CORE_ADDRESS_FORM_H

/* What kind of address one is, however it is written. No state; any thread. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { ADDRESS_FORMS_MAX = 2 };

/* An address in one of its forms: IPv4 fills the first four bytes. */
struct address_form {
    int family;
    uint8_t bytes[16];
};

/* Get the address itself, and then, if there is one, the other address that it leads to: of IPv4, if it is one of IPv6
 * from which a gateway makes it; the loopback address, if it is 0.0.0.0 or "::". One of IPv4 that is written as IPv6,
 * ::ffff:10.0.0.1, is IPv4 alone. Returns how many there are: 0 for a unix socket. */
unsigned address_get_forms(const struct sockaddr *address, struct address_form forms[ADDRESS_FORMS_MAX]);

/* Why an address is not a public one, in any of its forms: "a loopback address". NULL if it is public. */
const char *address_why_private(const struct address_form *forms, unsigned count);

bool address_is_loopback(const struct address_form *form);

#endif
