#ifndef EVSERVE_TESTS_HANDLERS_H
#define EVSERVE_TESTS_HANDLERS_H

/* Handlers that several tests have. */

#include "http/exchange.h"
#include "http/response.h"

#include <string.h>

/* Answers with the text that is its context. */
void serve_text(struct exchange *exchange, void *ctx);

/* Takes its body itself (BODY_STREAM), all of it, and answers with it. */
void serve_body_back(struct exchange *exchange, void *ctx);

#endif
