#ifndef EVSERVE_HTTP_WS_UTF8_H
#define EVSERVE_HTTP_WS_UTF8_H

/* UTF-8 (RFC 3629), checked while it arrives: a sequence may be split anywhere. No allocation; any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is still missing of the sequence that the text so far ends with. All zero: nothing. */
struct ws_utf8 {
    uint8_t missing; /* bytes */
    uint8_t least;   /* of the next byte, while missing is not 0 */
    uint8_t most;
};

/* Whether the text may go on with these bytes. False at the first byte that no text can have there; the state is then
 * of no use. */
bool ws_utf8_check(struct ws_utf8 *state, const char *text, size_t len);

/* Whether the text may end here. */
static inline bool ws_utf8_is_whole(const struct ws_utf8 *state)
{
    return state->missing == 0;
}

#endif
