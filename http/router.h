#ifndef EVSERVE_HTTP_ROUTER_H
#define EVSERVE_HTTP_ROUTER_H

/* Method and path to handler: a radix tree, built at start-up, then only read (so any number of threads may match).
 *
 * Patterns
 *   /about.html         literal bytes, written as in a URL: %XX is the byte it names, so %3A, %2A, %7B, %25 are a plain
 *                       ':', '*', '{', '%'; UTF-8 may stand as it is. Compared to the decoded path, case-sensitive.
 *   /users/:id          a parameter takes what is left of its segment, at least one byte
 *   /users/:id{int}     a typed parameter, see below
 *   /files/a-:name.gz   literal text before and after it in its segment
 *   /files/:name.:ext   more than one in a segment, with text between them: each takes what comes before the first place
 *                       where its text is, at least one byte
 *   /files/ *rest       (without the blank) last: all that follows, slashes too, perhaps nothing; a bare * is named "*"
 * Names are [A-Za-z_][A-Za-z0-9_]*, each once a pattern. "/users" and "/users/" are two patterns.
 *
 * Types: {int} 1 to 18 decimal digits without sign (it fits an int64_t); {alpha} ASCII letters; {alnum} letters and
 * digits; {hex} hexadecimal digits; {slug} letters, digits, '-' and '_'; {uuid} 8-4-4-4-12 hexadecimal digits; and a
 * set of one's own, {[a-z0-9.-]+}: printable ASCII characters and ranges, '-' itself first or last, none of / [ \ ] ^,
 * one or more of them.
 *
 * Precedence, decided at the first place where two patterns differ and whatever the order of registration: end of the
 * pattern or literal byte, then typed parameter (the one whose type accepts fewer different characters first, {uuid}
 * before all, of two with as many always the same one), then plain parameter, then rest. Of two parameters of one type,
 * that with the longer text after it comes first, then, of one text, that at the end of its segment. Where a candidate
 * leads nowhere for the path, or lacks the method, matching goes back to the next one.
 *
 * Cost: a match enters each node of the tree at most once, because a node is reached at only one position of the path.
 * So going back never multiplies the work, and a match enters only nodes whose way from the root fits the path. If no
 * patterns overlap, there is one way down: the cost is the length of the path, not the number of routes. At one node at
 * most ROUTE_BRANCHES_MAX parameters are tried, each in the length of its segment. */

#include "http/route.h"
#include "http/route_methods.h"

#include <stddef.h>
#include <stdint.h>

struct router;

/* An empty router. */
int router_create(struct router **router);  /* 0 or -ENOMEM */
void router_destroy(struct router *router); /* NULL is allowed; handlers are not touched */

/* The names of methods in its routes: route_methods_add() makes sets with them. Valid as long as the router. */
struct route_methods *router_method_names(struct router *router);

/* Register handler for a set of methods. pattern and where (NULL is "") are copied. GET brings HEAD unless HEAD has a
 * route of its own for the same pattern. Returns 0, or with nothing changed
 *   -EINVAL  bad pattern, or methods empty or unknown
 *   -ENOSPC  ROUTE_BRANCHES_MAX
 *   -EEXIST  a method is taken for the same pattern, parameter names aside
 *   -ENOMEM
 * and a text that names the pattern, where, and for -EEXIST the other place:
 * "site.lua:12: route GET /users/:id is already registered at site.lua:7". */
int router_add(struct router *router, uint64_t methods, const char *pattern, const struct handler *handler,
               const char *where, char *err, size_t errlen);

/* The number of a method that the parser does not know: that of its name if a route was registered for it, else
 * METHOD_OTHER. */
unsigned router_find_method(const struct router *router, const char *name, size_t len);

/* The methods of all routes. With METHOD_OTHER among them, some route takes every method. */
uint64_t router_methods(const struct router *router);

/* Find the route for a method, by its number, and a path as url_normalise_path() makes it. Fills in
 * match. No allocation. */
enum route_verdict router_match(const struct router *router, unsigned method, const char *path, size_t len,
                                struct route_match *match);

/* The n-th route in the order of registration, or NULL. */
const struct route *router_route(const struct router *router, size_t n);

/* Give the n-th route, which exists, its number for metrics. Before requests look for routes. */
void router_set_series(struct router *router, size_t n, uint16_t series);

/* Write a set of methods as a field value: "GET, HEAD, OPTIONS". */
void router_format_methods(const struct router *router, uint64_t methods, char text[ROUTE_METHODS_TEXT_MAX]);

#endif
