/* Happy path: the text is read in one piece, and OpenSSL parses it. What was read is wiped, since a key is in it.
 *
 * Failure modes: the file cannot be read; there is nothing of the kind in it; a key has a passphrase, for which
 * nobody could be asked. */

#include "core/tls_pem.h"

#include "core/file_text.h"
#include "core/log.h"
#include "core/sys.h"
#include "core/tls_openssl.h"
#include "core/tls_reason.h"
#include "core/write_buffer.h"

#include <errno.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

enum { PEM_BYTES_MAX = 4 << 20 }; /* more than any bundle of authorities */

const char *tls_pem_name(const struct tls_pem *pem)
{
    return pem->text != NULL ? "in memory" : pem->file;
}

static void wipe_text(struct write_buffer *text)
{
    if (text->block != NULL) {
        OPENSSL_cleanse(text->block, text->capacity);
    }
    write_buffer_done(text);
}

/* The text, to be read by OpenSSL while *text lives. NULL with a text in err. */
static BIO *open_pem(const struct tls_pem *pem, struct write_buffer *text, int *error, char *err, size_t errlen)
{
    write_buffer_init(text);
    const char *data = pem->text;
    size_t len = data == NULL ? 0 : strlen(data);
    if (data == NULL) {
        *error = file_text_read(text, pem->base_fd, pem->file, PEM_BYTES_MAX);
        if (*error < 0) {
            error_text(err, errlen, 0, "cannot read the %s %s: %s", pem->what, pem->file, errno_text(-*error));
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

/* Nobody can be asked for a passphrase. */
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

/* Whether the text has a block of a kind at all. */
static bool has_pem_block(BIO *bio, const char *begin)
{
    char *text;
    (void)BIO_reset(bio);
    long len = BIO_get_mem_data(bio, &text);
    return len > 0 && memmem(text, (size_t)len, begin, strlen(begin)) != NULL;
}

/* What is wrong with a text, from OpenSSL's queue of errors. */
static int say_pem_error(const struct tls_pem *pem, BIO *bio, const char *begin, char *err, size_t errlen)
{
    unsigned long error = ERR_peek_last_error();
    if (!has_pem_block(bio, begin)) {
        return error_text(err, errlen, -EINVAL, "no %s in %s: PEM text with \"-----BEGIN %s-----\" is expected",
                          pem->what, tls_pem_name(pem), begin);
    }
    return error_text(err, errlen, -EINVAL, "the %s in %s cannot be read: %s", pem->what, tls_pem_name(pem),
                      tls_reason(error));
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
    ERR_clear_error();
    while (list != NULL && (certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL &&
           sk_X509_push(list, certificate) > 0) {
    }
    bool is_whole = list != NULL && sk_X509_num(list) > 0 && is_end_of_pem(ERR_peek_last_error());
    if (!is_whole) {
        *error = say_pem_error(pem, bio, "CERTIFICATE", err, errlen);
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
    int fd = pem->text != NULL ? -ENOENT : sys_open(sys_base(pem->base_fd), pem->file, O_PATH | O_CLOEXEC);
    int rv = fd < 0 ? fd : sys_stat(fd, &st);
    if (fd >= 0) {
        sys_close(fd);
    }
    return rv == 0 && (st.st_mode & (mode_t)S_IRWXO) != 0;
}

#endif
