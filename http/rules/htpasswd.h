#ifndef EVSERVE_HTTP_RULES_HTPASSWD_H
#define EVSERVE_HTTP_RULES_HTPASSWD_H

/* Password files, as "htpasswd" of Apache writes them and nginx reads them: a line "name:hash" for each user, perhaps
 * with a comment behind a further colon. Empty lines and lines that begin with '#' are skipped. What is read is a table
 * that does not change, shared by all that hold it. Any thread. */

#include <stddef.h>

struct htpasswd;

enum {
    HTPASSWD_FILE_MAX = 4 << 20, /* bytes of a file */
    HTPASSWD_USERS_MAX = 20000,  /* users in it */
    HTPASSWD_NAME_MAX = 255,     /* bytes of a name */
};

/* Parse the text of a file. Returns 0 with a table that the caller holds; or -EINVAL, -ELIBACC, -E2BIG or -ENOMEM with
 * a text in err that names the line: "line 3: ...". Hashes are not quoted. */
int htpasswd_parse(struct htpasswd **table, const char *text, size_t len, char *err, size_t errlen);

/* Hold a table once more; give it back (NULL is allowed). */
struct htpasswd *htpasswd_get(struct htpasswd *table);
void htpasswd_put(struct htpasswd *table);

size_t htpasswd_count(const struct htpasswd *table);

/* The hash of a user, or NULL for a name that is not there. Names are case-sensitive. */
const char *htpasswd_find(const struct htpasswd *table, const char *name, size_t len);

/* The hash of the n-th user, counted modulo their number; NULL in a table without users. For names that are not there:
 * a password is verified against it in vain, so that the time does not tell which names exist. */
const char *htpasswd_decoy(const struct htpasswd *table, size_t n);

#endif
