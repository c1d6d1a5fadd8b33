/* Happy path: tls_plan_add() and tls_plan_set() while a script or a config is read, tls_plan_join(), tls_plan_make().
 *
 * Failure modes: contradictions are errors when they are asked for; what is in the files, when the context is made. */

#include "http/host/tls_plan.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/tls_context.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Where the texts of a certificate and of the settings are, so that they can be copied and freed in a loop. */
static const size_t certificate_texts[] = {
    offsetof(struct tls_certificate, name),          offsetof(struct tls_certificate, cert_file),
    offsetof(struct tls_certificate, key_file),      offsetof(struct tls_certificate, cert_pem),
    offsetof(struct tls_certificate, key_pem),       offsetof(struct tls_certificate, client_ca_file),
    offsetof(struct tls_certificate, client_ca_pem),
};

static const struct {
    const char *name;
    size_t offset;
} setting_texts[] = {
    {"min_version", offsetof(struct tls_settings, min_version)},
    {"ciphers", offsetof(struct tls_settings, ciphers)},
    {"ciphersuites", offsetof(struct tls_settings, ciphersuites)},
    {"groups", offsetof(struct tls_settings, groups)},
    {"alpn", offsetof(struct tls_settings, alpn)},
    {NULL, offsetof(struct tls_settings, ciphers_place)}, /* NULL: the first value stays */
    {NULL, offsetof(struct tls_settings, groups_place)},
};

enum {
    CERTIFICATE_TEXTS = sizeof certificate_texts / sizeof certificate_texts[0],
    SETTING_TEXTS = sizeof setting_texts / sizeof setting_texts[0],
};

static const char *text_at(const void *values, size_t offset)
{
    const char *text;
    memcpy(&text, (const char *)values + offset, sizeof text);
    return text;
}

static void set_text(void *values, size_t offset, const char *text)
{
    memcpy((char *)values + offset, &text, sizeof text);
}

/* Free a text of ours that may be a key. */
static void forget_text(const char *text)
{
    char *ours = (char *)(uintptr_t)text;
    if (ours != NULL) {
        explicit_bzero(ours, strlen(ours));
        mem_free(ours);
    }
}

static void forget_certificate(struct tls_certificate *certificate)
{
    for (size_t i = 0; i < CERTIFICATE_TEXTS; i++) {
        forget_text(text_at(certificate, certificate_texts[i]));
    }
    *certificate = (struct tls_certificate){0};
}

void tls_plan_init(struct tls_plan *plan)
{
    *plan = (struct tls_plan){0};
}

void tls_plan_done(struct tls_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        forget_certificate(&plan->certificates[i]);
        mem_free(plan->places[i]);
    }
    mem_free(plan->certificates);
    mem_free(plan->places);
    for (size_t i = 0; i < SETTING_TEXTS; i++) {
        forget_text(text_at(&plan->settings, setting_texts[i].offset));
    }
    tls_plan_init(plan);
}

/* Adding. */

/* Whether the members of a certificate fit together: 0, or -EINVAL with a text. */
static int check_certificate(const struct tls_certificate *certificate, char *err, size_t errlen)
{
    const char *wrong = NULL;
    if (certificate->cert_file == NULL && certificate->cert_pem == NULL) {
        wrong = "there is no certificate: give a file or PEM text";
    } else if (certificate->cert_file != NULL && certificate->cert_pem != NULL) {
        wrong = "the certificate is given twice: a file or PEM text expected, not both";
    } else if (certificate->key_file != NULL && certificate->key_pem != NULL) {
        wrong = "the key is given twice: a file or PEM text expected, not both";
    } else if (certificate->client_ca_file != NULL && certificate->client_ca_pem != NULL) {
        wrong = "client_ca is given twice: a file or PEM text expected, not both";
    } else if (certificate->is_client_optional && certificate->client_ca_file == NULL &&
               certificate->client_ca_pem == NULL) {
        wrong = "a client certificate is optional, but client_ca does not say who may sign it";
    } else if (certificate->name != NULL && certificate->name[0] == '\0') {
        wrong = "the name is empty";
    }
    return wrong == NULL ? 0 : error_text(err, errlen, -EINVAL, "%s", wrong);
}

