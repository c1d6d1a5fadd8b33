/* Redirects (RFC 9110 section 15.4).
 *
 * Happy path: Location is resolved against the URL that it came from, and the request changed for it. Failure: too
 * many redirects, no URL that can be followed, or one that leads to a unix socket of this machine, or away from one. */

#include "http/client/fetch_redirect.h"

#include "core/visible.h"
#include "http/client/fetch_over.h"
#include "http/client/fetch_state.h"

#include <errno.h>
#include <string.h>

static void fail_redirect(struct fetch *fetch, const char *to, const char *why)
{
    char name[FETCH_FAILURE_MAX / 2];
    char shown[128];
    size_t taken;
    visible_copy(shown, sizeof shown, to, strlen(to), VISIBLE_LINE, &taken);
    fetch_fail(fetch, FETCH_REDIRECTED, "%s redirects to %s%s, which %s", fetch_peer_name(fetch, name), shown,
               to[taken] != '\0' ? "..." : "", why);
}

/* Where the redirect leads to. Returns 0 with *to, or -EINVAL or -ENOMEM after fetch_fail(). */
static int resolve_redirect(struct fetch *fetch, struct fetch_url *to)
{
    const struct fetch_field *location = fetch_reply_find(&fetch->reply, "Location");
    const char *why = "";
    int rv = fetch_url_resolve(to, &fetch->url, location->value, location->value_len, &why);

    if (rv == -ENOMEM) {
        fetch_fail(fetch, FETCH_NO_MEMORY, "out of memory");
    } else if (rv < 0) {
        fail_redirect(fetch, location->value, why);
    }
    return rv;
}

int fetch_redirect(struct fetch *fetch)
{
    struct fetch_url to;
    char name[FETCH_FAILURE_MAX / 2];
    int status = fetch->reply.head.status;

    if (fetch->redirects == fetch->redirects_max) {
        fetch_fail(fetch, FETCH_REDIRECTED, "%s redirects again, after %u redirects", fetch_peer_name(fetch, name),
                   fetch->redirects);
        return -ELOOP;
    }
    if (resolve_redirect(fetch, &to) < 0) {
        return -ELOOP;
    }
    bool leaves = !fetch_url_is_same_origin(&fetch->url, &to);
    bool is_local = fetch->order.unix_path != NULL || fetch->url.unix_path != NULL || to.unix_path != NULL;
    if (leaves && is_local) {
        fail_redirect(fetch, to.text, "leads to or from a unix socket");
        fetch_url_done(&to);
        return -ELOOP;
    }
    if (fetch->url.is_secured && !to.is_secured) { /* what was asked in secret would be asked in the open */
        fail_redirect(fetch, to.text, "leads from https to http");
        fetch_url_done(&to);
        return -ELOOP;
    }
    if (!fetch_order_redirect(&fetch->order, status, leaves)) {
        fail_redirect(fetch, to.text, "would need the streamed body again");
        fetch_url_done(&to);
        return -ELOOP;
    }
    fetch_url_done(&fetch->url);
    fetch->url = to;
    fetch->redirects++;
    return 0;
}
