/* Happy path: evs_config_read() when the server starts, evs_config_keep() for as long as it lives, evs_config_apply() for
 * each site, evs_config_drop() at the end. It fails for values out of range, with a text, and without memory. */

#include "http/host/evs_config.h"

#include "core/log.h"
#include "core/mem.h"
#include "evserve.h"
#include "http/host/evs_mounts.h"
#include "http/limits.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

int evs_config_read(struct evserve_config *copy, const struct evserve_config *config, char *err, size_t errlen)
{
    *copy = (struct evserve_config){0};
    if (config == NULL) {
        return error_text(err, errlen, -EINVAL, "there is no evserve_config: it is NULL");
    }
    if (config->size < offsetof(struct evserve_config, listen) || config->size > sizeof *copy) {
        return error_text(err, errlen, -EINVAL,
                          "evserve_config.size is %zu, expected sizeof(struct evserve_config), %zu", config->size,
                          sizeof *copy);
    }
    memcpy(copy, config, config->size);
    if (copy->sandbox < 0 || copy->sandbox > EVSERVE_SANDBOX_REQUIRE) {
        return error_text(err, errlen, -ERANGE,
                          "evserve_config.sandbox is %d: 0, EVSERVE_SANDBOX or EVSERVE_SANDBOX_REQUIRE expected",
                          copy->sandbox);
    }
    if (copy->reactors > EVSERVE_REACTORS_MAX) {
        return error_text(err, errlen, -ERANGE, "evserve_config.reactors is %u: at most %d threads, or 0 for none",
                          copy->reactors, EVSERVE_REACTORS_MAX);
    }
    if (copy->log_level < 0 || copy->log_level > EVSERVE_LOG_DEBUG) {
        return error_text(err, errlen, -ERANGE, "evserve_config.log_level is %d: the levels are %d to %d",
                          copy->log_level, EVSERVE_LOG_ERROR, EVSERVE_LOG_DEBUG);
    }
    return 0;
}

static void drop_routes(struct evs_route *routes)
{
    for (size_t i = 0; routes != NULL && routes[i].route != NULL; i++) {
        mem_free((void *)(uintptr_t)routes[i].route); /* our copy */
    }
    mem_free(routes);
}

/* A copy of the host's routes, which may go after evserve_start(). */
static struct evs_route *copy_routes(const struct evs_route *routes)
{
    size_t count = 0;
    while (routes[count].route != NULL) {
        count++;
    }
    struct evs_route *copy = mem_zalloc((count + 1) * sizeof *copy);
    for (size_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = routes[i];
        copy[i].route = mem_copy_text(routes[i].route);
        if (copy[i].route == NULL) {
            drop_routes(copy);
            return NULL;
        }
    }
    return copy;
}

void evs_config_drop(struct evserve_config *kept)
{
    mem_free((void *)(uintptr_t)kept->listen);
    mem_free((void *)(uintptr_t)kept->root);
    mem_free((void *)(uintptr_t)kept->script);
    drop_routes((struct evs_route *)(uintptr_t)kept->routes);
    mem_free((void *)(uintptr_t)kept->mounts);
}

int evs_config_keep(struct evserve_config *kept, const struct evserve_config *config)
{
    *kept = *config;
    kept->listen = config->listen == NULL ? NULL : mem_copy_text(config->listen);
    kept->root = config->root == NULL ? NULL : mem_copy_text(config->root);
    kept->script = config->script == NULL ? NULL : mem_copy_text(config->script);
    kept->routes = config->routes == NULL ? NULL : copy_routes(config->routes);
    kept->mounts = config->mounts == NULL ? NULL : evs_mounts_copy(config->mounts);
    kept->allow_read = kept->allow_write = NULL; /* of the start alone */
    bool is_whole = (kept->listen == NULL) == (config->listen == NULL) &&
                    (kept->root == NULL) == (config->root == NULL) &&
                    (kept->script == NULL) == (config->script == NULL) &&
                    (kept->routes == NULL) == (config->routes == NULL) &&
                    (kept->mounts == NULL) == (config->mounts == NULL);
    return is_whole ? 0 : -ENOMEM;
}

/* One setting of the config that is a limit of the server. */
struct setting {
    const char *name; /* in limits.def */
    size_t offset;    /* of its uint64_t in struct evserve_config */
};

/* Whatever is a limit is in the config too, or this does not compile. */
static const struct setting settings[] = {
#define CONFIG_FIELD_MS(name)    name##_ms
#define CONFIG_FIELD_BYTES(name) name
#define CONFIG_FIELD_COUNT(name) name
#define LIMIT(name, scope, unit, initial, least, most, what)                                                           \
    {#name, offsetof(struct evserve_config, CONFIG_FIELD_##unit(name))},
#include "http/limits.def"
#undef LIMIT
};

int evs_config_apply(struct limits *limits, const struct evserve_config *config, char *err, size_t errlen)
{
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        uint64_t value;
        memcpy(&value, (const char *)config + settings[i].offset, sizeof value);
        if (value != 0) {
            value = value == EVSERVE_ZERO ? 0 : value;
            int rv = limits_set(limits, limits_find(settings[i].name), value, err, errlen);
            if (rv < 0) {
                return rv;
            }
        }
    }
    return limits_check(limits, err, errlen);
}
