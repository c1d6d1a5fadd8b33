#ifndef EVSERVE_CORE_TLS_PEM_H
#define EVSERVE_CORE_TLS_PEM_H

/* Certificates and keys in PEM (RFC 7468), from files or from memory. Errors are texts that name the file and say in
 * plain words what is wrong with it. */

#include <stdbool.h>
#include <stddef.h>

struct evp_pkey_st;   /* OpenSSL's EVP_PKEY */
struct stack_st_X509; /* OpenSSL's list of X509 */

/* Where a PEM text comes from. */
struct tls_pem {
    const char *what; /* "certificate", for errors */
    const char *file; /* relative to base_fd, or NULL */
    const char *text; /* in place of file: NUL-terminated */
    int base_fd;      /* sys_base() */
};

/* The name of a text for messages: the file's, or "the PEM text". */
const char *tls_pem_name(const struct tls_pem *pem);

/* Read all certificates, at least one; freed by sk_X509_pop_free(). NULL with a text in err and -errno in *error. */
struct stack_st_X509 *tls_pem_certificates(const struct tls_pem *pem, int *error, char *err, size_t errlen);

/* Read a private key. NULL with a text in err and -errno in *error. */
struct evp_pkey_st *tls_pem_key(const struct tls_pem *pem, int *error, char *err, size_t errlen);

/* Whether users other than its owner and group may read or change the file. */
bool tls_pem_is_open_to_others(const struct tls_pem *pem);

#endif
