/* Happy path: plan_init(), plan_read_script(), then plan_make_offer() for each thread, and again at each reload.
 *
 * Failure modes: whatever the script, the host or the file system gets wrong is a text in err, and no offer. */

#include "http/host/plan.h"

#include "core/file_text.h"
#include "core/log.h"
#include "core/sys.h"
#include "http/host/evs_config.h"
#include "http/host/evs_routes.h"
#include "http/host/offer.h"
#include "http/site.h"
#include "http/static_mounts.h"

#include <errno.h>
#include <fcntl.h>

int plan_init(struct plan *plan, const struct evserve_config *config, const struct script_kind *kind,
              const struct log *log)
{
    *plan = (struct plan){.kind = kind, .log = log};
    if (evs_config_keep(&plan->config, config) < 0) {
        evs_config_drop(&plan->config);
        return -ENOMEM;
    }
    plan->base_fd = sys_open(AT_FDCWD, ".", O_PATH | O_DIRECTORY);
    file_stamps_init(&plan->files);
    file_stamps_set_base(&plan->files, plan->base_fd);
    write_buffer_init(&plan->script_text);
    return 0;
}

void plan_abandon(struct plan *plan)
{
    if (plan->base_fd >= 0) {
        sys_close(plan->base_fd);
        plan->base_fd = -1;
    }
}

void plan_done(struct plan *plan)
{
    plan_abandon(plan);
    file_stamps_done(&plan->files);
    write_buffer_done(&plan->script_text);
    evs_config_drop(&plan->config);
}

int plan_read_script(struct plan *plan, char *err, size_t errlen)
{
    const char *path = plan->config.script;
    if (path == NULL || !file_text_is_passing(path)) {
        return 0;
    }
    plan->is_piped = true;
    int rv = file_text_read(&plan->script_text, plan->base_fd, path, SCRIPT_BYTES_MAX);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot read %s: %s", path, errno_text(-rv));
    }
    if (write_buffer_len(&plan->script_text) == 0) { /* else a server without any route would run */
        return error_text(err, errlen, -EINVAL, "%s: the script is empty (did what writes to the pipe fail?)", path);
    }
    return 0;
}

static void note_file(void *arg, const char *path, enum script_file what)
{
    struct plan *plan = arg;
    if (what == SCRIPT_FILE_WRITTEN) {
        file_stamps_ignore(&plan->files, path);
    } else if (what == SCRIPT_FILE_READ) {
        (void)file_stamps_note_data(&plan->files, path);
    } else {
        (void)file_stamps_note(&plan->files, path); /* one too many is not watched */
    }
}

int plan_make_offer(struct plan *plan, struct reactor *reactor, bool is_first, struct offer **made, char *err,
                    size_t errlen)
{
    const struct evserve_config *config = &plan->config;
    const struct offer_config wanted = {
        .base_fd = plan->base_fd,
        .root = config->root,
        .mounts = config->mounts,
        .routes = config->routes,
        .script = config->script,
        .kind = plan->kind,
        .host.init = config->lua_init,
        .host.arg = config->arg,
        .host.handler_cpu_ms = config->handler_cpu_ms,
        .host.lua_memory_bytes = config->lua_memory,
        .host.debug = config->debug != 0,
        .host.text = plan->is_piped ? write_buffer_data(&plan->script_text) : NULL,
        .host.text_len = write_buffer_len(&plan->script_text),
        .host.base_fd = plan->base_fd,
        .host.on_file = note_file,
        .host.on_file_arg = plan,
    };
    struct offer *offer = NULL;
    int rv = offer_create(&offer, &wanted, reactor, plan->log, err, errlen);
    if (rv >= 0 && is_first) { /* once for all threads */
        static_mounts_log_missing(offer->site->mounts, plan->log);
    }
    if (rv >= 0) {
        rv = evs_config_apply(&offer->site->limits, config, err, errlen); /* it wins over the script */
    }
    if (rv >= 0) {
        rv = evs_routes_settle_limits(offer->routes, &offer->site->limits, err, errlen);
    }
    if (rv < 0) {
        offer_destroy(offer);
        return rv;
    }
    *made = offer;
    return 0;
}
