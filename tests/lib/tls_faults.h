#ifndef EVSERVE_TESTS_TLS_FAULTS_H
#define EVSERVE_TESTS_TLS_FAULTS_H

/* The allocations that OpenSSL makes itself, which do not go through core/mem.h: counted, and failing on request.
 * Client and server of a test share one OpenSSL, so only what is allocated between tls_faults_enter() and
 * tls_faults_leave() counts as the server's. One thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Take OpenSSL's allocations over. First in main(): afterwards OpenSSL refuses, which ends the program. */
void tls_faults_install(void);

/* The server runs, or no longer. */
void tls_faults_enter(void);
void tls_faults_leave(void);

/* Make the n-th allocation of the server from now (1 is the next one) return NULL; with forever, all after it as well.
 * Those in excused functions do not fail (see tls_faults.c). 0 takes a wish back. */
void tls_faults_fail_after(uint64_t n, bool forever);

/* Whether the last wish has made an allocation fail, and where the first one was: "crypto/bio/bio_lib.c:83, below
 * BIO_new_ex, BIO_new". The text is valid until the next wish for a number. */
bool tls_faults_failed(void);
const char *tls_faults_place(void);

/* Allocations are made on many ways, most of them again and again. From now until the end of the recording, keep the
 * numbers of those that come on a new way: by another stack, or in another phase of the test. Returns them in the end,
 * as tls_faults_fail_after() counts; free(3) them. */
void tls_faults_record(void);
void tls_faults_set_phase(int phase);
uint64_t *tls_faults_end_record(size_t *count);

/* Blocks that are not freed; all of them, and those allocated since the last mark. print lists the latter on standard
 * error. */
void tls_faults_mark(void);
size_t tls_faults_left(void);
void tls_faults_print_left(void);

#endif
