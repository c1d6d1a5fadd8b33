#include "tests/lib/contexts_scene.h"

#include "core/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct tls_context {
    int refs;
    int generation;
};

struct contexts_scene contexts_scene;

static char version[8];

void contexts_scene_reset(void)
{
    contexts_scene = (struct contexts_scene){.base_fd = -1};
}

int contexts_scene_generation(const struct tls_context *context)
{
    return context == NULL ? 0 : context->generation;
}

int contexts_scene_refs(const struct tls_context *context)
{
    return context->refs;
}

int tls_context_create(struct tls_context **context, const struct tls_settings *settings, struct tls_context *former,
                       int base_fd, const struct log *log, char *err, size_t errlen)
{
    (void)log;
    if (contexts_scene.is_absent) {
        return error_text(err, errlen, -ENOTSUP, "no TLS in this build");
    }
    struct tls_context *made = calloc(1, sizeof *made);
    assert(made != NULL);
    *made = (struct tls_context){.refs = 1, .generation = ++contexts_scene.generation};
    contexts_scene.made++;
    contexts_scene.adds = 0;
    contexts_scene.base_fd = base_fd;
    contexts_scene.former = contexts_scene_generation(former);
    contexts_scene.is_stale = false;
    contexts_scene.versions = NULL;
    if (settings->min_version != NULL) {
        strncpy(version, settings->min_version, sizeof version - 1);
        contexts_scene.versions = version;
    }
    *context = made;
    return 0;
}

int tls_context_add(struct tls_context *context, const struct tls_certificate *certificate, char *err, size_t errlen)
{
    (void)context;
    const char *source = certificate->cert_file != NULL ? certificate->cert_file : certificate->cert_pem;
    if (contexts_scene.bad != NULL && strcmp(contexts_scene.bad, source) == 0) {
        return error_text(err, errlen, -ENOENT, "%s: no such file", source);
    }
    contexts_scene.adds++;
    return 0;
}

void tls_context_warn(const struct tls_context *context)
{
    (void)context;
    contexts_scene.warned++;
}

bool tls_context_is_stale(struct tls_context *context)
{
    (void)context;
    bool is_stale = contexts_scene.is_stale;
    contexts_scene.is_stale = false;
    return is_stale;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    context->refs++;
    return context;
}

void tls_context_put(struct tls_context *context)
{
    if (context != NULL && --context->refs == 0) {
        contexts_scene.made--;
        free(context);
    }
}
