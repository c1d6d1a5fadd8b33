/* Happy path: there is an index of certificates in a folder, and OpenSSL opens the one it needs during a handshake.
 *
 * Failure modes: a system without ca-certificates, as small containers are. */

#include "core/tls_authorities.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/sys.h"
#include "core/tls_openssl.h"
#include "core/tls_pem.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

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

/* Whether one of the folders, with ':' between them, has an index. */
static bool has_index(const char *folders)
{
    bool found = false;
    while (*folders != '\0' && !found) {
        char path[4096];
        size_t len = strcspn(folders, ":");
        snprintf(path, sizeof path, "%.*s", (int)(len < sizeof path ? len : sizeof path - 1), folders);
        DIR *folder = opendir(path);
        struct dirent *entry;
        while (folder != NULL && !found && (entry = readdir(folder)) != NULL) {
            found = is_index_entry(entry->d_name);
        }
        if (folder != NULL) {
            closedir(folder);
        }
        folders += folders[len] == ':' ? len + 1 : len;
    }
    return found;
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
    if (file != NULL) {
        return add_authorities(store, file, err, errlen);
    }
    if (has_index(authority_folder())) {
        return X509_STORE_load_path(store, authority_folder()) == 1 ? 0 : -ENOMEM;
    }
    char reason[256];
    if (add_authorities(store, authority_file(), reason, sizeof reason) == 0) {
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
