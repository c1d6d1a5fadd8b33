#ifndef EVSERVE_HTTP_PASSAGE_SEND_H
#define EVSERVE_HTTP_PASSAGE_SEND_H

/* The request of a passage, on its way to the upstream. */

#include <stdbool.h>

struct passage;

/* The link is open: send the head, and what there is of the body with it. Returns false if the passage is gone. */
bool passage_send_head(struct passage *passage);

/* Pass the body on, as far as it has come and the upstream takes it. Returns likewise. */
bool passage_pump(struct passage *passage);

#endif
