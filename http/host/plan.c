/* Happy path: plan_init(), plan_read_script(), then plan_make_offer() for each thread and plan_start_tls(), and again
 * at each reload.
 *
 * Failure modes: whatever the script, the host or the file system gets wrong is a text in err, and no offer. */

#include "http/host/plan.h"
#include "http/host/clear_text.h"

#include "core/cgroup.h"
#include "core/destinations.h"
#include "core/file_text.h"
#include "core/hub.h"
#include "core/job_pools.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/outbound.h"
#include "core/packed.h"
#include "core/stores.h"
#include "core/sys.h"
#include "core/tls_context.h"
#include "core/tls_dev.h"
#include "http/access_file.h"
#include "http/access_hosts.h"
#include "http/acme.h"
#include "http/error_pages.h"
#include "http/host/evs_certificates.h"
#include "http/host/evs_config.h"
#include "http/host/evs_proxies.h"
#include "http/host/evs_routes.h"
#include "http/host/evs_vhosts.h"
#include "http/host/offer.h"
#include "http/metrics_board.h"
#include "http/metrics_own.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "http/static_mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* Read the list of servers for the sandbox, which was found to be valid. Returns 0 or -ENOMEM. */
static int keep_allowed(struct plan *plan, const struct evserve_config *config)
{
    const char *list = config->allow_connect == NULL ? "" : config->allow_connect;
    return config->sandbox == 0 ? 0 : destinations_parse_allowed(&plan->allowed, list, NULL, 0);
}

/* Copy the sockets that the host has for the start. Returns 0 or -ENOMEM. */
static int keep_handed(struct plan *plan, const struct evserve_config *config)
{
    unsigned count = config->inherited_count;
    plan->handed.sockets = count == 0 ? NULL : mem_zalloc(count * sizeof *plan->handed.sockets);
    if (count > 0 && plan->handed.sockets == NULL) {
        return -ENOMEM;
    }
    plan->handed.count = count;
    for (unsigned i = 0; i < count; i++) {
        plan->handed.sockets[i].fd = config->inherited[i].fd;
        memcpy(plan->handed.sockets[i].address, config->inherited[i].address, NET_TEXT_MAX);
    }
    return 0;
}

void plan_forget_handed(struct plan *plan)
{
    mem_free(plan->handed.sockets);
    plan->handed = (struct net_handed_list){0};
}

_Static_assert((int)NET_TEXT_MAX == (int)EVSERVE_ADDRESS_MAX, "addresses are copied whole");

enum {
    MIB = 1 << 20,
    LUA_MEMORY_PART = 2,       /* of the cgroup's limit, for the Lua states of all threads */
    LUA_MEMORY_LEAST_MIB = 4,  /* of one state */
    LUA_MEMORY_MOST_MIB = 256, /* its default where there is no such limit */
};

void plan_release_jobs(struct plan *plan, void (*on_last)(void *owner), void *owner)
{
    job_pools_release(plan->jobs, on_last, owner);
}

static void forget_jobs(void *owner)
{
    (void)owner;
}

int plan_init(struct plan *plan, const struct evserve_config *config, const struct script_kind *kind,
              const struct log *log)
{
    *plan = (struct plan){.kind = kind, .log = log};
    tls_plan_init(&plan->certificates);
    unsigned count = config->reactors == 0 ? 1 : config->reactors;
    if (metrics_board_create(&plan->board, count, log) < 0) {
        return -ENOMEM;
    }
    if (stores_create(&plan->stores) < 0 || hub_create(&plan->hub, count) < 0 || job_pools_create(&plan->jobs) < 0 ||
        evs_config_keep(&plan->config, config) < 0 || evs_certificates_read(&plan->certificates, config, NULL, 0) < 0 ||
        keep_handed(plan, config) < 0 || keep_allowed(plan, config) < 0) {
        plan_forget_handed(plan);
        evs_config_drop(&plan->config);
        tls_plan_done(&plan->certificates);
        metrics_board_destroy(plan->board);
        stores_release(plan->stores);
        hub_destroy(plan->hub);
        plan_release_jobs(plan, forget_jobs, NULL);
        return -ENOMEM; /* evs_config_read() has found them to be valid */
    }
    metrics_board_set_jobs(plan->board, plan->jobs);
    metrics_board_set_hub(plan->board, plan->hub);
    plan->base_fd = sys_open(AT_FDCWD, ".", O_PATH | O_DIRECTORY);
    file_stamps_init(&plan->files);
    file_stamps_set_base(&plan->files, plan->base_fd);
    write_buffer_init(&plan->script_text);
    tls_keeper_init(&plan->tls, plan->base_fd, log);
    limit_keeper_init(&plan->limits);
    access_keeper_init(&plan->access, plan->base_fd, log);
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
    plan_forget_handed(plan);
    file_stamps_done(&plan->files);
    write_buffer_done(&plan->script_text);
    tls_keeper_done(&plan->tls);
    access_keeper_done(&plan->access);
    limit_keeper_done(&plan->limits);
    metrics_board_destroy(plan->board);
    stores_release(plan->stores);
    hub_destroy(plan->hub);
    destinations_destroy(plan->allowed);
    tls_plan_done(&plan->certificates);
    packed_destroy(plan->packed);
    evs_config_drop(&plan->config);
}

