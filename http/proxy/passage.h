#ifndef EVSERVE_HTTP_PASSAGE_H
#define EVSERVE_HTTP_PASSAGE_H

/* An exchange on its way through a proxy: its request goes to an upstream, and the response of that to the client. */

struct exchange;
struct proxy;

/* Serve an exchange that the proxy's handler was called for. */
void passage_begin(struct proxy *proxy, struct exchange *exchange);

#endif
