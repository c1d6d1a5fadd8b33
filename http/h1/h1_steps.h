#ifndef EVSERVE_HTTP_H1_STEPS_H
#define EVSERVE_HTTP_H1_STEPS_H

/* The steps of a request, one for each state, for h1_turn.c. */

#include "http/conn.h"
#include "http/outcome.h"

struct h1;

enum {
    PIPELINE_BUDGET = 64, /* requests answered in one turn (R6) */
};

/* What a step says. */
enum step {
    STEP_ON,     /* go on with the state that the request is in now */
    STEP_WAIT,   /* nothing more can be done before something happens */
    STEP_LINGER, /* all is sent: the connection ends */
    STEP_OVER,   /* all is sent: the connection goes over to another protocol */
    STEP_CLOSE,  /* the connection is over */
};

/* Take the step of the state that the request is in. It may change the state, queue bytes and call the handler. The
 * connection's work may be another struct h1 afterwards. */
enum step h1_step(struct h1 *h1);

/* The response is known before the body is read, or there is no response: the connection closes after it. */
void h1_refuse(struct h1 *h1, int status, const char *detail);

/* Send what is queued. Returns STEP_ON, or STEP_CLOSE when the client is lost. */
enum step h1_send(struct h1 *h1);

/* No further request will come: send what is queued, then close. */
void h1_close_when_sent(struct h1 *h1);

/* The client shut its side, and has thereby left a handler that is waited for. */
enum step h1_close_left(struct h1 *h1);

#endif
