#include "tests/lib/contexts_scene.h"

#include "core/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CERTIFICATES_MAX = 300 };

struct tls_context {
    int refs;
    int generation;
    size_t count;
    struct {
        char source[16];
        char failure[64];
        bool is_behind;
    } certificates[CERTIFICATES_MAX];
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
    contexts_scene.adds = contexts_scene.takes = 0;
    contexts_scene.base_fd = base_fd;
    contexts_scene.former = contexts_scene_generation(former);
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
    const char *source = certificate->cert_file != NULL ? certificate->cert_file : certificate->cert_pem;
    if (contexts_scene.bad != NULL && strcmp(contexts_scene.bad, source) == 0) {
        return error_text(err, errlen, -ENOENT, "%s: no such file", source);
    }
    contexts_scene.adds++;
    assert(context->count < CERTIFICATES_MAX);
    snprintf(context->certificates[context->count++].source, sizeof context->certificates[0].source, "%s", source);
    return 0;
}

int tls_context_take(struct tls_context *context, struct tls_context *former, size_t n, const char *reason)
{
    assert(n < former->count && context->count < CERTIFICATES_MAX);
    bool is_news = reason != NULL && strcmp(former->certificates[n].failure, reason) != 0;
    if (reason != NULL) {
        former->certificates[n].is_behind = true;
        snprintf(former->certificates[n].failure, sizeof former->certificates[n].failure, "%s", reason);
    }
    context->certificates[context->count++] = former->certificates[n];
    contexts_scene.takes++;
    return is_news ? 1 : 0;
}

int tls_context_finish(struct tls_context *context, char *err, size_t errlen)
{
    (void)context;
    return contexts_scene.is_unfinished ? error_text(err, errlen, -ENOMEM, "out of memory") : 0;
}

void tls_context_warn(struct tls_context *context, bool is_full)
{
    (void)context;
    contexts_scene.warned += is_full ? 1 : 0;
    contexts_scene.watched++;
}

bool tls_context_log_renewed(const struct tls_context *context, size_t n, const struct tls_context *former, size_t was)
{
    if (n >= context->count || was >= former->count) {
        abort();
    }
    return contexts_scene.is_other;
}

bool tls_context_is_stale(struct tls_context *context)
{
    bool has_changed = false;
    for (size_t i = 0; i < context->count; i++) {
        if (contexts_scene.is_stale ||
            (contexts_scene.stale != NULL && strcmp(contexts_scene.stale, context->certificates[i].source) == 0)) {
            context->certificates[i].is_behind = has_changed = true;
        }
    }
    contexts_scene.is_stale = false;
    contexts_scene.stale = NULL;
    return has_changed;
}

bool tls_context_is_behind(const struct tls_context *context, size_t n)
{
    return context->certificates[n].is_behind;
}

bool tls_context_has_behind(const struct tls_context *context)
{
    bool is_behind = false;
    for (size_t i = 0; i < context->count && !is_behind; i++) {
        is_behind = context->certificates[i].is_behind;
    }
    return is_behind;
}

struct tls_tickets *tls_context_tickets(const struct tls_context *context_)
{
    (void)context_;
    return NULL;
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
