#ifndef EVSERVE_CORE_TLS_OPENSSL_H
#define EVSERVE_CORE_TLS_OPENSSL_H

/* OpenSSL 3: its headers, and its library, which is loaded when the first server with TLS starts. Linked, it would cost
 * every process more than half a millisecond and 1.7 MiB, with TLS or without (core/README.md has the figures).
 *
 * Call OpenSSL's functions by their names: macros below lead through a table. One that is not in the table does not
 * link; add it to core/tls_openssl.def and to the macros. Compiled with -DEVSERVE_TLS_LINKED, for static programs and
 * for hosts that have OpenSSL inside themselves, the names are the linker's. */

#ifdef EVSERVE_HAS_TLS
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#endif

#include <stddef.h>

#ifdef EVSERVE_HAS_TLS

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "HTTPS needs OpenSSL 3.0 or later (libssl-dev); without EVSERVE_HAS_TLS evserve compiles, and serves plain HTTP"
#endif

/* Have the library loaded, before anything else of it is used. Any thread; it stays for the life of the process. If the
 * host has OpenSSL already, this is the same one. Returns 0, or -ELIBACC with a text in err that says what to install;
 * another call tries again. */
int tls_openssl_load(char *err, size_t errlen);

#ifndef EVSERVE_TLS_LINKED

/* The table. It is written once, before tls_openssl_load() first returns 0. */
struct tls_openssl {
#define OPENSSL_FUNCTION(name) __typeof__(name) *name;
#include "core/tls_openssl.def"
#undef OPENSSL_FUNCTION
};

extern struct tls_openssl tls_openssl;

#define ERR_clear_error                   tls_openssl.ERR_clear_error
#define ERR_peek_error                    tls_openssl.ERR_peek_error
#define ERR_peek_last_error               tls_openssl.ERR_peek_last_error
#define ERR_reason_error_string           tls_openssl.ERR_reason_error_string
#define OBJ_nid2sn                        tls_openssl.OBJ_nid2sn
#define OPENSSL_cleanse                   tls_openssl.OPENSSL_cleanse
#define OPENSSL_sk_dup                    tls_openssl.OPENSSL_sk_dup
#define OPENSSL_sk_free                   tls_openssl.OPENSSL_sk_free
#define OPENSSL_sk_new_null               tls_openssl.OPENSSL_sk_new_null
#define OPENSSL_sk_num                    tls_openssl.OPENSSL_sk_num
#define OPENSSL_sk_pop_free               tls_openssl.OPENSSL_sk_pop_free
#define OPENSSL_sk_push                   tls_openssl.OPENSSL_sk_push
#define OPENSSL_sk_shift                  tls_openssl.OPENSSL_sk_shift
#define OPENSSL_sk_value                  tls_openssl.OPENSSL_sk_value
#define OSSL_PARAM_construct_end          tls_openssl.OSSL_PARAM_construct_end
#define OSSL_PARAM_construct_octet_string tls_openssl.OSSL_PARAM_construct_octet_string
#define OSSL_PARAM_construct_utf8_string  tls_openssl.OSSL_PARAM_construct_utf8_string
#define RAND_bytes                        tls_openssl.RAND_bytes
#define RAND_priv_bytes                   tls_openssl.RAND_priv_bytes

#define BIO_clear_flags          tls_openssl.BIO_clear_flags
#define BIO_ctrl                 tls_openssl.BIO_ctrl
#define BIO_free                 tls_openssl.BIO_free
#define BIO_get_data             tls_openssl.BIO_get_data
#define BIO_meth_free            tls_openssl.BIO_meth_free
#define BIO_meth_new             tls_openssl.BIO_meth_new
#define BIO_meth_set_ctrl        tls_openssl.BIO_meth_set_ctrl
#define BIO_meth_set_read_ex     tls_openssl.BIO_meth_set_read_ex
#define BIO_meth_set_write_ex    tls_openssl.BIO_meth_set_write_ex
#define BIO_new                  tls_openssl.BIO_new
#define BIO_new_mem_buf          tls_openssl.BIO_new_mem_buf
#define BIO_read                 tls_openssl.BIO_read
#define BIO_s_mem                tls_openssl.BIO_s_mem
#define BIO_set_data             tls_openssl.BIO_set_data
#define BIO_set_flags            tls_openssl.BIO_set_flags
#define BIO_set_init             tls_openssl.BIO_set_init
#define PEM_read_bio_PrivateKey  tls_openssl.PEM_read_bio_PrivateKey
#define PEM_read_bio_X509_AUX    tls_openssl.PEM_read_bio_X509_AUX
#define PEM_write_bio_PrivateKey tls_openssl.PEM_write_bio_PrivateKey
#define PEM_write_bio_X509       tls_openssl.PEM_write_bio_X509
#define i2d_PUBKEY               tls_openssl.i2d_PUBKEY

