/* From a pattern or a path to a route.
 *
 * Happy path: router_match() walks down the tree (http/route_tree.h), the literal child first, then the branches that
 * fit. Where it cannot go on it climbs to the parent and tries the branch after the one it came from; the position
 * there follows from what the nodes consumed, so there is no stack and no allocation.
 *
 * Failure modes: router_add() rejects bad patterns and unknown methods; the tree rejects the rest. A match has none:
 * what it cannot find is a verdict. */

#include "http/router.h"

#include "core/log.h"
#include "core/mem.h"
#include "http/handler.h"
#include "http/route_pattern.h"
#include "http/route_tree.h"
#include "http/words.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct router {
    struct route_tree tree;
    struct route_methods names; /* that routes gave to methods */
};

int router_create(struct router **router)
{
    struct router *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    int rv = route_tree_init(&made->tree, &made->names);
    if (rv < 0) {
        mem_free(made);
        return rv;
    }
    *router = made;
    return 0;
}

void router_destroy(struct router *router)
{
    if (router != NULL) {
        route_tree_done(&router->tree);
        mem_free(router);
    }
}

/* struct route.after_files of a pattern. */
static uint16_t find_after_files(const struct route_pattern *pattern, const struct handler *handler)
{
    const struct route_piece *first = &pattern->pieces[0];
    bool is_plain = pattern->piece_count == 2 && pattern->pieces[1].kind == PIECE_REST;
    if (!is_plain || handler->before_files) {
        return 0;
    }
    const char *slash = memrchr(first->text, '/', first->len);
    return (uint16_t)(slash == first->text ? 1 : slash - first->text + 2);
}

int router_add(struct router *router, uint64_t methods, const char *pattern, const struct handler *handler,
               const char *where, char *err, size_t errlen)
{
    struct route route = {.handler = handler,
                          .methods = methods,
                          .pattern = pattern,
                          .where = where == NULL ? "" : where};
    const char *colon = route.where[0] == '\0' ? "" : ": ";
    uint64_t named = METHODS_ALL | (METHOD_BIT(router->names.count) - 1) << METHOD_COUNT;
    if (methods == 0 || (methods & ~named) != 0) {
        return error_text(err, errlen, -EINVAL, "%s%sroute %.200s has %s", route.where, colon, pattern,
                          methods == 0 ? "no method" : "an unknown method");
    }
    struct route_pattern parsed;
    int rv = route_pattern_parse(&parsed, pattern, route.where, err, errlen);
    if (rv < 0) {
        return rv;
    }
    route.int_params = route_pattern_ints(&parsed);
    route.after_files = find_after_files(&parsed, handler);
    return route_tree_add(&router->tree, &parsed, &route, err, errlen);
}

/* A match in progress. */
struct walk {
    const char *path;     /* all of it */
    uint32_t len;         /* of path */
    uint32_t pos;         /* bytes consumed by the nodes from the root to the current one */
    unsigned param_count; /* nodes on that way that are parameters */
    struct slice *params; /* their values */
};

/* The route at a node where the path ends, for a method that the parser does not know. */
static const struct route *node_other_route(const struct route_node *node, unsigned method)
{
    uint64_t wanted = METHOD_BIT(method) | METHOD_BIT(METHOD_OTHER);
    const struct route_entry *entry = node->entries;
    while (entry != NULL && (entry->route.methods & wanted) == 0) {
        entry = entry->next;
    }
    return entry == NULL ? NULL : &entry->route;
}

/* The route at a node where the path ends. HEAD is served by GET. */
static const struct route *node_route(const struct route_node *node, unsigned method)
{
    if (method >= METHOD_OTHER) {
        return node_other_route(node, method);
    }
    unsigned wanted = 1U << method;
    if (method == METHOD_HEAD && (node->methods & wanted) == 0) {
        wanted = 1U << METHOD_GET;
    }
    if ((node->methods & wanted) == 0) {
        return NULL;
    }
    const struct route_entry *entry = node->entries;
    while ((entry->route.methods & wanted) == 0) {
        entry = entry->next;
    }
    return &entry->route;
}

/* All methods at a node that a path has whose end it is, including those with names. A route for preflights, perhaps
 * of all paths, does not mean that the path exists; nor does a route for all paths that does not say so. */
static uint64_t node_methods(const struct route_node *node)
{
    uint64_t methods = 0;
    bool is_for_all = node->piece.kind == PIECE_REST && node->entries->route.pattern[1] == '*';
    for (const struct route_entry *entry = node->entries; entry != NULL; entry = entry->next) {
        methods |= is_for_all && !entry->route.handler->owns_paths ? 0 : entry->route.methods;
    }
    return methods == METHOD_BIT(METHOD_OPTIONS) || methods == 0 ? 0 : methods | METHOD_BIT(METHOD_OPTIONS);
}

/* The literal child with which the rest of a path continues, or NULL. */
static const struct route_node *find_literal(const struct route_node *node, const char *rest, uint32_t len)
{
    struct route_node *const *child = len == 0 ? NULL : route_node_child(node, rest[0]);
    if (child == NULL) {
        return NULL;
    }
    const struct route_piece *piece = &(*child)->piece;
    return piece->len <= len && words_equal(piece->text, rest, piece->len) ? *child : NULL;
}

/* Consume it, and return it. */
static const struct route_node *walk_literal(struct walk *walk, const struct route_node *node)
{
    const struct route_node *child = find_literal(node, walk->path + walk->pos, walk->len - walk->pos);
    walk->pos += child == NULL ? 0 : child->piece.len;
    return child;
}

