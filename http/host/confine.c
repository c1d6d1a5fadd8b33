/* The rules for core/sandbox.c.
 *
 * Failure modes: a directory that the host or the site names must exist. Folders of modules need not, since Lua looks
 * in many places that do not exist. */

#include "http/host/confine.h"

#include "core/crypt_calls.h"
#include "core/destinations.h"
#include "core/file_stamps.h"
#include "core/log.h"
#include "core/sandbox.h"
#include "core/sys.h"
#include "core/sys_names.h"
#include "core/tls_authorities.h"
#include "core/tls_clients.h"
#include "core/tls_digest.h"
#include "http/acme.h"
#include "http/decoded_body.h"
#include "http/error_pages.h"
#include "http/host/access_keeper.h"
#include "http/host/offer.h"
#include "http/host/tls_plan.h"
#include "http/proxy/proxy.h"
#include "http/router.h"
#include "http/rules/basic_auth.h"
#include "http/server.h"
#include "http/site.h"
#include "http/static_mounts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    FOLDER_MAX = 4096,          /* bytes of a path, with its NUL */
    MODULE_DEPTH_MAX = 4,       /* levels of folders searched for links to modules: require "a.b.c.d" */
    LINKS_MAX = 8,              /* that lead from one to the next to a certificate */
    MODULE_ENTRIES_MAX = 10000, /* names looked at in all folders together; links beyond are not found */
};

struct allow_call {
    struct sandbox *sandbox;
    enum sandbox_access access;
    unsigned entries; /* names looked at so far in the search for links to modules */
    char *err;
    size_t errlen;
};

/* Allow a path that must exist. */
static int allow(void *arg, const char *path)
{
    const struct allow_call *call = arg;
    int rv = sandbox_allow(call->sandbox, path, call->access);
    return rv < 0 ? error_text(call->err, call->errlen, rv, "cannot allow %s in the sandbox: %s", path, errno_text(-rv))
                  : 0;
}

/* Allow a path that need not exist. */
static int allow_if_there(void *arg, const char *path)
{
    const struct allow_call *call = arg;
    int rv = sandbox_allow(call->sandbox, path, call->access);
    bool is_there = rv != -ENOENT && rv != -ENOTDIR && rv != -EACCES && rv != -ELOOP;
    return rv < 0 && is_there ? allow(arg, path) : 0;
}

static int allow_links(struct allow_call *call, const char *folder, int depth);

/* One name in a folder of modules: allow what a link leads to, or look for links in a folder below. */
static int allow_entry(struct allow_call *call, const char *folder, int folder_fd, const struct dirent64 *entry,
                       int depth)
{
    char path[FOLDER_MAX];
    struct stat st;
    const char *dot = strrchr(entry->d_name, '.');
    bool is_module = dot != NULL && (strcmp(dot, ".lua") == 0 || strcmp(dot, ".so") == 0);
    int len = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    if (entry->d_type == DT_REG || entry->d_name[0] == '.' || len >= FOLDER_MAX ||
        sys_stat_at(folder_fd, entry->d_name, &st) < 0) {
        return 0;
    }
    if (S_ISLNK(st.st_mode)) {
        return is_module ? allow_if_there(call, path) : 0;
    }
    return S_ISDIR(st.st_mode) && depth < MODULE_DEPTH_MAX ? allow_links(call, path, depth + 1) : 0;
}

/* Modules may be links that lead out of their folder, as modules in C do on Debian. Allowing the folder does not allow
 * the targets of its links. */
static int allow_links(struct allow_call *call, const char *folder, int depth)
{
    _Alignas(struct dirent64) char block[4096];
    int fd = sys_open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return 0;
    }
    int rv = 0;
    ssize_t len = 1;
    while (rv == 0 && call->entries < MODULE_ENTRIES_MAX && (len = sys_read_dir(fd, block, sizeof block)) > 0) {
        for (ssize_t at = 0; at < len && rv == 0 && call->entries < MODULE_ENTRIES_MAX;) {
            const struct dirent64 *entry = (const void *)(block + at);
            at += entry->d_reclen;
            call->entries++;
            rv = allow_entry(call, folder, fd, entry, depth);
        }
    }
    sys_close(fd);
    return rv;
}

/* Allow a folder in which modules are looked for. */
static int allow_modules(void *arg, const char *folder)
{
    int rv = allow_if_there(arg, folder);
    return rv < 0 ? rv : allow_links(arg, folder, 1);
}