#define ASN1_INTEGER_set_uint64         tls_openssl.ASN1_INTEGER_set_uint64
#define ASN1_STRING_get0_data           tls_openssl.ASN1_STRING_get0_data
#define ASN1_STRING_length              tls_openssl.ASN1_STRING_length
#define ASN1_TIME_diff                  tls_openssl.ASN1_TIME_diff
#define ASN1_TIME_free                  tls_openssl.ASN1_TIME_free
#define ASN1_TIME_set                   tls_openssl.ASN1_TIME_set
#define ASN1_TIME_to_tm                 tls_openssl.ASN1_TIME_to_tm
#define GENERAL_NAMES_free              tls_openssl.GENERAL_NAMES_free
#define X509V3_EXT_conf_nid             tls_openssl.X509V3_EXT_conf_nid
#define X509_EXTENSION_free             tls_openssl.X509_EXTENSION_free
#define X509_NAME_ENTRY_get_data        tls_openssl.X509_NAME_ENTRY_get_data
#define X509_NAME_add_entry_by_txt      tls_openssl.X509_NAME_add_entry_by_txt
#define X509_NAME_dup                   tls_openssl.X509_NAME_dup
#define X509_NAME_free                  tls_openssl.X509_NAME_free
#define X509_NAME_get_entry             tls_openssl.X509_NAME_get_entry
#define X509_NAME_get_index_by_NID      tls_openssl.X509_NAME_get_index_by_NID
#define X509_NAME_print_ex              tls_openssl.X509_NAME_print_ex
#define X509_STORE_CTX_get_current_cert tls_openssl.X509_STORE_CTX_get_current_cert
#define X509_STORE_CTX_get_error        tls_openssl.X509_STORE_CTX_get_error
#define X509_STORE_CTX_get_error_depth  tls_openssl.X509_STORE_CTX_get_error_depth
#define X509_STORE_CTX_get_ex_data      tls_openssl.X509_STORE_CTX_get_ex_data
#define X509_STORE_add_cert             tls_openssl.X509_STORE_add_cert
#define X509_STORE_free                 tls_openssl.X509_STORE_free
#define X509_STORE_load_path            tls_openssl.X509_STORE_load_path
#define X509_STORE_new                  tls_openssl.X509_STORE_new
#define X509_STORE_set_flags            tls_openssl.X509_STORE_set_flags
#define X509_VERIFY_PARAM_set1_host     tls_openssl.X509_VERIFY_PARAM_set1_host
#define X509_VERIFY_PARAM_set1_ip_asc   tls_openssl.X509_VERIFY_PARAM_set1_ip_asc
#define X509_VERIFY_PARAM_set_hostflags tls_openssl.X509_VERIFY_PARAM_set_hostflags
#define X509_add_ext                    tls_openssl.X509_add_ext
#define X509_check_private_key          tls_openssl.X509_check_private_key
#define X509_check_purpose              tls_openssl.X509_check_purpose
#define X509_cmp_time                   tls_openssl.X509_cmp_time
#define X509_cmp                        tls_openssl.X509_cmp
#define X509_digest                     tls_openssl.X509_digest
#define X509_free                       tls_openssl.X509_free
#define X509_get0_notAfter              tls_openssl.X509_get0_notAfter
#define X509_get0_notBefore             tls_openssl.X509_get0_notBefore
#define X509_get_default_cert_dir       tls_openssl.X509_get_default_cert_dir
#define X509_get_default_cert_dir_env   tls_openssl.X509_get_default_cert_dir_env
#define X509_get_default_cert_file      tls_openssl.X509_get_default_cert_file
#define X509_get_default_cert_file_env  tls_openssl.X509_get_default_cert_file_env
#define X509_get_ext_by_NID             tls_openssl.X509_get_ext_by_NID
#define X509_get_ext_d2i                tls_openssl.X509_get_ext_d2i
#define X509_get_issuer_name            tls_openssl.X509_get_issuer_name
#define X509_get_serialNumber           tls_openssl.X509_get_serialNumber
#define X509_get_subject_name           tls_openssl.X509_get_subject_name
#define X509_getm_notAfter              tls_openssl.X509_getm_notAfter
#define X509_getm_notBefore             tls_openssl.X509_getm_notBefore
#define X509_new                        tls_openssl.X509_new
#define X509_set_issuer_name            tls_openssl.X509_set_issuer_name
#define X509_set_pubkey                 tls_openssl.X509_set_pubkey
#define X509_set_version                tls_openssl.X509_set_version
#define X509_sign                       tls_openssl.X509_sign
#define X509_verify_cert_error_string   tls_openssl.X509_verify_cert_error_string

