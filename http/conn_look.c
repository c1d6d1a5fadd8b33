/* What the socket takes is seen only when it has room again, and the kernel may have 256 KiB or more to get rid of
 * before it says so. So a client that does not let us write is looked at twice: early in its time the kernel is asked
 * how much is in the socket, and when the time is over, whether it has become less. When something else has blocked
 * the loop and the first look comes late, the second one comes later too: a client that reads slowly needs time to
 * show it.
 *
 * Failure mode: a kernel that does not answer; then a client that takes nothing has its time, and no more. */

#include "http/conn_look.h"

#include "http/conn_protocol.h"

/* The first look into the socket comes when this part of write_timeout is over, and the second one no sooner than this
 * part of it later. */
enum { FIRST_LOOK_PART = 8 };

static int64_t write_timeout_ms(const struct conn *conn)
{
    return conn->protocol->deadline_ms(conn, WAIT_WRITE, 0);
}

int64_t conn_look_ms(const struct conn *conn, int64_t at_ms)
{
    if (conn->waits_for != WAIT_WRITE || conn->unsent_bytes >= 0 || at_ms == DEADLINE_NEVER) {
        return at_ms;
    }
    int64_t wait_ms = write_timeout_ms(conn);
    return at_ms - (wait_ms - wait_ms / FIRST_LOOK_PART);
}

/* Ask the kernel. Where it does not answer, nothing that comes later is less. */
static int32_t ask_unsent(const struct conn *conn)
{
    int unsent = transport_unsent_bytes(&conn->transport);
    return unsent < 0 ? 0 : unsent;
}

void conn_look_first(struct conn *conn, int64_t now_ms)
{
    int64_t next_ms = now_ms + write_timeout_ms(conn) / FIRST_LOOK_PART + 1;
    conn->unsent_bytes = ask_unsent(conn);
    if (next_ms > conn->deadline.at_ms) {
        conn->deadline.at_ms = next_ms;
    }
}

bool conn_takes_response(struct conn *conn, int64_t now_ms)
{
    if (conn->unsent_bytes < 0) { /* the loop was blocked until now */
        conn_look_first(conn, now_ms);
        return true;
    }
    int32_t before = conn->unsent_bytes;
    conn->unsent_bytes = ask_unsent(conn);
    if (conn->unsent_bytes >= before) {
        return false;
    }
    conn->deadline.at_ms = now_ms + write_timeout_ms(conn);
    return true;
}