/* Allow the folder of a file, so that a new file that replaces it can be read, too. */
static int allow_folder_of(void *arg, const char *file)
{
    const struct allow_call *call = arg;
    const char *slash = strrchr(file, '/');
    char folder[FOLDER_MAX];
    size_t len = slash == NULL ? 1 : slash == file ? 1 : (size_t)(slash - file);
    if (len >= sizeof folder) {
        return error_text(call->err, call->errlen, -ENAMETOOLONG, "cannot allow %s in the sandbox: %s", file,
                          errno_text(ENAMETOOLONG));
    }
    snprintf(folder, sizeof folder, "%.*s", (int)len, slash == NULL ? "." : file);
    return allow_if_there(arg, folder);
}

/* Allow the folder of a certificate or a key, and that of what it leads to, if it is a link: certbot keeps links. A
 * renewed file lies in one of them. */
static int allow_certificate(void *arg, const char *file)
{
    const struct allow_call *call = arg;
    char path[FOLDER_MAX], target[FOLDER_MAX];
    int rv = allow_folder_of(arg, file);
    snprintf(path, sizeof path, "%s", file);
    for (int links = 0; rv == 0 && links < LINKS_MAX; links++) {
        ssize_t len = sys_read_link(AT_FDCWD, path, target, sizeof target - 1);
        if (len <= 0) {
            return 0;
        }
        target[len] = '\0';
        char *slash = strrchr(path, '/');
        size_t room = slash == NULL || target[0] == '/' ? 0 : (size_t)(slash + 1 - path);
        if (room + (size_t)len >= sizeof path) {
            return error_text(call->err, call->errlen, -ENAMETOOLONG, "cannot allow %s in the sandbox: %s", file,
                              errno_text(ENAMETOOLONG));
        }
        memcpy(path + room, target, (size_t)len + 1);
        rv = allow_folder_of(arg, path);
    }
    return rv;
}

/* Allow the directory of ACME challenges. One that is not there yet can be read later if the directory above it may be;
 * clients that are told a site's root make ".well-known/acme-challenge" below it, and remove it again. */
static int allow_acme(struct allow_call *call, const struct acme *acme)
{
    static const char below_root[] = "/.well-known/acme-challenge";
    const char *directory = acme_directory(acme);
    char folder[FOLDER_MAX];
    size_t len = strlen(directory);
    if (len >= sizeof folder) {
        return error_text(call->err, call->errlen, -ENAMETOOLONG, "cannot allow %.64s... in the sandbox: %s", directory,
                          errno_text(ENAMETOOLONG));
    }
    memcpy(folder, directory, len + 1);
    bool is_below_root = len > sizeof below_root - 1 && strcmp(folder + len - (sizeof below_root - 1), below_root) == 0;
    int rv = sandbox_allow(call->sandbox, folder, call->access);
    for (int levels = is_below_root ? 2 : 1; rv == -ENOENT && levels > 0; levels--) {
        char *slash = strrchr(folder, '/');
        if (slash == folder) {
            break; /* never all files */
        }
        strcpy(slash == NULL ? folder : slash, slash == NULL ? "." : "");
        rv = sandbox_allow(call->sandbox, folder, call->access);
    }
    return rv < 0 ? error_text(call->err, call->errlen, rv,
                               "cannot allow %s, the directory of ACME challenges, in the sandbox: %s", directory,
                               errno_text(-rv))
                  : 0;
}

/* Allow each path of a list separated by colons, which may be NULL. */
static int allow_list(struct allow_call *call, const char *list)
{
    int rv = 0;
    while (list != NULL && *list != '\0' && rv == 0) {
        char path[FOLDER_MAX];
        size_t len = strcspn(list, ":");
        if (len >= sizeof path) {
            return error_text(call->err, call->errlen, -ENAMETOOLONG, "cannot allow %.64s... in the sandbox: %s", list,
                              errno_text(ENAMETOOLONG));
        }
        snprintf(path, sizeof path, "%.*s", (int)len, list);
        rv = len == 0 ? 0 : allow(call, path);
        list += len + strspn(list + len, ":");
    }
    return rv;
}

static int allow_mounts(struct allow_call *call, const struct static_mounts *mounts)
{
    const char *prefix, *directory;
    int rv = 0;
    for (size_t n = 0; rv == 0 && static_mounts_get(mounts, n, &prefix, &directory); n++) {
        rv = directory == NULL ? 0 : allow(call, directory);
    }
    return rv;
}