#define EVP_CIPHER_CTX_ctrl      tls_openssl.EVP_CIPHER_CTX_ctrl
#define EVP_CIPHER_CTX_free      tls_openssl.EVP_CIPHER_CTX_free
#define EVP_CIPHER_CTX_new       tls_openssl.EVP_CIPHER_CTX_new
#define EVP_CIPHER_fetch         tls_openssl.EVP_CIPHER_fetch
#define EVP_CIPHER_free          tls_openssl.EVP_CIPHER_free
#define EVP_CIPHER_get_iv_length tls_openssl.EVP_CIPHER_get_iv_length
#define EVP_CipherFinal_ex       tls_openssl.EVP_CipherFinal_ex
#define EVP_CipherInit_ex        tls_openssl.EVP_CipherInit_ex
#define EVP_CipherUpdate         tls_openssl.EVP_CipherUpdate
#define EVP_Digest               tls_openssl.EVP_Digest
#define EVP_DigestFinal_ex       tls_openssl.EVP_DigestFinal_ex
#define EVP_DigestInit_ex        tls_openssl.EVP_DigestInit_ex
#define EVP_DigestUpdate         tls_openssl.EVP_DigestUpdate
#define EVP_EncodeBlock          tls_openssl.EVP_EncodeBlock
#define EVP_MAC_CTX_free         tls_openssl.EVP_MAC_CTX_free
#define EVP_MAC_CTX_new          tls_openssl.EVP_MAC_CTX_new
#define EVP_MAC_CTX_set_params   tls_openssl.EVP_MAC_CTX_set_params
#define EVP_MAC_fetch            tls_openssl.EVP_MAC_fetch
#define EVP_MAC_final            tls_openssl.EVP_MAC_final
#define EVP_MAC_free             tls_openssl.EVP_MAC_free
#define EVP_MAC_init             tls_openssl.EVP_MAC_init
#define EVP_MAC_update           tls_openssl.EVP_MAC_update
#define EVP_MD_CTX_free          tls_openssl.EVP_MD_CTX_free
#define EVP_MD_CTX_new           tls_openssl.EVP_MD_CTX_new
#define EVP_PKEY_Q_keygen        tls_openssl.EVP_PKEY_Q_keygen
#define EVP_PKEY_free            tls_openssl.EVP_PKEY_free
#define EVP_PKEY_get_base_id     tls_openssl.EVP_PKEY_get_base_id
#define EVP_Q_mac                tls_openssl.EVP_Q_mac
#define EVP_aes_256_gcm          tls_openssl.EVP_aes_256_gcm
#define EVP_md5                  tls_openssl.EVP_md5
#define EVP_sha1                 tls_openssl.EVP_sha1
#define EVP_sha256               tls_openssl.EVP_sha256
#define EVP_sha512               tls_openssl.EVP_sha512

