/* Happy path: tls_roster_check(), then tls_roster_add(). Each name leads to a host: a set of certificates, with one for
 * each kind of key. A certificate with another kind of key moves its names to hosts that have it, too.
 *
 * Failure modes: a certificate that nobody would be shown, and those of memory. */

#include "core/tls_roster.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/tls_certificate.h"
#include "core/tls_host.h"
#include "core/tls_openssl.h"

#include <errno.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

void tls_roster_done(struct tls_roster *roster)
{
    for (size_t i = 0; i < roster->host_count; i++) {
        tls_host_destroy(roster->hosts[i]);
    }
    for (size_t i = 0; i < roster->identity_count; i++) {
        tls_identity_put(roster->identities[i]);
    }
    mem_free(roster->hosts);
    mem_free(roster->identities);
    tls_names_done(&roster->names);
}

/* Adding. */

/* The host with the certificates of other and this one. NULL without memory. */
static struct tls_host *get_host(struct tls_roster *roster, const struct tls_host *other, struct tls_identity *identity)
{
    for (size_t i = roster->host_count; i > 0; i--) { /* the newest are the likeliest */
        if (tls_host_is_made_of(roster->hosts[i - 1], other, identity)) {
            return roster->hosts[i - 1];
        }
    }
    struct tls_host **hosts = mem_resize(roster->hosts, (roster->host_count + 1) * sizeof(struct tls_host *));
    if (hosts == NULL) {
        return NULL;
    }
    roster->hosts = hosts;
    struct tls_host *made = tls_host_create(other, identity);
    if (made != NULL) {
        hosts[roster->host_count++] = made;
    }
    return made;
}

/* Have it shown for its names, where no other one of its kind is. Returns 0 or -ENOMEM. */
static int give_names(struct tls_roster *roster, struct tls_identity *identity)
{
    const char *name;
    for (size_t i = 0; (name = tls_names_at(&identity->names, i)) != NULL; i++) {
        const struct tls_host *was = tls_names_get(&roster->names, name, strlen(name));
        if (was != NULL && tls_host_of_kind(was, identity) != NULL) {
            continue;
        }
        struct tls_host *host = get_host(roster, was, identity);
        if (host == NULL || tls_names_set(&roster->names, name, strlen(name), host) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* Whether two certificates are for the same server: a name that is in both, or no name in either. */
static bool share_a_name(const struct tls_identity *one, const struct tls_identity *other)
{
    const char *name;
    for (size_t i = 0; (name = tls_names_at(&one->names, i)) != NULL; i++) {
        if (tls_names_get(&other->names, name, strlen(name)) != NULL) {
            return true;
        }
    }
    return one->names.count == 0 && other->names.count == 0;
}

/* Have the default shown, and beside it each other kind that is for one of its names. Returns 0 or -ENOMEM. */
static int give_default(struct tls_roster *roster, struct tls_identity *identity)
{
    struct tls_host *was = roster->fallback;
    bool belongs = was == NULL ||
                   (share_a_name(roster->identities[0], identity) && tls_host_of_kind(was, identity) == NULL);
    roster->fallback = belongs ? get_host(roster, was, identity) : was;
    return roster->fallback == NULL ? -ENOMEM : 0;
}

/* An earlier certificate with the same kind of key, if earlier ones of this kind have all names of identity. */
static const struct tls_identity *find_better(const struct tls_roster *roster, const struct tls_identity *identity)
{
    const struct tls_identity *found = NULL;
    const char *name;
    for (size_t i = 0; (name = tls_names_at(&identity->names, i)) != NULL; i++) {
        const struct tls_host *host = tls_names_get(&roster->names, name, strlen(name));
        const struct tls_identity *other = host == NULL ? NULL : tls_host_of_kind(host, identity);
        if (other == NULL) {
            return NULL;
        }
        found = found == NULL ? other : found;
    }
    return identity->names.count > 0 || roster->fallback == NULL ? found : tls_host_of_kind(roster->fallback, identity);
}

int tls_roster_add(struct tls_roster *roster, struct tls_identity *identity)
{
    struct tls_identity **identities = mem_resize(roster->identities,
                                                  (roster->identity_count + 1) * sizeof(struct tls_identity *));
    if (identities == NULL) {
        tls_identity_put(identity);
        return -ENOMEM;
    }
    roster->identities = identities;
    identities[roster->identity_count++] = identity;
    return give_default(roster, identity) < 0 ? -ENOMEM : give_names(roster, identity);
}

int tls_roster_check(const struct tls_roster *roster, const struct tls_identity *identity, char *err, size_t errlen)
{
    const struct tls_identity *better = find_better(roster, identity);
    if (better != NULL) {
        return error_text(
            err, errlen, -EEXIST,
            "the certificate %s would never be shown: %s is for the same names, and has the same kind of key (%s)",
            identity->what, better->what, tls_identity_kind_text(identity));
    }
    if (identity->names.count == 0 && roster->identity_count > 0 && !share_a_name(roster->identities[0], identity)) {
        return error_text(err, errlen, -EINVAL,
                          "the certificate %s would never be shown: it contains no name of a server; name says which "
                          "one it is for",
                          identity->what);
    }
    return 0;
}

/* In the handshake, too, an unknown name means the fallback. */
bool tls_roster_separates(const struct tls_roster *roster, const struct ssl_ctx_st *ctx, const char *name, size_t len)
{
    if (!roster->asks_clients) {
        return false;
    }
    const struct tls_host *asked = tls_names_find(&roster->names, name, len);
    asked = asked == NULL ? roster->fallback : asked;
    if (!tls_host_asks_clients(asked) || tls_host_ctx(asked) == ctx) {
        return false;
    }
    for (size_t i = 0; i < roster->host_count; i++) {
        if (tls_host_ctx(roster->hosts[i]) == ctx) {
            return !tls_host_has_rules_of(asked, roster->hosts[i]);
        }
    }
    return true;
}

#endif
