/* Failure mode: members that contradict each other, with a text that names the certificate by its index. */

#include "http/host/evs_certificates.h"

#include "core/log.h"
#include "core/tls_dev.h"
#include "evserve.h"
#include "http/host/tls_plan.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

/* An entry without a certificate ends the array; if it has other members, the certificate was forgotten. */
static bool is_last(const struct evs_certificate *entry)
{
    return entry->name == NULL && entry->cert_file == NULL && entry->key_file == NULL && entry->cert_pem == NULL &&
           entry->key_pem == NULL && entry->client_ca_file == NULL && entry->client_ca_pem == NULL &&
           entry->client_optional == 0;
}

static int add_certificate(struct tls_plan *plan, const struct evs_certificate *entry, size_t n, char *err,
                           size_t errlen)
{
    const struct tls_certificate certificate = {
        .name = entry->name,
        .cert_file = entry->cert_file,
        .key_file = entry->key_file,
        .cert_pem = entry->cert_pem,
        .key_pem = entry->key_pem,
        .client_ca_file = entry->client_ca_file,
        .client_ca_pem = entry->client_ca_pem,
        .is_client_optional = entry->client_optional != 0,
    };
    char text[EVSERVE_ERROR_MAX], place[64];
    /* Files alone say which one it is, and may come from a command line. */
    bool is_files = entry->name == NULL && entry->cert_pem == NULL && entry->key_pem == NULL &&
                    entry->client_ca_file == NULL && entry->client_ca_pem == NULL;
    snprintf(place, sizeof place, "evserve_config.certificates[%zu]", n);
    int rv = tls_plan_add(plan, &certificate, is_files ? NULL : place, text, sizeof text);
    return rv == 0 ? 0 : error_text(err, errlen, rv, "evserve_config.certificates[%zu]: %s", n, text);
}

int evs_certificates_read(struct tls_plan *plan, const struct evserve_config *config, char *err, size_t errlen)
{
    const struct tls_settings settings = {
        .min_version = config->tls_min_version,
        .ciphers = config->tls_ciphers,
        .groups = config->tls_groups,
        .ciphers_place = config->tls_ciphers == NULL ? NULL : "evserve_config.tls_ciphers",
        .groups_place = config->tls_groups == NULL ? NULL : "evserve_config.tls_groups",
    };
    char text[EVSERVE_ERROR_MAX];
    int rv = tls_plan_set(plan, &settings, text, sizeof text);
    if (rv < 0) {
        return error_text(err, errlen, rv, "evserve_config.tls_%s", text);
    }
    const struct evs_certificate *entries = config->certificates;
    for (size_t n = 0; entries != NULL && !is_last(&entries[n]) && rv == 0; n++) {
        rv = add_certificate(plan, &entries[n], n, err, errlen);
    }
    return rv;
}

static int check_dev(const struct evserve_config *config, char *err, size_t errlen)
{
    char text[EVSERVE_ERROR_MAX];
    if (config->tls_dev == NULL) {
        return config->tls_dev_anywhere == 0
                   ? 0
                   : error_text(err, errlen, -EINVAL, "evserve_config.tls_dev_anywhere is set, but tls_dev is not");
    }
    if (config->certificates != NULL && !is_last(&config->certificates[0])) {
        return error_text(err, errlen, -EINVAL,
                          "evserve_config.tls_dev makes a certificate for development, and there are others in "
                          "evserve_config.certificates: one or the other is expected");
    }
    int rv = tls_dev_check(config->tls_dev, text, sizeof text);
    return rv == 0 ? 0 : error_text(err, errlen, rv, "evserve_config.tls_dev: %s", text);
}

int evs_certificates_check(const struct evserve_config *config, char *err, size_t errlen)
{
    struct tls_plan plan;
    tls_plan_init(&plan);
    int rv = evs_certificates_read(&plan, config, err, errlen);
    tls_plan_done(&plan);
    return rv < 0 ? rv : check_dev(config, err, errlen);
}