#define SSL_CIPHER_get_name                  tls_openssl.SSL_CIPHER_get_name
#define SSL_CTX_callback_ctrl                tls_openssl.SSL_CTX_callback_ctrl
#define SSL_CTX_ctrl                         tls_openssl.SSL_CTX_ctrl
#define SSL_CTX_free                         tls_openssl.SSL_CTX_free
#define SSL_CTX_get_ex_data                  tls_openssl.SSL_CTX_get_ex_data
#define SSL_CTX_get_verify_mode              tls_openssl.SSL_CTX_get_verify_mode
#define SSL_CTX_new                          tls_openssl.SSL_CTX_new
#define SSL_CTX_sess_set_new_cb              tls_openssl.SSL_CTX_sess_set_new_cb
#define SSL_CTX_set_alpn_protos              tls_openssl.SSL_CTX_set_alpn_protos
#define SSL_CTX_set_alpn_select_cb           tls_openssl.SSL_CTX_set_alpn_select_cb
#define SSL_CTX_set_cipher_list              tls_openssl.SSL_CTX_set_cipher_list
#define SSL_CTX_set_ciphersuites             tls_openssl.SSL_CTX_set_ciphersuites
#define SSL_CTX_set_client_CA_list           tls_openssl.SSL_CTX_set_client_CA_list
#define SSL_CTX_set_client_hello_cb          tls_openssl.SSL_CTX_set_client_hello_cb
#define SSL_CTX_set_ex_data                  tls_openssl.SSL_CTX_set_ex_data
#define SSL_CTX_set_options                  tls_openssl.SSL_CTX_set_options
#define SSL_CTX_set_session_id_context       tls_openssl.SSL_CTX_set_session_id_context
#define SSL_CTX_set_session_ticket_cb        tls_openssl.SSL_CTX_set_session_ticket_cb
#define SSL_CTX_set_timeout                  tls_openssl.SSL_CTX_set_timeout
#define SSL_CTX_set_tlsext_ticket_key_evp_cb tls_openssl.SSL_CTX_set_tlsext_ticket_key_evp_cb
#define SSL_CTX_set_verify                   tls_openssl.SSL_CTX_set_verify
#define SSL_CTX_use_cert_and_key             tls_openssl.SSL_CTX_use_cert_and_key
#define SSL_SESSION_free                     tls_openssl.SSL_SESSION_free
#define SSL_SESSION_get0_peer                tls_openssl.SSL_SESSION_get0_peer
#define SSL_SESSION_get_protocol_version     tls_openssl.SSL_SESSION_get_protocol_version
#define SSL_SESSION_is_resumable             tls_openssl.SSL_SESSION_is_resumable
#define SSL_SESSION_up_ref                   tls_openssl.SSL_SESSION_up_ref
#define SSL_client_hello_get0_ext            tls_openssl.SSL_client_hello_get0_ext
#define SSL_ctrl                             tls_openssl.SSL_ctrl
#define SSL_do_handshake                     tls_openssl.SSL_do_handshake
#define SSL_free                             tls_openssl.SSL_free
#define SSL_get0_alpn_selected               tls_openssl.SSL_get0_alpn_selected
#define SSL_get0_param                       tls_openssl.SSL_get0_param
#define SSL_get0_peer_certificate            tls_openssl.SSL_get0_peer_certificate
#define SSL_get_SSL_CTX                      tls_openssl.SSL_get_SSL_CTX
#define SSL_get_current_cipher               tls_openssl.SSL_get_current_cipher
#define SSL_get_error                        tls_openssl.SSL_get_error
#define SSL_get_ex_data                      tls_openssl.SSL_get_ex_data
#define SSL_get_ex_data_X509_STORE_CTX_idx   tls_openssl.SSL_get_ex_data_X509_STORE_CTX_idx
#define SSL_get_servername                   tls_openssl.SSL_get_servername
#define SSL_get_verify_result                tls_openssl.SSL_get_verify_result
#define SSL_get_version                      tls_openssl.SSL_get_version
#define SSL_has_pending                      tls_openssl.SSL_has_pending
#define SSL_is_init_finished                 tls_openssl.SSL_is_init_finished
#define SSL_new                              tls_openssl.SSL_new
#define SSL_peek                             tls_openssl.SSL_peek
#define SSL_read                             tls_openssl.SSL_read
#define SSL_select_next_proto                tls_openssl.SSL_select_next_proto
#define SSL_session_reused                   tls_openssl.SSL_session_reused
#define SSL_set_SSL_CTX                      tls_openssl.SSL_set_SSL_CTX
#define SSL_set_accept_state                 tls_openssl.SSL_set_accept_state
#define SSL_set_bio                          tls_openssl.SSL_set_bio
#define SSL_set_connect_state                tls_openssl.SSL_set_connect_state
#define SSL_set_ex_data                      tls_openssl.SSL_set_ex_data
#define SSL_set_session                      tls_openssl.SSL_set_session
#define SSL_set_shutdown                     tls_openssl.SSL_set_shutdown
#define SSL_set_verify                       tls_openssl.SSL_set_verify
#define SSL_shutdown                         tls_openssl.SSL_shutdown
#define SSL_version                          tls_openssl.SSL_version
#define SSL_write                            tls_openssl.SSL_write
#define TLS_client_method                    tls_openssl.TLS_client_method
#define TLS_server_method                    tls_openssl.TLS_server_method

#endif

#endif

#endif
