/* What a connection waits for says what it is doing; only a handshake waits as if for a head. */

#include "http/conn_phase.h"

#include "http/conn_pool.h"
#include "http/conn_waits.h"

#include <string.h>

static void count_conn(void *arg, const struct conn *conn)
{
    static const enum conn_phase phases[] = {
        [WAIT_IDLE] = PHASE_IDLE,        [WAIT_HEAD] = PHASE_READING,  [WAIT_BODY] = PHASE_READING,
        [WAIT_HANDLER] = PHASE_HANDLING, [WAIT_WRITE] = PHASE_SENDING, [WAIT_LINGER] = PHASE_LINGERING,
        [WAIT_QUIET] = PHASE_HANDLING};
    uint64_t *counts = arg;
    bool is_handshake = conn->state == CONN_OPEN && conn->transport.is_opening;
    counts[is_handshake ? PHASE_HANDSHAKE : phases[conn_waits_for(conn)]]++;
}

void conn_phase_count(const struct conn_pool *pool, uint64_t counts[CONN_PHASES])
{
    memset(counts, 0, CONN_PHASES * sizeof *counts);
    conn_pool_each(pool, count_conn, counts);
}
