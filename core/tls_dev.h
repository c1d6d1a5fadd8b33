#ifndef EVSERVE_CORE_TLS_DEV_H
#define EVSERVE_CORE_TLS_DEV_H

/* A key and a certificate for development: made in memory, signed by itself, for localhost, 127.0.0.1, ::1 and further
 * names. Nobody trusts it but by its fingerprint or by that of its key. */

#include <stddef.h>

enum {
    TLS_DEV_NAMES_MAX = 32, /* further names */
    TLS_DEV_NAME_MAX = 253, /* bytes of one: a name of DNS */
    TLS_DEV_DAYS = 30,      /* how long it is valid */
    TLS_DEV_PEM_MAX = 16384,
};

struct tls_dev {
    char cert[TLS_DEV_PEM_MAX]; /* PEM */
    char key[1024];             /* likewise */
    char fingerprint[96];       /* SHA-256 of the certificate, as browsers show it: "0A:1B:..." */
    char pin[64];               /* SHA-256 of the public key in base64, as curl(1) and Chromium take it */
};

/* Whether names is a list of server names ("app.test", "*.app.test") and IP addresses with commas between them; "" has
 * none. Returns 0, or -EINVAL with a text in err that names the culprit. */
int tls_dev_check(const char *names, char *err, size_t errlen);

/* Make them: an ECDSA key (P-256), a certificate for servers, valid from an hour ago. Returns 0, or -errno with a text
 * in err: as tls_dev_check(); -ENOMEM; -ENOTSUP if this was built without TLS. */
int tls_dev_make(struct tls_dev *dev, const char *names, char *err, size_t errlen);

/* Erase the key from memory. */
void tls_dev_wipe(struct tls_dev *dev);

#endif
