#ifndef EVSERVE_TESTS_TLS_DAY_H
#define EVSERVE_TESTS_TLS_DAY_H

/* A day of a server with HTTPS, from evserve_start() to evserve_free(), on the fake kernel, during which something
 * fails. Whatever fails: nothing crashes, hangs or leaks; what a client received is what it receives on a good day, or
 * 500 or 503, or a part of it without close_notify; OpenSSL's queue of errors is empty after each call of the server;
 * and when the fault is gone, everything is served as before. Else the test fails. */

#include "tests/lib/fake_sys.h"

#include <stdbool.h>
#include <stdint.h>

enum tls_day_kind { FAULT_NONE, FAULT_MEM, FAULT_OPENSSL, FAULT_CALL };

struct tls_day_fault {
    const char *what; /* for messages */
    enum tls_day_kind kind;
    enum fake_op op; /* FAULT_CALL: which call */
    int error;       /* and how it fails: -errno */
    bool forever;    /* every allocation from then on */
    uint64_t n;      /* which one: 1 is the first */
    bool shown;      /* it has happened */
};

extern struct tls_day_fault tls_day_fault;    /* of the next day */
extern uint64_t tls_day_calls[FAKE_OP_COUNT]; /* of the last day during which nothing failed */

/* Before the first day, and after the last one. */
void tls_day_make(void);
void tls_day_remove(void);

/* The first day has to be one without a fault: later ones are compared with it. Returns whether the
 * fault has happened. */
bool tls_day_play(void);

/* Fail the test: who has seen what. */
void tls_day_complain(const char *who, const char *what);

#endif
