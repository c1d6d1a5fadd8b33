/* The whole connection, over a plain socket: conn_play.c says what an input is, and what holds. */

#include "tests/fuzz/conn_play.h"
#include "tests/lib/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct conn_line plain = {0};
    return conn_play(&plain, data, len);
}
