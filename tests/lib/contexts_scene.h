#ifndef EVSERVE_TESTS_LIB_CONTEXTS_SCENE_H
#define EVSERVE_TESTS_LIB_CONTEXTS_SCENE_H

/* TLS contexts that read no file: they stand in for core/tls_context.h in tests of what makes and keeps them. A
 * certificate is good unless its file, or PEM text, is contexts_scene.bad. */

#include "core/tls_context.h"

#include <stdbool.h>

struct contexts_scene {
    const char *bad;      /* of the next context: "a.pem: no such file"; NULL: all are good */
    bool is_absent;       /* this build has no TLS */
    bool is_stale;        /* all certificates have changed: for one call of tls_context_is_stale() */
    const char *stale;    /* or only the one with this source */
    bool is_unfinished;   /* tls_context_finish() fails */
    bool is_other;        /* what is read is another certificate than before: tls_context_log_renewed() */
    int warned;           /* calls of tls_context_warn() for all warnings */
    int watched;          /* and all calls of it */
    int made;             /* contexts that exist */
    int adds;             /* certificates that were added, successfully, to the newest one */
    int takes;            /* and those that were taken from a former one */
    int generation;       /* of the newest one, from 1 */
    int base_fd;          /* that the newest one was made with */
    int former;           /* the generation of its former one, 0 for none */
    const char *versions; /* min_version that the newest one was made with */
};

extern struct contexts_scene contexts_scene;

/* Begin anew. */
void contexts_scene_reset(void);

/* The number of a context, and the references it has. */
int contexts_scene_generation(const struct tls_context *context);
int contexts_scene_refs(const struct tls_context *context);

#endif
