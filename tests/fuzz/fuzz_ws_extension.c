/* Sec-WebSocket-Extensions (http/ws/ws_extension.c). The input is one or several values, one on each line, flush
 * against a page that must not be touched. Values without quotes are read as a plain reading with copies reads them;
 * what is agreed on is within what the client offered, and the response can be read as an offer. */

#include "http/ws/ws_extension.h"
#include "tests/lib/fuzz.h"

#include <string.h>

/* Whether a value without quotes is a list of extensions: elements of tokens, "; token" and "; token=token". */
static bool is_list(const char *text, size_t len)
{
    enum { ELEMENT, IN_NAME, BEHIND_NAME, PARAMETER, IN_PARAMETER, BEHIND_PARAMETER, VALUE, IN_VALUE, BEHIND_VALUE };
    static const char others[] = "!#$%&'*+-.^_`|~";
    int state = ELEMENT;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool is_token = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                        (c != '\0' && strchr(others, c) != NULL);
        bool is_space = c == ' ' || c == '\t';
        bool is_in = state == IN_NAME || state == IN_PARAMETER || state == IN_VALUE;
        bool is_behind = state == BEHIND_NAME || state == BEHIND_PARAMETER || state == BEHIND_VALUE;
        if (is_token) {
            if (is_behind) {
                return false;
            }
            state += is_in ? 0 : 1;
        } else if (is_space) {
            state += is_in ? 1 : 0;
        } else if (c == ',' && (is_in || is_behind || state == ELEMENT)) {
            state = ELEMENT;
        } else if (c == ';' && (is_in || is_behind)) {
            state = PARAMETER;
        } else if (c == '=' && (state == IN_PARAMETER || state == BEHIND_PARAMETER)) {
            state = VALUE;
        } else {
            return false;
        }
    }
    return state != PARAMETER && state != VALUE;
}

static void check_offer(const struct ws_offer *offer)
{
    for (int may_keep = 0; may_keep < 2; may_keep++) {
        struct ws_deflate_terms terms;
        struct ws_offer again = {0};
        char text[WS_EXTENSION_MAX];
        ws_extension_agree(&terms, offer, may_keep);
        FUZZ_MUST(terms.server_bits >= 9 && terms.server_bits <= 15);
        FUZZ_MUST(terms.client_bits >= 8 && terms.client_bits <= 15);
        FUZZ_MUST(offer->server_bits == 0 || terms.server_bits <= offer->server_bits);
        FUZZ_MUST(!(terms.server_keeps && (offer->server_forgets || !may_keep)));
        FUZZ_MUST(!terms.says_client_bits || offer->has_client_bits);
        size_t len = ws_extension_write(text, &terms);
        FUZZ_MUST(len <= sizeof text && ws_extension_read(&again, text, len) && again.is_there);
        FUZZ_MUST(again.server_forgets == !terms.server_keeps && again.client_forgets == !terms.client_keeps);
        FUZZ_MUST(!terms.says_client_bits || again.client_bits == terms.client_bits);
        FUZZ_MUST(!terms.says_server_bits || again.server_bits == terms.server_bits);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ws_offer offer = {0};
    for (size_t start = 0; start <= len;) {
        const uint8_t *newline = start < len ? memchr(data + start, '\n', len - start) : NULL;
        size_t end = newline == NULL ? len : (size_t)(newline - data);
        if (end - start > GUARDED_BYTES) {
            return 0;
        }
        const char *text = guarded_at_end(fuzz_guarded(), (const char *)data + start, end - start);
        bool had_one = offer.is_there;
        bool is_valid = ws_extension_read(&offer, text, end - start);
        if (end == start || memchr(text, '"', end - start) == NULL) {
            FUZZ_MUST(is_valid == is_list(text, end - start));
        }
        FUZZ_MUST(offer.is_there || !had_one);
        if (offer.is_there) {
            check_offer(&offer);
        }
        start = end + 1;
    }
    return 0;
}
