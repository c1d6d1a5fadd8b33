#ifndef EVSERVE_HTTP_ROUTE_TABLE_H
#define EVSERVE_HTTP_ROUTE_TABLE_H

/* What a site serves, as text for people: one line for each route, rule and mounted directory of the default host, then
 * for each other host a line with its names, and its own lines. */

struct site;

enum { ROUTE_TABLE_LINE_MAX = 6144 }; /* bytes of a line with its NUL; a longer one is cut */

/* Call line with each line (without newline): methods, path, name ("-" without one) and place of a route; for a mount
 * "static", its prefix, "-" and its directory; for a proxied prefix "proxy", the prefix, its name, its upstreams and its
 * place; for a redirect its status, pattern, "-" and target; for another rule "rule", its prefix, "-" and its kind; for
 * an error page "error", the status, "-" and the file. Columns are aligned; lines are in the order of paths, those of
 * one path as they were registered. Returns 0 or -ENOMEM. */
int route_table_write(const struct site *site, void (*line)(void *arg, const char *text), void *arg);

#endif
