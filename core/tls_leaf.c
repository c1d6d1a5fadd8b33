/* Happy path: the names of its subjectAltName; without that extension, its common name.
 *
 * Failure mode: no memory. */

#include "core/tls_leaf.h"

#include "core/tls_names.h"
#include "core/tls_openssl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#ifdef EVSERVE_HAS_TLS

enum { NAMES_TOLD_MAX = 3 }; /* in a line of the log */

static int name_from_address(const ASN1_OCTET_STRING *address, int (*fn)(void *arg, const char *name, size_t len),
                             void *arg)
{
    char text[INET6_ADDRSTRLEN];
    int len = ASN1_STRING_length(address);
    if ((len != 4 && len != 16) ||
        inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text, sizeof text) == NULL) {
        return 0;
    }
    return fn(arg, text, strlen(text));
}

static int name_from_subject(const X509 *leaf, int (*fn)(void *arg, const char *name, size_t len), void *arg)
{
    const X509_NAME *subject = X509_get_subject_name(leaf);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0) {
        return 0;
    }
    const ASN1_STRING *name = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    return fn(arg, (const char *)ASN1_STRING_get0_data(name), (size_t)ASN1_STRING_length(name));
}

/* Call fn with each name that the certificate contains (DNS names and IP addresses; without any, its common name),
 * until it returns something other than 0. Returns that, 0, or -ENOMEM. */
static int each_name_in(const X509 *leaf, int (*fn)(void *arg, const char *name, size_t len), void *arg)
{
    ERR_clear_error();
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    if (names == NULL) {
        bool lacks_memory = ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE;
        return lacks_memory ? -ENOMEM : name_from_subject(leaf, fn, arg);
    }
    int rv = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && rv == 0; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS) {
            rv = fn(arg, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                    (size_t)ASN1_STRING_length(name->d.dNSName));
        } else if (name->type == GEN_IPADD) {
            rv = name_from_address(name->d.iPAddress, fn, arg);
        }
    }
    GENERAL_NAMES_free(names);
    return rv;
}

static int collect_name(void *arg, const char *name, size_t len)
{
    int rv = tls_names_add(arg, name, len, arg);
    return rv == -ENOMEM ? rv : 0; /* a certificate may contain what is no name of a server */
}

int tls_leaf_names(const struct x509_st *leaf, struct tls_names *names)
{
    return each_name_in(leaf, collect_name, names);
}

void tls_leaf_tell_names(const struct tls_names *names, char text[TLS_NAMES_TOLD_BYTES])
{
    size_t used = (size_t)snprintf(text, TLS_NAMES_TOLD_BYTES, "%s", names->count == 0 ? "no name" : "");
    for (size_t i = 0; i < names->count && i < NAMES_TOLD_MAX; i++) {
        used += (size_t)snprintf(text + used, TLS_NAMES_TOLD_BYTES - used, "%s%s", i == 0 ? "" : ", ",
                                 tls_names_at(names, i));
    }
    if (names->count > NAMES_TOLD_MAX) {
        snprintf(text + used, TLS_NAMES_TOLD_BYTES - used, " and %zu more", names->count - NAMES_TOLD_MAX);
    }
}

const char *tls_leaf_time(const struct asn1_string_st *when, char text[TLS_TIME_TEXT_MAX])
{
    struct tm tm;
    if (ASN1_TIME_to_tm(when, &tm) != 1) {
        return "an unknown time";
    }
    snprintf(text, TLS_TIME_TEXT_MAX, "%04d-%02d-%02d %02d:%02d UTC", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
             tm.tm_hour, tm.tm_min);
    return text;
}

#endif
