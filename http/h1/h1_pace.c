/* A response owes time for what was sent of it: each byte a second divided by the rate. A quantum, which is what may be
 * sent in a tenth of a second, leaves when the time for all before it is over; so a response begins with one at once.
 * Time in which nothing was there to be sent is forgotten, except a little, so that a timer that comes late does not
 * make a response slower.
 *
 * While a response is held back its connection waits for WAIT_QUIET, whose deadline is no timeout, and does not ask
 * whether the socket has room: a client that takes nothing is noticed when the socket is full. No failure modes. */

#include "http/h1/h1_pace.h"

#include "core/reactor.h"
#include "http/h1/h1.h"
#include "http/service.h"

enum {
    QUANTA_PER_S = 10,          /* so many times a second a response goes on */
    QUANTUM_LEAST = 1460,       /* bytes: a packet, unless the rate is less in a second */
    QUANTUM_MOST = 256 << 10,   /* bytes: a turn */
    LATE_NS = 100 * 1000 * 1000 /* how much time that was not used is remembered, beside a quantum's */
};

#define SECOND_NS INT64_C(1000000000)

/* h1->pace */
enum h1_pace { PACE_NOT_BEGUN, PACE_ON, PACE_HELD };

static int64_t rate_of(const struct exchange *exchange)
{
    return (int64_t)(exchange->dues.is_paced == PACED_OWN ? exchange->rate_bytes : exchange->limits->rate_limit_bytes);
}

static int64_t quantum_of(int64_t rate)
{
    int64_t least = rate < QUANTUM_LEAST ? rate : QUANTUM_LEAST;
    int64_t quantum = rate / QUANTA_PER_S > least ? rate / QUANTA_PER_S : least;
    return quantum < QUANTUM_MOST ? quantum : QUANTUM_MOST;
}

static int64_t now_ns(const struct h1 *h1)
{
    return reactor_now_ms(h1->exchange.service->reactor) * 1000000;
}

/* The time that bytes take, rounded up. */
static int64_t time_of(int64_t bytes, int64_t rate)
{
    return (bytes * SECOND_NS + rate - 1) / rate;
}

/* How many bytes are due: at least a quantum, else the response is held back and none are. */
static int64_t due_bytes(struct h1 *h1)
{
    int64_t rate = rate_of(&h1->exchange);
    int64_t quantum_ns = time_of(quantum_of(rate), rate), now = now_ns(h1);
    if (h1->pace == PACE_NOT_BEGUN) {
        h1->paid_ns = now - quantum_ns;
        h1->paid_bytes = h1->exchange.sent_bytes;
    }
    h1->paid_ns += time_of((int64_t)(h1->exchange.sent_bytes - h1->paid_bytes), rate);
    h1->paid_bytes = h1->exchange.sent_bytes;
    if (now - h1->paid_ns > quantum_ns + LATE_NS) {
        h1->paid_ns = now - quantum_ns - LATE_NS;
    }
    h1->pace = now - h1->paid_ns >= quantum_ns ? PACE_ON : PACE_HELD;
    h1->paced_until_ms = (h1->paid_ns + quantum_ns + 999999) / 1000000;
    return h1->pace == PACE_HELD ? 0 : (now - h1->paid_ns) * rate / SECOND_NS;
}

int64_t h1_pace_budget(struct h1 *h1, int64_t most)
{
    if (rate_of(&h1->exchange) == 0) { /* the handler has set none, whatever the limits say */
        h1->pace = PACE_NOT_BEGUN;
        return most;
    }
    int64_t due = due_bytes(h1);
    return due < most ? due : most;
}

void h1_pace_hold(struct h1 *h1)
{
    if (rate_of(&h1->exchange) != 0 && due_bytes(h1) == 0) {
        h1->conn->waits_for = WAIT_NONE; /* its wait begins now, whatever it waited for before */
    }
}

bool h1_is_held(const struct h1 *h1)
{
    return h1->pace == PACE_HELD;
}
