/* Happy path: the text is read in one piece, and OpenSSL parses it. What was read is wiped, since a key is in it.
 *
 * Failure modes: the file cannot be read, or is a pipe; there is nothing of the kind in it; a key has a passphrase, for
 * which nobody could be asked. */

#include "core/tls_pem.h"

#include "core/file_text.h"
#include "core/log.h"
#include "core/sys.h"
#include "core/tls_openssl.h"
#include "core/tls_reason.h"
#include "core/write_buffer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

enum {
    PEM_BYTES_MAX = 4 << 20, /* more than any bundle of authorities */
    DER_SEQUENCE = 0x30,     /* with which binary certificates and keys begin */
};

const char *tls_pem_name(const struct tls_pem *pem)
{
    return pem->text != NULL ? "the PEM text" : pem->file;
}

static void wipe_text(struct write_buffer *text)
{
    if (text->block != NULL) {
        OPENSSL_cleanse(text->block, text->capacity);
    }
    write_buffer_done(text);
}

/* Where the file is, and what it is. Returns 0 or -errno. */
static int look_at_pem(const struct tls_pem *pem, struct stat *st)
{
    int fd = sys_open(sys_base(pem->base_fd), pem->file, O_PATH | O_CLOEXEC);
    int rv = fd < 0 ? fd : sys_stat(fd, st);
    if (fd >= 0) {
        sys_close(fd);
    }
    return rv;
}

/* Read the file. A pipe could be read only once, and might block a server that is running. */
static int read_file(const struct tls_pem *pem, struct write_buffer *text, char *err, size_t errlen)
{
    struct stat st;
    int rv = look_at_pem(pem, &st);
    if (rv == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        return error_text(err, errlen, -EINVAL,
                          "the %s %s is not a regular file, and it is read again with each reload: copy it to a file",
                          pem->what, pem->file);
    }
    rv = rv < 0 ? rv : file_text_read(text, pem->base_fd, pem->file, PEM_BYTES_MAX);
    return rv == 0 ? 0
                   : error_text(err, errlen, rv, "cannot read the %s %s: %s", pem->what, pem->file, errno_text(-rv));
}

/* The text, to be read by OpenSSL while *text lives. NULL with a text in err. */
static BIO *open_pem(const struct tls_pem *pem, struct write_buffer *text, int *error, char *err, size_t errlen)
{
    write_buffer_init(text);
    const char *data = pem->text;
    size_t len = data == NULL ? 0 : strlen(data);
    if (data == NULL) {
        *error = read_file(pem, text, err, errlen);
        if (*error < 0) {
            wipe_text(text);
            return NULL;
        }
        len = write_buffer_len(text);
        data = len == 0 ? "" : write_buffer_data(text);
    }
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    if (bio == NULL) {
        *error = error_text(err, errlen, -ENOMEM, "out of memory");
        wipe_text(text);
    }
    return bio;
}

static void close_pem(BIO *bio, struct write_buffer *text)
{
    BIO_free(bio);
    wipe_text(text);
}

/* Nobody can be asked for a passphrase: without this, OpenSSL would read one from the terminal, or standard input. */
static int on_passphrase(char *buf, int size, int is_written, void *arg)
{
    (void)buf;
    (void)size;
    (void)is_written;
    *(bool *)arg = true;
    return -1;
}