/* Whether a branch that is a rest or an inner parameter fits left bytes with a segment at their beginning, and how many
 * of them it consumes. */
static bool consume_special(const struct route_piece *piece, const char *text, uint32_t left, uint32_t segment_len,
                            uint32_t *consumed)
{
    *consumed = left;
    if (piece->kind == PIECE_REST) {
        return true;
    }
    uint32_t len = route_inner_len(piece, text, segment_len);
    *consumed = len + piece->len;
    return len > 0 && (piece->type == NULL || route_type_accepts(piece->type, text, len));
}

/* Consume the first branch that fits, beginning with branch. Returns it, or NULL. */
static const struct route_node *walk_branch(struct walk *walk, const struct route_node *branch)
{
    if (branch == NULL) {
        return NULL;
    }
    const char *text = walk->path + walk->pos;
    uint32_t left = walk->len - walk->pos;
    const char *slash = left == 0 ? NULL : memchr(text, '/', left);
    uint32_t segment_len = slash == NULL ? left : (uint32_t)(slash - text);
    for (; branch != NULL; branch = branch->next) {
        const struct route_piece *piece = &branch->piece;
        uint32_t consumed = segment_len;
        if (piece->kind >= PIECE_REST) {
            if (!consume_special(piece, text, left, segment_len, &consumed)) {
                continue;
            }
        } else {
            if (segment_len <= piece->len || memcmp(text + segment_len - piece->len, piece->text, piece->len) != 0) {
                continue;
            }
            if (piece->kind == PIECE_TYPED && !route_type_accepts(piece->type, text, segment_len - piece->len)) {
                continue;
            }
        }
        walk->params[walk->param_count++] = (struct slice){walk->pos, consumed - piece->len};
        walk->pos += consumed;
        return branch;
    }
    return NULL;
}

/* Everything below node was tried: give back what it consumed, climb, and take the branch after it. Returns the next
 * node, or NULL if the whole tree was tried. */
static const struct route_node *walk_back(struct walk *walk, const struct route_node *node)
{
    const struct route_node *found = NULL;
    while (found == NULL && node->parent != NULL) {
        if (node->piece.kind == PIECE_LITERAL) {
            walk->pos -= node->piece.len;
            found = walk_branch(walk, node->parent->branches);
        } else {
            walk->pos = walk->params[--walk->param_count].offset;
            found = walk_branch(walk, node->next);
        }
        node = node->parent;
    }
    return found;
}

struct route_methods *router_method_names(struct router *router)
{
    return &router->names;
}

uint64_t router_methods(const struct router *router)
{
    return router->tree.methods;
}

unsigned router_find_method(const struct router *router, const char *name, size_t len)
{
    /* A name may have no bit: its route was rejected. */
    return route_methods_find(&router->names, router->tree.methods, name, len);
}

/* The path ends at node: find its route for the method, or add its methods to those that are allowed. Returns whether
 * there is a route. */
static bool match_end(const struct route_node *node, unsigned method, struct route_match *match)
{
    if (node->methods == 0) {
        return false;
    }
    match->route = node_route(node, method);
    if (match->route == NULL) {
        match->allowed |= node_methods(node);
    }
    return match->route != NULL;
}

/* The verdict when no route was found. */
static enum route_verdict finish_match(struct route_match *match)
{
    if ((match->allowed & METHOD_BIT(METHOD_GET)) != 0) {
        match->allowed |= METHOD_BIT(METHOD_HEAD);
    }
    return match->allowed == 0 ? ROUTE_NOT_FOUND : ROUTE_NOT_ALLOWED;
}

/* Match from a node on that has branches, at pos in the path. None of the nodes above it has any. Not inlined: literal
 * paths would pay for its registers. */
__attribute__((noinline)) static enum route_verdict match_branches(const struct route_node *node, unsigned method,
                                                                   const char *path, uint32_t len, uint32_t pos,
                                                                   struct route_match *match)
{
    struct walk walk = {.path = path, .len = len, .pos = pos, .params = match->params};
    while (node != NULL) {
        if (walk.pos == walk.len && match_end(node, method, match)) {
            return ROUTE_FOUND;
        }
        const struct route_node *next = walk_literal(&walk, node);
        if (next == NULL) {
            next = walk_branch(&walk, node->branches);
        }
        node = next != NULL ? next : walk_back(&walk, node);
    }
    return finish_match(match);
}

enum route_verdict router_match(const struct router *router, unsigned method, const char *path, size_t len,
                                struct route_match *match)
{
    assert(method < METHOD_COUNT + ROUTE_METHODS_MAX);
    match->route = NULL;
    match->allowed = 0;
    if (len > UINT32_MAX) {
        return ROUTE_NOT_FOUND;
    }
    uint32_t pos = 0;
    const struct route_node *node = router->tree.root;
    while (node->branches == NULL) { /* there is only one way, so nothing to go back to */
        if (pos == len) {
            return match_end(node, method, match) ? ROUTE_FOUND : finish_match(match);
        }
        node = find_literal(node, path + pos, (uint32_t)len - pos);
        if (node == NULL) {
            return ROUTE_NOT_FOUND;
        }
        pos += node->piece.len;
    }
    return match_branches(node, method, path, (uint32_t)len, pos, match);
}

const struct route *router_route(const struct router *router, size_t n)
{
    return n < router->tree.entry_count ? &router->tree.entries[n]->route : NULL;
}

void router_set_series(struct router *router, size_t n, uint16_t series)
{
    router->tree.entries[n]->route.series = series;
}

void router_format_methods(const struct router *router, uint64_t methods, char text[ROUTE_METHODS_TEXT_MAX])
{
    route_methods_format(&router->names, methods, text);
}
