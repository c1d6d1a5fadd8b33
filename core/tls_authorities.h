#ifndef EVSERVE_CORE_TLS_AUTHORITIES_H
#define EVSERVE_CORE_TLS_AUTHORITIES_H

/* The authorities whose certificates the system trusts: where OpenSSL looks for them, SSL_CERT_FILE and SSL_CERT_DIR
 * included. */

#include <stddef.h>

struct x509_store_st; /* OpenSSL's X509_STORE */

/* Find them. A folder with an index (c_rehash, as Debian's ca-certificates makes it) costs nothing now, and one file
 * for each authority that is needed later; a file is read at once, which takes about 40 ms. Returns 0, -ENOMEM, or
 * -ENOENT if there are none, with a text in err that says what to install. */
int tls_authorities_find(struct x509_store_st **store, char *err, size_t errlen);
void tls_authorities_free(struct x509_store_st *store); /* NULL is allowed */

/* The n-th folder or file that has to be readable for that, NULL behind the last one: what a sandbox must leave open.
 * Some may not exist. OpenSSL must be loaded. The text is static, or of the environment. */
const char *tls_authorities_path(size_t n);

#endif