static int copy_certificate(struct tls_certificate *copy, const struct tls_certificate *certificate)
{
    *copy = (struct tls_certificate){.is_client_optional = certificate->is_client_optional};
    for (size_t i = 0; i < CERTIFICATE_TEXTS; i++) {
        const char *text = text_at(certificate, certificate_texts[i]);
        const char *ours = text == NULL ? NULL : mem_copy_text(text);
        if (text != NULL && ours == NULL) {
            forget_certificate(copy);
            return -ENOMEM;
        }
        set_text(copy, certificate_texts[i], ours);
    }
    return 0;
}

/* Room for one more. */
static int grow_plan(struct tls_plan *plan)
{
    struct tls_certificate *certificates = mem_resize(plan->certificates,
                                                      (plan->count + 1) * sizeof *plan->certificates);
    plan->certificates = certificates == NULL ? plan->certificates : certificates;
    char **places = certificates == NULL ? NULL : mem_resize(plan->places, (plan->count + 1) * sizeof *places);
    plan->places = places == NULL ? plan->places : places;
    return places == NULL ? -ENOMEM : 0;
}

/* Add a certificate that was checked. */
static int append(struct tls_plan *plan, const struct tls_certificate *certificate, const char *place)
{
    int rv = grow_plan(plan);
    char *our_place = rv < 0 || place == NULL ? NULL : mem_copy_text(place);
    if (rv < 0 || (place != NULL && our_place == NULL) ||
        copy_certificate(&plan->certificates[plan->count], certificate) < 0) {
        mem_free(our_place);
        return -ENOMEM;
    }
    plan->places[plan->count++] = our_place;
    return 0;
}

int tls_plan_add(struct tls_plan *plan, const struct tls_certificate *certificate, const char *place, char *err,
                 size_t errlen)
{
    int rv = check_certificate(certificate, err, errlen);
    if (rv < 0) {
        return rv;
    }
    if (plan->count == TLS_CERTIFICATES_MAX) {
        return error_text(err, errlen, -ENOSPC, "more than %d certificates", TLS_CERTIFICATES_MAX);
    }
    rv = append(plan, certificate, place);
    return rv == 0 ? 0 : error_text(err, errlen, rv, "%s", errno_text(-rv));
}

/* Settings. */

static int set_one(struct tls_plan *plan, size_t which, const char *text, char *err, size_t errlen)
{
    const char *name = setting_texts[which].name;
    const char *was = text_at(&plan->settings, setting_texts[which].offset);
    if (which == 0 && strcmp(text, "1.2") != 0 && strcmp(text, "1.3") != 0) {
        return error_text(err, errlen, -EINVAL, "%s: \"1.2\" or \"1.3\" expected, not \"%.40s\"", name, text);
    }
    if (text[0] == '\0') {
        return error_text(err, errlen, -EINVAL, "%s: the text is empty", name);
    }
    if (was != NULL) {
        return name == NULL || strcmp(was, text) == 0
                   ? 0
                   : error_text(err, errlen, -EEXIST, "%s holds for all certificates, and is \"%.80s\" already", name,
                                was);
    }
    const char *ours = mem_copy_text(text);
    if (ours == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s: %s", name == NULL ? "place" : name, errno_text(ENOMEM));
    }
    set_text(&plan->settings, setting_texts[which].offset, ours);
    return 0;
}

int tls_plan_set(struct tls_plan *plan, const struct tls_settings *settings, char *err, size_t errlen)
{
    int rv = 0;
    for (size_t i = 0; i < SETTING_TEXTS && rv == 0; i++) {
        const char *text = text_at(settings, setting_texts[i].offset);
        rv = text == NULL ? 0 : set_one(plan, i, text, err, errlen);
    }
    return rv;
}

/* Joining, making. */

int tls_plan_join(struct tls_plan *plan, const struct tls_plan *host, const struct tls_plan *script)
{
    const struct tls_plan *from = host->count > 0 || script == NULL ? host : script;
    int rv = 0;
    for (size_t i = 0; i < from->count && rv == 0; i++) {
        rv = append(plan, &from->certificates[i], from->places[i]);
    }
    for (size_t i = 0; i < SETTING_TEXTS && rv == 0; i++) {
        size_t offset = setting_texts[i].offset;
        const char *text = text_at(&host->settings, offset);
        text = text != NULL || script == NULL ? text : text_at(&script->settings, offset);
        rv = text == NULL ? 0 : set_one(plan, i, text, NULL, 0);
    }
    return rv;
}

