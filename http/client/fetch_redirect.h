#ifndef EVSERVE_HTTP_FETCH_REDIRECT_H
#define EVSERVE_HTTP_FETCH_REDIRECT_H

/* Redirects: what a fetch asks for next. */

struct fetch;

/* The response is a redirect that is followed: change URL and request to what it leads to. Returns 0, or -errno after
 * fetch_fail(). */
int fetch_redirect(struct fetch *fetch);

#endif
