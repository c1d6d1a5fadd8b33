#ifndef EVSERVE_HTTP_RULES_BASIC_AUTH_H
#define EVSERVE_HTTP_RULES_BASIC_AUTH_H

/* Rules that ask for a name and a password (RFC 7617): below their prefix, requests get 401 until they bring ones that
 * a password file has, or that a function of the host or the script accepts. Of several rules that fit, the one with
 * the longest prefix decides alone.
 *
 * Passwords are hashed on threads (http/rules/auth_threads.h), never on the loop. What was found out is kept for
 * VERDICTS_TTL_S, as long as the file stays as it is: it is looked at again, on a thread, if the last look was
 * BASIC_AUTH_FRESH_MS ago. */

#include "http/rules/credentials.h"
#include "http/rules/rules.h"

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct rules;

enum {
    BASIC_AUTH_REALM_MAX = 128, /* bytes of a realm */
    BASIC_AUTH_FRESH_MS = 500,  /* how long a look at a password file counts */
};

/* Who knows the passwords, instead of a file. */
struct basic_auth_asked {
    /* Whether credentials are right: RULES_PASS; RULES_HELD: basic_auth_go_on() or basic_auth_refuse() follows once
     * that is known (see struct rules_kind); RULES_ANSWERED: they are wrong, or it has responded already. credentials
     * is not needed longer than this call. */
    enum rules_verdict (*ask)(struct exchange *exchange, const struct credentials *credentials, void *arg);
    void (*destroy)(void *arg); /* frees arg with the rule; may be NULL */
    void *arg;
};

/* What a rule consists of: one of file, asked and neither, which lets everybody in. */
struct basic_auth_options {
    const char *file;                     /* htpasswd; a relative name starts at base_fd */
    int base_fd;                          /* borrowed: see sys_base(); outlives the job pools of the server */
    const char *realm;                    /* shown to users; NULL: "Restricted" */
    const struct basic_auth_asked *asked; /* copied */
};

/* Add a rule; the file is read now. Returns 0, or -errno with a text in err: then nothing has changed, and asked->arg
 * is the caller's. */
int basic_auth_add(struct rules **rules, const char *prefix, const struct basic_auth_options *options, char *err,
                   size_t errlen);

/* For asked, after RULES_HELD: the credentials are right, or wrong. */
void basic_auth_go_on(struct exchange *exchange);
void basic_auth_refuse(struct exchange *exchange);

/* The name with which a rule has let a request through, copied to name with NUL. Returns its length, or 0: no rule
 * asked for one. */
size_t basic_auth_user(const struct exchange *exchange, char name[CREDENTIALS_MAX]);

/* The name and the password of a request, copied with NUL and their lengths, whether or not they are right. Returns
 * false without any. Wipe the password after use. */
bool basic_auth_read(const struct exchange *exchange, char name[CREDENTIALS_MAX], size_t *name_len,
                     char password[CREDENTIALS_MAX], size_t *password_len);

/* Call fn with the name of each password file, until it returns something other than 0. Returns that, or 0. */
int basic_auth_each_file(const struct rules *rules, int (*fn)(void *arg, const char *file), void *arg);

#endif