/* A cgroup that runs out of memory is killed whole, so the states of all threads together get half of what it may have:
 * the rest is for connections, files, and the new states during a reload. Rounded down to whole MiB. */
static uint64_t choose_lua_memory(unsigned reactors)
{
    int root_fd = sys_open(AT_FDCWD, "/", O_PATH | O_DIRECTORY);
    uint64_t limit = root_fd < 0 ? UINT64_MAX : cgroup_memory_bytes(root_fd);
    if (root_fd >= 0) {
        sys_close(root_fd);
    }
    return plan_share_memory(limit, reactors);
}

uint64_t plan_share_memory(uint64_t limit_bytes, unsigned reactors)
{
    uint64_t each = limit_bytes / LUA_MEMORY_PART / (reactors == 0 ? 1 : reactors) / MIB;
    return each >= LUA_MEMORY_MOST_MIB ? 0 : (each < LUA_MEMORY_LEAST_MIB ? LUA_MEMORY_LEAST_MIB : each) * MIB;
}

/* Make the set of config.script_files. */
static int pack_files(struct plan *plan, char *err, size_t errlen)
{
    const struct evs_asset *list = plan->config.script_files;
    char why[512];
    size_t count = 0;
    while (list != NULL && list[count].path != NULL) {
        count++;
    }
    if (count == 0) {
        return 0;
    }
    struct packed_file *files = mem_alloc(count * sizeof *files);
    if (files == NULL) {
        return error_text(err, errlen, -ENOMEM, "evserve_config.script_files: %s", errno_text(ENOMEM));
    }
    for (size_t i = 0; i < count; i++) {
        files[i] = (struct packed_file){list[i].path, list[i].content, list[i].len,
                                        list[i].type, list[i].etag,    list[i].modified};
    }
    int rv = packed_create(&plan->packed, files, count, why, sizeof why);
    mem_free(files);
    return rv < 0 ? error_text(err, errlen, rv, "evserve_config.script_files: %s", why) : 0;
}

