#ifndef EVSERVE_HTTP_SLOW_TIMES_H
#define EVSERVE_HTTP_SLOW_TIMES_H

/* What the time of a request was spent on; http/slow_log.h keeps the account. */

#include <stdbool.h>
#include <stdint.h>

/* What time is spent on. */
enum slow_part {
    SLOW_READING, /* waiting for the rest of the head or of the body */
    SLOW_HANDLER, /* in the code that responds: a handler, or the server itself for files */
    SLOW_WAITING, /* waiting for a handler that is not running: for a timer, for another thread */
    SLOW_SENDING, /* waiting for the client to take the response */
    SLOW_PARTS,
};

/* Of one exchange, embedded in it. */
struct slow_times {
    int64_t began_ns;             /* its first byte */
    int64_t since_ns;             /* until when its time is accounted for */
    int64_t spent_ns[SLOW_PARTS]; /* up to then */
    uint8_t part;                 /* enum slow_part: what time is spent on since then */
    bool is_in_turn;              /* a turn of its connection lasts since then */
};

#endif
