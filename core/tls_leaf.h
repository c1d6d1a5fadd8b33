#ifndef EVSERVE_CORE_TLS_LEAF_H
#define EVSERVE_CORE_TLS_LEAF_H

/* What a server's certificate says of itself, as text. */

struct asn1_string_st; /* OpenSSL's ASN1_TIME */
struct tls_names;
struct x509_st; /* OpenSSL's X509 */

enum {
    TLS_TIME_TEXT_MAX = 96,
    TLS_NAMES_TOLD_BYTES = 1024, /* bytes of a few names (core/tls_names.c), with a NUL */
};

/* Add the names that it contains (DNS names and IP addresses; without any, its common name) to names. What is no name
 * of a server is left out. Returns 0 or -ENOMEM. */
int tls_leaf_names(const struct x509_st *leaf, struct tls_names *names);

/* "one, two, three and 4 more", or "no name". */
void tls_leaf_tell_names(const struct tls_names *names, char text[TLS_NAMES_TOLD_BYTES]);

/* "2026-11-30 09:28 UTC": text, or a static text. */
const char *tls_leaf_time(const struct asn1_string_st *when, char text[TLS_TIME_TEXT_MAX]);

#endif