int plan_read_script(struct plan *plan, char *err, size_t errlen)
{
    const char *path = plan->config.script;
    int rv = pack_files(plan, err, errlen);
    if (rv < 0) {
        return rv;
    }
    if (path != NULL && plan->config.lua_memory == 0) {
        plan->lua_memory_bytes = choose_lua_memory(plan->config.reactors);
    }
    if (path == NULL || packed_find(plan->packed, path) != NULL || !file_text_is_passing(plan->base_fd, path)) {
        return 0;
    }
    plan->is_piped = true;
    rv = file_text_read(&plan->script_text, plan->base_fd, path, SCRIPT_BYTES_MAX);
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

int plan_make_offer(struct plan *plan, struct outbound *outbound, struct topics *topics, unsigned thread,
                    const struct script_load *load, struct offer **made, char *err, size_t errlen)
{
    const struct evserve_config *config = &plan->config;
    const struct offer_config wanted = {
        .base_fd = plan->base_fd,
        .root = config->root,
        .mounts = config->mounts,
        .rules = config->rules,
        .error_pages = config->error_pages,
        .proxies = config->proxies,
        .routes = config->routes,
        .hosts = config->hosts,
        .unknown_host = config->unknown_host,
        .script = config->script,
        .acme = config->acme,
        .hsts = config->hsts,
        .trusted_proxies = config->trusted_proxies,
        .forwarded = config->forwarded,
        .strip_forwarded = config->strip_forwarded != 0,
        .deny_connect = config->deny_connect,
        .broker = config->broker,
        .metrics_hosts = config->metrics_hosts,
        .access_log = config->access_log,
        .access_log_format = config->access_log_format,
        .adds_tls = config->tls_dev != NULL,
        .kind = plan->kind,
        .host.init = config->lua_init,
        .host.arg = config->arg,
        .host.handler_cpu_ms = config->handler_cpu_ms,
        .host.lua_memory_bytes = config->lua_memory,
        .host.lua_memory_default = plan->lua_memory_bytes,
        .host.debug = config->debug != 0,
        .host.is_repeat = thread != 0,
        .host.metrics = metrics_board_own(plan->board),
        .host.stores = plan->stores,
        .host.topics = topics,
        .host.thread = thread,
        .host.outbound = outbound,
        .host.jobs = plan->jobs,
        .host.load = load,
        .host.text = plan->is_piped ? write_buffer_data(&plan->script_text) : NULL,
        .host.text_len = write_buffer_len(&plan->script_text),
        .host.packed = plan->packed,
        .host.base_fd = plan->base_fd,
        .host.on_file = note_file,
        .host.on_file_arg = plan,
    };
    struct offer *offer = NULL;
    int rv = offer_create(&offer, &wanted, outbound->links.reactor, plan->log, err, errlen);
    if (rv >= 0 && thread == 0) { /* once for all threads */
        const struct vhost *vhost;
        for (size_t n = 0; (vhost = site_host(offer->site, n)) != NULL; n++) {
            static_mounts_log_missing(vhost->mounts, plan->log);
            error_pages_log_missing(vhost->error_pages, plan->log);
        }
        if (offer->site->acme != NULL) {
            acme_warn(offer->site->acme, plan->log);
        }
        clear_text_warn(offer, config->listen, plan->log);
    }
    if (rv >= 0) {
        rv = evs_config_apply(&offer->site->limits, config, err, errlen); /* it wins over the script */
    }
    if (rv >= 0) {
        rv = site_settle_hosts(offer->site, err, errlen);
    }
    if (rv >= 0) {
        rv = access_hosts_settle(&offer->site->access_hosts, offer->site, err, errlen);
    }
    if (rv >= 0 && limit_keeper_settle(&plan->limits, offer->site) < 0) {
        rv = error_text(err, errlen, -ENOMEM, "cannot start: %s", errno_text(ENOMEM));
    }
    if (rv >= 0) {
        rv = evs_routes_settle_limits(offer->routes, &offer->site->limits, err, errlen);
    }
    if (rv >= 0) {
        rv = evs_proxies_settle_limits(offer->proxies, &offer->site->limits, err, errlen);
    }
    if (rv >= 0) {
        rv = evs_vhosts_settle_limits(offer->hosts, offer->site, err, errlen);
    }
    if (rv < 0) {
        offer_destroy(offer);
        return rv;
    }
    *made = offer;
    return 0;
}

/* The access log. */

/* A format for lines that go nowhere. */
static void warn_of_formats(const struct plan *plan, const struct site *site)
{
    static const char why[] = "access_log_format is set, but no access_log, so no access log is written";
    const char *config = plan->config.access_log;
    if (site->access_log == NULL && site->access_format != NULL) {
        log_write(plan->log, LOG_WARN, "%s", why);
    }
    if (config != NULL && strcmp(config, "off") == 0) {
        return; /* which was asked for */
    }
    const struct vhost *vhost;
    for (size_t n = 1; (vhost = site_host(site, n)) != NULL; n++) {
        const char *target = vhost->access_log == NULL ? site->access_log : vhost->access_log;
        bool has_log = !vhost->is_unlogged && target != NULL && strcmp(target, "off") != 0;
        if (vhost->access_format != NULL && !has_log) {
            log_write(plan->log, LOG_WARN, "%s%sthe host %s: %s", vhost->where, vhost->where[0] == '\0' ? "" : ": ",
                      vhost->name == NULL ? "" : vhost->name, why);
        }
    }
}

int plan_open_access(struct plan *plan, const struct offer *offer, char *err, size_t errlen)
{
    const struct site *site = offer->site;
    warn_of_formats(plan, site);
    return access_keeper_set(&plan->access, site->access_log, site->access_format, site->access_hosts, err, errlen);
}

int plan_check_access(const struct plan *plan, const struct offer *offer, char *err, size_t errlen)
{
    const char *target = offer->site->access_log;
    const struct access_hosts *hosts = offer->site->access_hosts;
    bool is_on = target != NULL && strcmp(target, "off") != 0;
    int rv = is_on ? access_file_check(target, plan->base_fd, err, errlen) : 0;
    for (size_t i = 0; rv == 0 && hosts != NULL && i < hosts->count; i++) {
        char why[512];
        rv = access_file_check(hosts->list[i].target, plan->base_fd, why, sizeof why);
        rv = rv < 0 ? access_hosts_blame(&hosts->list[i], rv, why, err, errlen) : 0;
    }
    return rv;
}

/* Certificates. */

static const char no_certificate[] =
    "there is no certificate for it: name one with app.tls { cert = ..., key = ... } in the script, with --tls-cert "
    "and --tls-key on the command line, or in evserve_config.certificates";

static const char no_https[] =
    "there is no HTTPS to redirect to: an address such as \":443?tls\", with a certificate, adds it";

static const char no_tls_socket[] =
    "the server was given sockets instead, and none of them is for HTTPS: name each one and add ?tls to those that "
    "are, for example --listen 'fd:3?tls' (evserve_config.listen)";

/* Sockets take the place of all addresses of the script. They must not turn its HTTPS into plain HTTP unnoticed: with
 * systemd, nobody has decided that. Another address in their place was asked for, and is no error. */
static bool has_lost_tls(const struct plan *plan, const struct offer *offer, char address[OFFER_ADDRESS_MAX])
{
    const char *listen = plan->config.listen;
    return listen != NULL && offer_has_passed(offer, listen) && offer_find_tls(offer, NULL, address);
}

/* The certificates and settings that hold with this offer. Returns 0 or -ENOMEM. */
static int join_tls(const struct plan *plan, const struct offer *offer, struct tls_plan *joined)
{
    tls_plan_init(joined);
    int rv = tls_plan_join(joined, &plan->certificates, offer_tls(offer));
    if (rv < 0) {
        tls_plan_done(joined);
    }
    return rv;
}

/* Most likely the "?tls" was forgotten. Without any address nobody expects it. */
/* Metrics that were defined are kept, but without a page nobody sees them. */
static void warn_of_hidden_metrics(const struct plan *plan, const struct offer *offer)
{
    const char *hosts = plan->config.metrics_hosts;
    bool has_some = metrics_own_get(metrics_board_own(plan->board), 0) != NULL || (hosts != NULL && hosts[0] != '\0');
    if (has_some && !offer->site->has_metrics) {
        log_write(
            plan->log, LOG_WARN,
            "there are metrics, but no route that shows them: app.metrics(\"/metrics\") makes one, or evs_metrics() "
            "in C");
    }
}

void plan_warn_of_unused(const struct plan *plan, const struct offer *offer)
{
    warn_of_hidden_metrics(plan, offer);
    const char *listen = plan->config.listen;
    bool listens = listen == NULL || strcmp(listen, "none") != 0;
    struct tls_plan joined;
    if (plan->tls.context != NULL || !listens || join_tls(plan, offer, &joined) < 0) {
        return;
    }
    if (joined.count > 0) {
        log_write(plan->log, LOG_WARN,
                  "%s%sthere is a TLS certificate, but no listener for it: an address such as \":443?tls\" makes one",
                  joined.places[0] == NULL ? "" : joined.places[0], joined.places[0] == NULL ? "" : ": ");
    }
    if (offer->site->hsts.len > 0) { /* browsers heed the field only over TLS, and it is sent nowhere else */
        log_write(plan->log, LOG_WARN,
                  "hsts is set, but no address speaks TLS: Strict-Transport-Security is sent over TLS only");
    }
    tls_plan_done(&joined);
}

/* A build without TLS says so rather than to ask for certificates. */
static int complain_of_none(const struct plan *plan, const struct tls_plan *joined, const char *address,
                            const char *complaint, char *err, size_t errlen)
{
    struct tls_context *context = NULL;
    char text[TLS_FAILURE_MAX];
    int rv = tls_plan_make(joined, NULL, plan->base_fd, NULL, &context, text, sizeof text);
    tls_context_put(context);
    return rv < 0 ? error_text(err, errlen, rv, "%s: %s", address, text)
                  : error_text(err, errlen, -EINVAL, "%s: %s", address, complaint);
}

/* Make the certificate for development one of the host's. It stays the same over reloads. */
static int make_dev(struct plan *plan, const struct offer *offer, char *err, size_t errlen)
{
    struct tls_dev dev;
    char address[OFFER_ADDRESS_MAX];
    const struct evserve_config *config = &plan->config;
    if (!offer_find_tls(offer, config->listen, address)) {
        return 0;
    }
    int rv = config->tls_dev_anywhere != 0 ? 0 : offer_check_local(offer, config->listen, err, errlen);
    rv = rv < 0 ? rv : tls_dev_make(&dev, config->tls_dev, err, errlen);
    if (rv < 0) {
        return rv;
    }
    const struct tls_certificate certificate = {.cert_pem = dev.cert, .key_pem = dev.key};
    rv = tls_plan_add(&plan->certificates, &certificate, "tls_dev", err, errlen);
    tls_dev_wipe(&dev);
    memcpy(plan->dev.fingerprint, dev.fingerprint, sizeof dev.fingerprint);
    memcpy(plan->dev.pin, dev.pin, sizeof dev.pin);
    return rv;
}

void plan_announce_dev(const struct plan *plan)
{
    const char *names = plan->config.tls_dev;
    if (plan->dev.pin[0] != '\0') {
        log_write(
            plan->log, LOG_INFO,
            "HTTPS for development: a certificate for localhost, 127.0.0.1, ::1%s%s, until the server stops, for %d "
            "days at most; its SHA-256 fingerprint is %s",
            names[0] == '\0' ? "" : ", ", names, TLS_DEV_DAYS, plan->dev.fingerprint);
        log_write(plan->log, LOG_INFO,
                  "nobody trusts it by itself: curl --insecure --pinnedpubkey sha256//%s; chromium "
                  "--ignore-certificate-errors-spki-list=%s; other browsers warn, and show the fingerprint",
                  plan->dev.pin, plan->dev.pin);
    }
}

/* Go on with the keys that another program has handed over. */
static void take_tickets(struct plan *plan)
{
    for (unsigned i = 0; i < plan->handed.count; i++) {
        if (strcmp(plan->handed.sockets[i].address, NET_HANDED_TICKET_KEYS) == 0) {
            tls_keeper_take_tickets(&plan->tls, plan->handed.sockets[i].fd);
        }
    }
}

int plan_start_tls(struct plan *plan, const struct offer *offer, char *err, size_t errlen)
{
    char address[OFFER_ADDRESS_MAX];
    struct tls_plan joined;
    int rv = plan->config.tls_dev == NULL ? 0 : make_dev(plan, offer, err, errlen);
    if (rv < 0) {
        return rv;
    }
    if (join_tls(plan, offer, &joined) < 0) {
        return error_text(err, errlen, -ENOMEM, "cannot start: %s", errno_text(ENOMEM));
    }
    if (offer_find_tls(offer, plan->config.listen, address)) {
        rv = joined.count > 0 ? tls_keeper_start(&plan->tls, &joined, err, errlen)
                              : complain_of_none(plan, &joined, address, no_certificate, err, errlen);
        take_tickets(plan);
    } else if (has_lost_tls(plan, offer, address)) {
        rv = complain_of_none(plan, &joined, address, no_tls_socket, err, errlen);
    } else if (offer_find_redirect(offer, plan->config.listen, address)) {
        rv = complain_of_none(plan, &joined, address, no_https, err, errlen);
    }
    tls_plan_done(&joined);
    return rv;
}

void plan_reload_tls(struct plan *plan, const struct offer *offer)
{
    struct tls_plan joined;
    struct tls_context *context = tls_keeper_get(&plan->tls);
    if (context == NULL) { /* no listener speaks TLS, and a reload adds none */
        return;
    }
    tls_context_put(context);
    if (join_tls(plan, offer, &joined) < 0) {
        log_write(plan->log, LOG_ERROR, "the TLS certificates in use are kept: %s", errno_text(ENOMEM));
        return;
    }
    if (joined.count > 0) {
        (void)tls_keeper_replace(&plan->tls, &joined);
    } else {
        log_write(plan->log, LOG_ERROR, "the TLS certificates in use are kept: the script names none any more");
    }
    tls_plan_done(&joined);
}