static bool is_end_of_pem(unsigned long error)
{
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

/* Why there is no block of a kind in a text, as the end of a sentence; NULL: there is one. */
static const char *lack_of_block(BIO *bio, const char *kind)
{
    char *text, ends[40];
    int ends_len = snprintf(ends, sizeof ends, "%s-----", kind); /* not "CERTIFICATE REQUEST", but "RSA PRIVATE KEY" */
    (void)BIO_reset(bio);
    long len = BIO_get_mem_data(bio, &text);
    if (len > 0 && memmem(text, (size_t)len, ends, (size_t)ends_len) != NULL) {
        return NULL;
    }
    if (len > 1 && text[0] == DER_SEQUENCE && ((text[1] & 0x80) != 0 || text[1] == len - 2)) {
        return " is expected, not DER or PKCS #12 (openssl x509, pkey and pkcs12 convert them)";
    }
    return " is expected";
}

/* What is wrong with a text, from OpenSSL's queue of errors. */
static int say_pem_error(const struct tls_pem *pem, BIO *bio, const char *kind, char *err, size_t errlen)
{
    unsigned long error = ERR_peek_last_error();
    const char *lack = lack_of_block(bio, kind);
    if (lack != NULL) {
        return error_text(err, errlen, -EINVAL, "no %s in %s: PEM text with \"-----BEGIN %s-----\"%s", pem->what,
                          tls_pem_name(pem), kind, lack);
    }
    const char *wrong = "is damaged or cut off";
    if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE) {
        wrong = "cannot be read";
    } else if (ERR_GET_LIB(error) == ERR_LIB_X509V3) {
        wrong = "has extensions that cannot be read";
    } else if (ERR_GET_REASON(error) == ERR_R_UNSUPPORTED) { /* so OpenSSL calls damaged keys, too */
        wrong = "is damaged or cut off, or of a kind that OpenSSL does not know";
    }
    return error_text(err, errlen, -EINVAL, "the %s in %s %s (OpenSSL: %s)", pem->what, tls_pem_name(pem), wrong,
                      tls_reason(error));
}

/* Add a certificate, which is taken over. Its extensions are read here and now: OpenSSL does that when it first needs
 * them, and if they are wrong, or there is no memory then, it has the certificate but does not use it, and nobody is
 * told. Returns false with OpenSSL's reason in its queue. */
static bool keep_certificate(STACK_OF(X509) * list, X509 *certificate)
{
    if (X509_check_purpose(certificate, -1, 0) != 1 || sk_X509_push(list, certificate) <= 0) {
        X509_free(certificate);
        return false;
    }
    return true;
}

struct stack_st_X509 *tls_pem_certificates(const struct tls_pem *pem, int *error, char *err, size_t errlen)
{
    struct write_buffer text;
    BIO *bio = open_pem(pem, &text, error, err, errlen);
    STACK_OF(X509) *list = bio == NULL ? NULL : sk_X509_new_null();
    X509 *certificate = NULL;
    if (bio == NULL) {
        return NULL;
    }
    bool has_passphrase = false;
    ERR_clear_error();
    while (list != NULL && (certificate = PEM_read_bio_X509_AUX(bio, NULL, on_passphrase, &has_passphrase)) != NULL &&
           keep_certificate(list, certificate)) {
    }
    bool is_whole = list != NULL && sk_X509_num(list) > 0 && is_end_of_pem(ERR_peek_last_error());
    if (!is_whole) {
        *error = has_passphrase ? error_text(err, errlen, -EINVAL,
                                             "the %s in %s is encrypted: PEM text without a passphrase expected",
                                             pem->what, tls_pem_name(pem))
                                : say_pem_error(pem, bio, "CERTIFICATE", err, errlen);
        sk_X509_pop_free(list, X509_free);
        list = NULL;
    }
    ERR_clear_error();
    close_pem(bio, &text);
    return list;
}

struct evp_pkey_st *tls_pem_key(const struct tls_pem *pem, int *error, char *err, size_t errlen)
{
    struct write_buffer text;
    BIO *bio = open_pem(pem, &text, error, err, errlen);
    if (bio == NULL) {
        return NULL;
    }
    bool has_passphrase = false;
    ERR_clear_error();
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, on_passphrase, &has_passphrase);
    if (key == NULL && has_passphrase) {
        *error =
            error_text(err, errlen, -EINVAL,
                       "the %s in %s has a passphrase: evserve reads keys without one only (openssl pkey removes it)",
                       pem->what, tls_pem_name(pem));
    } else if (key == NULL) {
        *error = say_pem_error(pem, bio, "PRIVATE KEY", err, errlen);
    }
    ERR_clear_error();
    close_pem(bio, &text);
    return key;
}

bool tls_pem_is_open_to_others(const struct tls_pem *pem)
{
    struct stat st;
    int rv = pem->text != NULL ? -ENOENT : look_at_pem(pem, &st);
    return rv == 0 && (st.st_mode & (mode_t)S_IRWXO) != 0;
}

#endif