/* Allow the files of TLS to upstreams, which are read for the first request, and again when they are renewed. */
static int allow_proxies(struct allow_call *call, const struct router *router)
{
    const struct route *route;
    int rv = 0;
    for (size_t n = 0; rv == 0 && (route = router_route(router, n)) != NULL; n++) {
        rv = proxy_each_file(route->handler, allow_certificate, call);
    }
    return rv;
}

/* Allow all that the server opens while it runs. */
static int allow_own(struct allow_call *call, const struct offer *offer, struct file_stamps *files,
                     const struct tls_plan *tls)
{
    int rv = allow_if_there(call, "/dev/null"); /* core/net.c keeps an fd in reserve */
    const struct vhost *vhost;
    for (size_t n = 0; rv == 0 && (vhost = site_host(offer->site, n)) != NULL; n++) {
        rv = allow_mounts(call, vhost->mounts);
        const char *directory;
        for (size_t page = 0; rv == 0 && (directory = error_pages_directory(vhost->error_pages, page)) != NULL;
             page++) {
            rv = allow(call, directory);
        }
        rv = rv < 0 ? rv : basic_auth_each_file(vhost->rules, allow_folder_of, call);
        rv = rv < 0 ? rv : allow_proxies(call, vhost->router);
    }
    if (rv == 0 && offer->site->acme != NULL) {
        rv = allow_acme(call, offer->site->acme);
    }
    rv = rv < 0 ? rv : file_stamps_each(files, allow_folder_of, call);
    rv = rv < 0 ? rv : tls_plan_each_file(tls, allow_certificate, call);
    return rv < 0 ? rv : offer_each_folder(offer, allow_modules, call);
}

/* Allow the removal of the sockets that the server has made. */
static int allow_sockets(struct allow_call *call, const struct server *server)
{
    static const char prefix[] = "unix:";
    const size_t len = sizeof prefix - 1;
    const char *address;
    int rv = 0;
    for (unsigned n = 0; rv == 0 && (address = server_address(server, n)) != NULL; n++) {
        if (strncmp(address, prefix, len) == 0 && address[len] != '@') {
            rv = allow_folder_of(call, address + len);
        }
    }
    return rv;
}

/* Allow an access log to be opened again, or made anew in its folder once it was renamed. A pipe or a device is
 * allowed itself. */
static int allow_access_log(void *arg, const char *path)
{
    struct allow_call *call = arg;
    struct stat st;
    int fd = sys_open(AT_FDCWD, path, O_PATH);
    bool is_file = fd < 0 || sys_stat(fd, &st) < 0 || S_ISREG(st.st_mode);
    if (fd >= 0) {
        sys_close(fd);
    }
    return is_file ? allow_folder_of(call, path) : allow_if_there(call, path);
}

/* Allow what the C library reads to resolve names: sys_find_addresses(). If the list of DNS servers is a link, as those
 * of systemd-resolved and resolvconf are, the file that it leads to is replaced when they change. */
static int allow_names(struct allow_call *call)
{
    static const char *const files[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf",
                                        "/etc/gai.conf"};
    char target[FOLDER_MAX];
    struct name_address unused[NAME_ADDRESSES_MAX];
    int rv = 0;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && rv == 0; i++) {
        rv = allow_if_there(call, files[i]);
    }
    ssize_t len = sys_read_link(AT_FDCWD, files[0], target, sizeof target - 1);
    target[len < 0 ? 0 : len] = '\0';
    const char *path = strncmp(target, "../run/", 7) == 0 ? target + 2 : target;
    if (rv == 0 && strncmp(path, "/run/", 5) == 0) {
        rv = allow_folder_of(call, path);
    }
    (void)sys_find_addresses("localhost", unused); /* loads what it needs for /etc/hosts */
    return rv;
}

/* Allow what TLS to other servers reads: the certificates of the authorities that the system trusts. */
static int allow_authorities(struct allow_call *call)
{
    const char *path;
    int rv = 0;
    bool is_there = tls_clients_prepare();
    for (size_t n = 0; is_there && rv == 0 && (path = tls_authorities_path(n)) != NULL; n++) {
        rv = allow_if_there(call, path);
    }
    return rv;
}

