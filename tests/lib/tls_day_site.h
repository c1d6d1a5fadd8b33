#ifndef EVSERVE_TESTS_TLS_DAY_SITE_H
#define EVSERVE_TESTS_TLS_DAY_SITE_H

/* The server of tests/lib/tls_day.h: its files, certificates and routes. Two hosts: a.example with certificates of both
 * kinds, whose first one is in files that are replaced during the day, and b.example, which wants clients'
 * certificates. */

#include "evserve.h"

#include "tests/lib/file_tree.h"
#include "tests/lib/tls_scene.h"

#include <stddef.h>

enum { TLS_DAY_LARGE = 100000 /* bytes of /large */ };

struct tls_day_site {
    struct file_tree tree;            /* www/ and the files of certificates */
    struct made authority, alice;     /* who signs all others; a client */
    struct made first, second, third; /* of a.example, one after the other */
    struct made rsa;                  /* of a.example, beside them */
    struct made other;                /* of b.example */
    int requests;                     /* begun by routes, and not yet answered or gone */
    int resumed;                      /* connections, as GET /who has seen them */
    char logged[32768];               /* as far as there is room */
};

extern struct tls_day_site tls_day_site; /* there is one test at a time */

void tls_day_site_make(void);
void tls_day_site_remove(void);

/* Put a certificate and its key in the place of those of a.example. */
void tls_day_site_replace(const struct made *made);

/* evserve_start(). NULL with a text in err. */
evserve *tls_day_site_start(char *err, size_t errlen);

#endif
