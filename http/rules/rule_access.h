#ifndef EVSERVE_HTTP_RULES_RULE_ACCESS_H
#define EVSERVE_HTTP_RULES_RULE_ACCESS_H

/* Who may ask: app.allow and app.deny. A client is compared by its address, as far as it is known
 * (exchange_client()).
 *
 *   app.allow("/admin", "10.0.0.0/8")      others get 403
 *   app.deny("/", "192.0.2.0/24")          these get 403
 *
 * Of the rules of one prefix that name the client, the one with the narrowest network decides, whatever their order;
 * of two that are equally narrow, deny. If none names it, but the prefix has an allow, the client is refused. If
 * neither decides, the rules of the next shorter prefix are asked; without any the client may ask. */

#include <stdbool.h>
#include <stddef.h>

struct rules;

enum { ACCESS_NETWORKS_MAX = 1000 }; /* addresses and networks of one rule */

/* Add a rule. list is "all", or addresses and networks separated by commas: "127.0.0.1, 10.0.0.0/8, fd00::/8, unix:";
 * "unix:" are all clients of unix sockets. Returns 0, or with nothing changed -EINVAL, -ENOSPC or -ENOMEM and a text
 * in err that quotes what is wrong. */
int rule_access_add(struct rules **rules, const char *prefix, bool allows, const char *list, char *err, size_t errlen);

#endif
