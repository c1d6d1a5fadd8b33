#ifndef EVSERVE_HTTP_PASSAGE_RECEIVE_H
#define EVSERVE_HTTP_PASSAGE_RECEIVE_H

/* The response of a passage, on its way to the client. */

#include <stdbool.h>

struct passage;

/* A response is to come. */
void passage_expect_head(struct passage *passage);

/* Receive what is there, as far as the client takes it. Returns false if the passage is gone. */
bool passage_receive(struct passage *passage);

#endif
