#ifndef EVSERVE_HTTP_RULES_VERDICTS_H
#define EVSERVE_HTTP_RULES_VERDICTS_H

/* Which names and passwords were right or wrong, kept for a while, so that the requests of a browser cost one hash of a
 * password and not one each. Passwords are not kept, but two hashes of name and password under random keys, 128 bits.
 * Right and wrong ones have places of their own, so that somebody who tries passwords displaces nobody. One thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct credentials;
struct verdicts;

enum {
    VERDICTS_MAX = 1024,  /* right ones that are kept; as many wrong ones */
    VERDICTS_TTL_S = 600, /* how long each of them is */
};

enum verdict { VERDICT_UNKNOWN, VERDICT_RIGHT, VERDICT_WRONG };

/* Returns 0, or -ENOMEM, or the -errno of the system's randomness. */
int verdicts_create(struct verdicts **verdicts);
void verdicts_destroy(struct verdicts *verdicts); /* NULL is allowed */

/* now_ms is the reactor's time. */
enum verdict verdicts_find(struct verdicts *verdicts, const struct credentials *credentials, int64_t now_ms);

/* Keep a verdict: VERDICT_RIGHT or VERDICT_WRONG. Where all places that it may have are taken, the oldest goes. */
void verdicts_keep(struct verdicts *verdicts, const struct credentials *credentials, enum verdict verdict,
                   int64_t now_ms);

/* Forget all: the passwords may have changed. */
void verdicts_clear(struct verdicts *verdicts);

/* A number for a name, which nobody else can foresee: for htpasswd_decoy(). */
size_t verdicts_number(const struct verdicts *verdicts, const char *name, size_t len);

#endif
