#ifndef EVSERVE_HTTP_ACME_H
#define EVSERVE_HTTP_ACME_H

/* The HTTP challenges by which a certificate authority sees who controls a host (RFC 8555 section 8.3). An ACME client,
 * such as certbot, acme.sh or lego, writes a file into a directory; here it is served at
 * /.well-known/acme-challenge/TOKEN. The directory is looked up for each request, so it may come and go. */

#include <stdbool.h>

struct acme;
struct exchange;
struct log;

enum {
    ACME_TOKEN_MAX = 255, /* bytes of a token, which is the name of a file */
    ACME_FILE_MAX = 4096, /* bytes of such a file: the token, a dot, and the thumbprint of a key */
};

/* Serve the challenges in directory, which need not exist yet; the name is copied. Relative names start at base_fd,
 * which is borrowed: see sys_base(). Returns 0 or -ENOMEM. */
int acme_create(struct acme **acme, const char *directory, int base_fd);
void acme_destroy(struct acme *acme); /* NULL is allowed */

/* Its name, without slashes at the end. */
const char *acme_directory(const struct acme *acme);

/* Warn if the directory cannot be used now, with the reason. */
void acme_warn(const struct acme *acme, const struct log *log);

/* Respond to a request for a challenge, by exchange->site->acme. Only plain files directly in the directory are
 * served, and no links. Returns false for another path: then nothing has happened. */
bool acme_serve(struct exchange *exchange);

#endif