int confine_server(const struct offer *offer, struct file_stamps *files, const struct tls_plan *tls,
                   const struct access_keeper *access, const struct server *server, const struct confinement *wanted,
                   const struct log *log, char *err, size_t errlen)
{
    struct sandbox sandbox;
    struct allow_call call = {.sandbox = &sandbox, .access = SANDBOX_READ, .err = err, .errlen = errlen};
    struct destination_needs needs;
    destinations_get_needs(wanted->allow_connect, &needs);
    sandbox_open(&sandbox, &needs);
    int rv = allow_list(&call, wanted->allow_read);
    rv = rv < 0 || !needs.names ? rv : allow_names(&call);
    rv = rv < 0 || !(needs.tcp || needs.unix_files || needs.unix_abstract) ? rv : allow_authorities(&call);
    rv = rv < 0 ? rv : allow_own(&call, offer, files, tls);
    call.access = SANDBOX_REMOVE;
    rv = rv < 0 ? rv : allow_sockets(&call, server);
    call.access = SANDBOX_APPEND;
    rv = rv < 0 ? rv : access_keeper_each_path(access, allow_access_log, &call);
    call.access = SANDBOX_WRITE;
    rv = rv < 0 ? rv : allow_list(&call, wanted->allow_write);
    tzset();                     /* for the access log: reads the time zone, which the sandbox keeps away */
    decoded_body_load();         /* loads zlib and others, likewise: for bodies of requests and responses, and for WebSockets */
    if (offer->script != NULL) { /* and what app.sha256 and app.password need, which no handler can load any more */
        (void)tls_digest_load(NULL, 0);
        (void)crypt_load(NULL, 0);
    }
    rv = rv < 0 ? rv : sandbox_enter(&sandbox, wanted->is_required, log, err, errlen);
    sandbox_close(&sandbox);
    const char *servers = destinations_text(wanted->allow_connect);
    if (rv == 0 && servers[0] != '\0') {
        log_write(log, LOG_INFO, "the sandbox allows connections to %.1024s, and no others", servers);
    }
    return rv;
}

/* Whether an offer mounts a directory. */
static bool has_mount(const struct offer *offer, const char *wanted)
{
    const char *prefix, *directory;
    const struct vhost *vhost;
    for (size_t i = 0; (vhost = site_host(offer->site, i)) != NULL; i++) {
        for (size_t n = 0; static_mounts_get(vhost->mounts, n, &prefix, &directory); n++) {
            if (directory != NULL && strcmp(directory, wanted) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* The directory of challenges that next has, and before has not: 0, or -EACCES with a text. */
static int check_acme(const struct offer *before, const struct offer *next, char *err, size_t errlen)
{
    const char *was = before->site->acme == NULL ? "" : acme_directory(before->site->acme);
    const char *is = next->site->acme == NULL ? "" : acme_directory(next->site->acme);
    int fd = strcmp(was, is) == 0 ? -ENOENT : sys_open(sys_base(next->site->base_fd), is, O_RDONLY | O_DIRECTORY);
    if (fd == -EACCES) {
        return error_text(err, errlen, fd,
                          "%s, the directory of ACME challenges, is outside the sandbox: name it at the start, or "
                          "allow it",
                          is);
    }
    if (fd >= 0) {
        sys_close(fd);
    }
    return 0;
}

/* The directories of a host that before does not have. */
static int check_mounts(const struct offer *before, const struct static_mounts *mounts, char *err, size_t errlen)
{
    const char *prefix, *directory;
    for (size_t n = 0; static_mounts_get(mounts, n, &prefix, &directory); n++) {
        int fd = directory == NULL || has_mount(before, directory)
                     ? -ENOENT
                     : sys_open(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY);
        if (fd == -EACCES) {
            return error_text(err, errlen, fd,
                              "%s, to be served at %s, is outside the sandbox: mount it at the start, or allow it",
                              directory, prefix);
        }
        if (fd >= 0) {
            sys_close(fd);
        }
    }
    return 0;
}

int confine_check(const struct offer *before, const struct offer *next, char *err, size_t errlen)
{
    int rv = 0;
    const struct vhost *vhost;
    for (size_t n = 0; rv == 0 && (vhost = site_host(next->site, n)) != NULL; n++) {
        rv = check_mounts(before, vhost->mounts, err, errlen);
    }
    return rv < 0 ? rv : check_acme(before, next, err, errlen);
}
