/* URLs of requests to other servers (http/client/fetch_url.c). The input is a URL, and behind a newline a reference.
 * What is taken is normalised: read again, it is the same; it has no byte that a request line cannot have, no user
 * name, and a host that is one. A reference is resolved to what is read again, too. No memory is left. */

#include "http/client/fetch.h"
#include "http/client/fetch_url.h"
#include "tests/lib/fuzz.h"

#include <errno.h>
#include <string.h>

static void check_url(const struct fetch_url *url)
{
    struct fetch_url again;
    const char *why = NULL;
    size_t len = strlen(url->text);

    FUZZ_MUST(url->target[0] == '/' && url->target + strlen(url->target) == url->text + len);
    for (const char *at = url->target; *at != '\0'; at++) {
        FUZZ_MUST(*at > ' ' && *at < 0x7f && *at != '#');
    }
    FUZZ_MUST(url->port > 0 && url->host[0] != '\0');
    if (url->unix_path == NULL) {
        FUZZ_MUST(memchr(url->authority, '@', url->authority_len) == NULL);
        FUZZ_MUST(memchr(url->authority, '/', url->authority_len) == NULL);
        FUZZ_MUST(strlen(url->host) <= 253 && strpbrk(url->host, "@/\\%?# ") == NULL);
    }
    if (len > FETCH_URL_MAX) { /* escapes have made it longer */
        return;
    }
    FUZZ_MUST(fetch_url_parse(&again, url->text, len, &why) == 0);
    FUZZ_MUST(strcmp(again.text, url->text) == 0 && strcmp(again.host, url->host) == 0);
    FUZZ_MUST(strcmp(again.target, url->target) == 0 && again.port == url->port);
    FUZZ_MUST(again.is_secured == url->is_secured && (again.unix_path == NULL) == (url->unix_path == NULL));
    FUZZ_MUST(fetch_url_is_same_origin(&again, url));
    fetch_url_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fetch_url url, to;
    const char *why = NULL;

    if (len > 4096) {
        return 0;
    }
    const char *text = guarded_at_end(fuzz_guarded(), (const char *)data, len);
    const char *newline = len > 0 ? memchr(text, '\n', len) : NULL;
    size_t url_len = newline != NULL ? (size_t)(newline - text) : len;
    int rv = fetch_url_parse(&url, text, url_len, &why);
    FUZZ_MUST(rv == 0 || (rv == -EINVAL && why != NULL && url.text == NULL));
    if (rv == 0) {
        check_url(&url);
    }
    if (rv == 0 && newline != NULL) {
        rv = fetch_url_resolve(&to, &url, newline + 1, len - url_len - 1, &why);
        FUZZ_MUST(rv == 0 || rv == -EINVAL);
        if (rv == 0) {
            check_url(&to);
        }
        fetch_url_done(&to);
    }
    fetch_url_done(&url);
    FUZZ_MUST(fake_mem_live() == 0);
    return 0;
}
