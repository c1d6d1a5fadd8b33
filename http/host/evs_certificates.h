#ifndef EVSERVE_HTTP_EVS_CERTIFICATES_H
#define EVSERVE_HTTP_EVS_CERTIFICATES_H

/* The certificates of a struct evserve_config (evserve.h). */

#include <stddef.h>

struct evserve_config;
struct tls_plan;

/* Add copies of a config's certificates, and its TLS settings, to plan, which is empty. Returns 0, or -errno with a
 * text in err that names the member; then plan is to be freed all the same. */
int evs_certificates_read(struct tls_plan *plan, const struct evserve_config *config, char *err, size_t errlen);

/* Whether evs_certificates_read() would succeed, and tls_dev makes sense: 0, or -errno with a text in err. */
int evs_certificates_check(const struct evserve_config *config, char *err, size_t errlen);

#endif
