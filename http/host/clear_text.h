#ifndef EVSERVE_HTTP_HOST_CLEAR_TEXT_H
#define EVSERVE_HTTP_HOST_CLEAR_TEXT_H

/* Passwords that clients send in clear text. */

struct log;
struct offer;

/* Log a warning if a rule of the offer asks for a password (http/rules/basic_auth.h), and an address that it would
 * listen on can be reached from other machines without TLS. listen is as for offer_listen(). A site with trusted
 * proxies, and an address with "?proxy", stand behind a proxy, which may speak TLS. log may be NULL. */
void clear_text_warn(const struct offer *offer, const char *listen, const struct log *log);

#endif
