/* Happy path: there is an index of certificates in a folder, and OpenSSL opens the one it needs during a handshake.
 *
 * Failure modes: a system without ca-certificates, as small containers are. */

#include "core/tls_authorities.h"

#include "core/log.h"
#include "core/sys.h"
#include "core/tls_openssl.h"
#include "core/tls_pem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

enum { AUTHORITY_PATH_MAX = 4096 };

/* Of the environment, or OpenSSL's own. */
static const char *authority_file(void)
{
    const char *file = secure_getenv(X509_get_default_cert_file_env());
    return file != NULL ? file : X509_get_default_cert_file();
}

static const char *authority_folder(void)
{
    const char *folder = secure_getenv(X509_get_default_cert_dir_env());
    return folder != NULL ? folder : X509_get_default_cert_dir();
}

/* "5ed36f99.0": the hash of a subject, and which of those with the same hash it is. */
static bool is_index_entry(const char *name)
{
    size_t digits = strspn(name, "0123456789abcdef");
    return digits == 8 && name[8] == '.' && name[9] >= '0' && name[9] <= '9';
}

static bool folder_has_index(const char *path)
{
    _Alignas(struct dirent64) char block[4096];
    int fd = sys_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool found = false;
    ssize_t len;
    while (fd >= 0 && !found && (len = sys_read_dir(fd, block, sizeof block)) > 0) {
        for (ssize_t at = 0; at < len && !found;) {
            const struct dirent64 *entry = (const void *)(block + at);
            found = is_index_entry(entry->d_name);
            at += entry->d_reclen;
        }
    }
    if (fd >= 0) {
        sys_close(fd);
    }
    return found;
}

/* Whether one of the folders, with ':' between them, has an index. */
static bool has_index(const char *folders)
{
    char path[AUTHORITY_PATH_MAX];
    while (*folders != '\0') {
        size_t len = strcspn(folders, ":");
        if (len < sizeof path) {
            memcpy(path, folders, len);
            path[len] = '\0';
            if (folder_has_index(path)) {
                return true;
            }
        }
        folders += folders[len] == ':' ? len + 1 : len;
    }
    return false;
}

/* Read a file of them. Returns 0 or -errno with a text in err. */
static int add_authorities(X509_STORE *store, const char *file, char *err, size_t errlen)
{
    const struct tls_pem pem = {.what = "certificate of an authority", .file = file};
    int rv = 0;
    STACK_OF(X509) *list = tls_pem_certificates(&pem, &rv, err, errlen);
    for (int i = 0; list != NULL && i < sk_X509_num(list) && rv == 0; i++) {
        rv = X509_STORE_add_cert(store, sk_X509_value(list, i)) == 1 ? 0 : -ENOMEM;
    }
    sk_X509_pop_free(list, X509_free);
    return rv;
}

static int find_authorities(X509_STORE *store, char *err, size_t errlen)
{
    const char *file = secure_getenv(X509_get_default_cert_file_env());
    const char *folder = secure_getenv(X509_get_default_cert_dir_env());
    int rv = file == NULL ? 0 : add_authorities(store, file, err, errlen);
    if (rv < 0 || (file != NULL && folder == NULL)) {
        return rv;
    }
    if (has_index(authority_folder())) {
        return X509_STORE_load_path(store, authority_folder()) == 1 ? 0
                                                                    : error_text(err, errlen, -ENOMEM, "out of memory");
    }
    char reason[256];
    if (file != NULL || add_authorities(store, authority_file(), reason, sizeof reason) == 0) {
        return 0;
    }
    return error_text(err, errlen, -ENOENT,
                      "this system has no certificates of authorities to trust: neither an index in %s, nor %s "
                      "(Debian: apt install ca-certificates; SSL_CERT_FILE names another file)",
                      authority_folder(), authority_file());
}

int tls_authorities_find(struct x509_store_st **store, char *err, size_t errlen)
{
    X509_STORE *made = X509_STORE_new();
    int rv = made == NULL ? error_text(err, errlen, -ENOMEM, "out of memory") : find_authorities(made, err, errlen);
    ERR_clear_error();
    if (rv < 0) {
        X509_STORE_free(made);
        return rv;
    }
    *store = made;
    return 0;
}

void tls_authorities_free(struct x509_store_st *store)
{
    if (store != NULL) {
        X509_STORE_free(store);
    }
}

const char *tls_authorities_path(size_t n)
{
    /* What the links in the folders of distributions lead to. */
    static const char *const targets[] = {"/etc/ssl/certs", "/usr/share/ca-certificates",
                                          "/usr/local/share/ca-certificates", "/etc/pki/ca-trust",
                                          "/etc/pki/tls/certs"};
    if (n < sizeof targets / sizeof *targets) {
        return targets[n];
    }
    n -= sizeof targets / sizeof *targets;
    return n == 0 ? authority_file() : n == 1 ? authority_folder() : NULL;
}

#else

void tls_authorities_free(struct x509_store_st *store)
{
    (void)store;
}

const char *tls_authorities_path(size_t n)
{
    (void)n;
    return NULL;
}

#endif
