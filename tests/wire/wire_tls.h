#ifndef EVSERVE_TESTS_WIRE_TLS_H
#define EVSERVE_TESTS_WIRE_TLS_H

/* The client's side of a case that runs over TLS. There is one client at a time. Built without TLS, wire_tls_begin()
 * fails, and the rest is not called. */

#include <stdbool.h>
#include <stddef.h>

struct fake_peer;
struct server;

/* Make what all runs share: a certificate, and sessions that clients resume. Returns whether there is TLS. */
bool wire_tls_begin(void);
void wire_tls_done(void);

/* Let the server listen for TLS as well. Returns the fd of the listener, or -errno. */
int wire_tls_listen(struct server *server, char *err, size_t errlen);

/* Shake hands over a peer that has connected, with TLS 1.3 or 1.2; settle lets the server go on. The session is resumed
 * where there has been one: whole handshakes would take most of the time of all cases, and one of 1.2 that is resumed
 * takes least. Returns whether that went well. */
bool wire_tls_connect(struct fake_peer *peer, bool is_1_3, bool (*settle)(void *arg), void *arg);

/* Encrypt bytes, in one record if they fit. Nothing is sent yet. */
void wire_tls_write(const char *data, size_t len);

/* Send what is encrypted, in segments of so many bytes; 0: in one. */
void wire_tls_send(size_t segment);

/* Say close_notify, and send it. */
void wire_tls_end(void);

/* All content that has come, NUL-terminated, and whether the server has said close_notify. Valid until the next
 * call. */
const char *wire_tls_output(size_t *len, bool *has_close_notify);

/* Forget the connection. */
void wire_tls_disconnect(void);

#endif