static bool is_same_text(const char *one, const char *other)
{
    return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

static bool is_same_certificate(const struct tls_certificate *one, const struct tls_certificate *other)
{
    bool is_same = one->is_client_optional == other->is_client_optional;
    for (size_t i = 0; i < CERTIFICATE_TEXTS && is_same; i++) {
        is_same = is_same_text(text_at(one, certificate_texts[i]), text_at(other, certificate_texts[i]));
    }
    return is_same;
}

/* Where the same certificate is in the former plan: at its old place, most likely. */
static bool find_former(const struct tls_former *former, const struct tls_certificate *certificate, size_t *n)
{
    const struct tls_plan *plan = former->plan;
    if (*n < plan->count && is_same_certificate(&plan->certificates[*n], certificate)) {
        return true;
    }
    for (*n = 0; *n < plan->count; ++*n) {
        if (is_same_certificate(&plan->certificates[*n], certificate)) {
            return true;
        }
    }
    return false;
}

/* Each make has one of these. */
struct make_call {
    const struct tls_plan *plan;
    struct tls_former *former; /* or NULL */
    struct tls_context *context;
    const struct log *log;
};

/* Add the n-th certificate of the plan: read, or from the former context. Returns 0, or -errno with a text in err. */
static int add_from_plan(const struct make_call *call, size_t n, char *err, size_t errlen)
{
    const struct tls_certificate *certificate = &call->plan->certificates[n];
    const char *place = call->plan->places[n] == NULL ? "" : call->plan->places[n];
    struct tls_former *former = call->former;
    size_t was = n;
    bool is_there = former != NULL && find_former(former, certificate, &was);
    if (is_there && !former->is_reload && !tls_context_is_behind(former->context, was)) {
        int rv = tls_context_take(call->context, former->context, was, NULL);
        return rv < 0 ? error_text(err, errlen, rv, "%s", errno_text(-rv)) : 0;
    }
    char text[1024];
    struct tls_certificate named = *certificate;
    named.place = call->plan->places[n];
    int rv = tls_context_add(call->context, &named, text, sizeof text);
    if (rv == -EACCES && former != NULL && former->is_confined) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, " (outside the sandbox? --allow-read)");
    }
    if (rv == 0 && former != NULL) {
        former->renewed++;
    }
    if (rv < 0 && rv != -ENOMEM && is_there) {
        former->kept++;
        rv = tls_context_take(call->context, former->context, was, text);
        if (rv > 0 || (rv == 0 && former->is_reload)) {
            log_write(call->log, LOG_ERROR, "%s%sthe TLS certificate in use is kept: %s", place,
                      place[0] == '\0' ? "" : ": ", text);
        }
    }
    return rv >= 0 ? 0 : error_text(err, errlen, rv, "%s%s%s", place, place[0] == '\0' ? "" : ": ", text);
}

/* Log which certificates are others than before. */
static void log_renewed(const struct make_call *call)
{
    for (size_t i = 0; i < call->plan->count; i++) {
        size_t was = i;
        if (find_former(call->former, &call->plan->certificates[i], &was) &&
            tls_context_log_renewed(call->context, i, call->former->context, was)) {
            call->former->named++;
        }
    }
}

int tls_plan_make(const struct tls_plan *plan, struct tls_former *former, int base_fd, const struct log *log,
                  struct tls_context **context, char *err, size_t errlen)
{
    struct make_call call = {.plan = plan, .former = former, .log = log};
    int rv = tls_context_create(&call.context, &plan->settings, former == NULL ? NULL : former->context, base_fd, log,
                                err, errlen);
    for (size_t i = 0; i < plan->count && rv == 0; i++) {
        rv = add_from_plan(&call, i, err, errlen);
    }
    rv = rv < 0 ? rv : tls_context_finish(call.context, err, errlen);
    if (rv < 0) {
        tls_context_put(call.context);
        return rv;
    }
    if (former != NULL) {
        log_renewed(&call);
    }
    *context = call.context;
    return 0;
}

int tls_plan_each_file(const struct tls_plan *plan, int (*fn)(void *arg, const char *path), void *arg)
{
    int rv = 0;
    for (size_t i = 0; i < plan->count && rv == 0; i++) {
        const struct tls_certificate *certificate = &plan->certificates[i];
        const char *files[] = {certificate->cert_file, certificate->key_file, certificate->client_ca_file};
        for (size_t n = 0; n < sizeof files / sizeof files[0] && rv == 0; n++) {
            rv = files[n] == NULL ? 0 : fn(arg, files[n]);
        }
    }
    return rv;
}
