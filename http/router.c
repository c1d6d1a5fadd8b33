/* The tree. A node stands for a beginning of patterns: its parent's and then its own piece. Below a node hang literal
 * children, found by their first byte, and branches: parameters and at most one rest, in a list ordered by precedence.
 * The routes of all patterns that end here hang on the node, their methods disjoint.
 *
 * router_match() walks down: literal child first, then the branches that fit. Where it can't go on it climbs to the
 * parent and tries the branch after the one it came from; the position there follows from what the nodes consumed, so
 * there is no stack and no allocation. What it can't find is a verdict, it has no failure modes.
 *
 * router_add() follows the pattern as far as the tree has it, makes what is missing in a struct addition, and links it
 * when nothing can fail any more. Failure modes: a bad pattern, a method that is taken, too many parameters at one
 * place, memory. */

#include "http/router.h"

#include "core/log.h"
#include "core/mem.h"
#include "http/route_pattern.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { ROUTES_FIRST_CAPACITY = 16 };

/* A registered route, and after it its texts. */
struct entry {
    struct route route; /* what callers see */
    struct entry *next; /* of the same pattern, with other methods */
    char texts[];       /* pattern, where and names, each with its NUL */
};

/* What router_match() looks at comes first, close together. A node never moves. */
struct node {
    struct route_piece piece; /* consumed on the way from the parent; empty literal at the root */
    struct node *branches;    /* first of the parameters and the rest */
    struct node **children;   /* literal children, in no order: &only_child, or a block with first_bytes after them */
    char *first_bytes;        /* child_count of them: what each child's piece begins with */
    uint16_t child_count;     /* literal children, at most 256 */
    uint16_t child_capacity;  /* of children and first_bytes */
    uint8_t methods;          /* of all entries; those with a name of their own are METHOD_OTHER here */
    char only_byte;           /* first_bytes while there is room for one */
    struct node *only_child;  /* children while there is room for one */
    struct node *next;        /* the parent's branch to try after this one */
    struct node *parent;      /* NULL at the root */
    struct entry *entries;    /* routes whose pattern ends here */
    struct node *made_before; /* the router's list of all nodes */
};

_Static_assert(METHOD_COUNT <= 8, "a node keeps a set of methods in one byte");

struct router {
    struct node *root;          /* consumes nothing */
    struct node *last_made;     /* every node but those of a failed addition */
    struct entry **entries;     /* in the order of registration */
    size_t entry_count;         /* of entries */
    size_t entry_capacity;      /* of entries */
    uint64_t methods;           /* of all entries */
    struct route_methods names; /* that routes gave to methods */
};

/* All that one router_add() makes. */
struct addition {
    struct node *at;       /* the deepest node that the pattern shares */
    struct node *split;    /* literal child of at whose piece it shares in part, or NULL */
    uint32_t shared;       /* bytes of split's piece that it shares */
    unsigned piece_index;  /* first piece, or part of one, that the tree lacks */
    uint32_t piece_offset; /* bytes of it that the tree has */
    struct node *upper;    /* new, for split: its shared part */
    struct node *first;    /* new: top of the chain for the pieces that the tree lacks, or NULL */
    struct node *last;     /* new: its end, or NULL */
    struct entry *entry;   /* new */
};

/* A node that consumes a copy of piece, whose type and text follow it in one block. */
static struct node *node_create(const struct route_piece *piece)
{
    size_t type_size = piece->type == NULL ? 0 : sizeof *piece->type;
    struct node *node = mem_zalloc(sizeof *node + type_size + piece->len);
    if (node == NULL) {
        return NULL;
    }
    node->children = &node->only_child;
    node->first_bytes = &node->only_byte;
    node->child_capacity = 1;
    node->piece = *piece;
    if (piece->type != NULL) {
        node->piece.type = memcpy(node + 1, piece->type, type_size);
    }
    node->piece.text = memcpy((char *)(node + 1) + type_size, piece->text, piece->len);
    return node;
}

static void node_free(struct node *node)
{
    if (node != NULL && node->children != &node->only_child) {
        mem_free(node->children);
    }
    mem_free(node);
}

/* Make room for count literal children, at most twice as many as there was room for. On failure, and for who looks at
 * it, nothing has changed. */
static int node_reserve(struct node *node, unsigned count)
{
    if (count <= node->child_capacity) {
        return 0;
    }
    uint16_t capacity = (uint16_t)(node->child_capacity * 2);
    struct node **children = mem_alloc(capacity * (sizeof(struct node *) + 1));
    if (children == NULL) {
        return -ENOMEM;
    }
    char *first_bytes = (char *)(children + capacity);
    memcpy(children, node->children, node->child_count * sizeof(struct node *));
    memcpy(first_bytes, node->first_bytes, node->child_count);
    if (node->children != &node->only_child) {
        mem_free(node->children);
    }
    node->children = children;
    node->first_bytes = first_bytes;
    node->child_capacity = capacity;
    return 0;
}

/* The place of the literal child that begins with byte, or NULL. */
static struct node **node_child(const struct node *node, char byte)
{
    const char *found = memchr(node->first_bytes, byte, node->child_count);
    return found == NULL ? NULL : &node->children[found - node->first_bytes];
}

/* Hang child below node. A literal needs room there: every node has it for one, node_reserve() makes more. */
static void node_link(struct node *node, struct node *child)
{
    child->parent = node;
    if (child->piece.kind == PIECE_LITERAL) {
        node->first_bytes[node->child_count] = child->piece.text[0];
        node->children[node->child_count++] = child;
        return;
    }
    struct node **place = &node->branches;
    while (*place != NULL && route_piece_compare(&(*place)->piece, &child->piece) < 0) {
        place = &(*place)->next;
    }
    child->next = *place;
    *place = child;
}

int router_create(struct router **router)
{
    struct router *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->root = node_create(&(struct route_piece){.kind = PIECE_LITERAL, .text = ""});
    if (made->root == NULL) {
        mem_free(made);
        return -ENOMEM;
    }
    made->last_made = made->root;
    *router = made;
    return 0;
}

void router_destroy(struct router *router)
{
    if (router == NULL) {
        return;
    }
    for (struct node *node = router->last_made, *before; node != NULL; node = before) {
        before = node->made_before;
        node_free(node);
    }
    for (size_t i = 0; i < router->entry_count; i++) {
        mem_free(router->entries[i]);
    }
    mem_free(router->entries);
    mem_free(router);
}

/* Copy len bytes and a NUL to *to, which moves on. Returns the copy. */
static const char *put_copy(char **to, const char *text, size_t len)
{
    char *copy = *to;
    memcpy(copy, text, len);
    copy[len] = '\0';
    *to = copy + len + 1;
    return copy;
}

static struct entry *entry_create(const struct route_pattern *pattern, const struct route *route)
{
    size_t pattern_len = strlen(route->pattern);
    size_t where_len = strlen(route->where);
    size_t size = sizeof(struct entry) + pattern_len + where_len + 2;
    for (unsigned i = 0; i < pattern->name_count; i++) {
        size += pattern->names[i].len + 1;
    }
    struct entry *entry = mem_zalloc(size);
    if (entry == NULL) {
        return NULL;
    }
    char *to = entry->texts;
    entry->route = *route;
    entry->route.pattern = put_copy(&to, route->pattern, pattern_len);
    entry->route.where = put_copy(&to, route->where, where_len);
    for (unsigned i = 0; i < pattern->name_count; i++) {
        const struct route_name *name = &pattern->names[i];
        entry->route.param_names[i] = put_copy(&to, route->pattern + name->offset, name->len);
    }
    entry->route.param_count = (uint8_t)pattern->name_count;
    return entry;
}

static uint32_t common_len(const struct route_piece *a, const char *text, uint32_t len)
{
    uint32_t most = a->len < len ? a->len : len;
    uint32_t common = 0;
    while (common < most && a->text[common] == text[common]) {
        common++;
    }
    return common;
}

/* Take the literal child that the rest of a literal piece shares bytes with. Returns false where the tree ends. */
static bool follow_literal(struct addition *addition, const struct route_piece *piece)
{
    const char *text = piece->text + addition->piece_offset;
    struct node **child = node_child(addition->at, *text);
    if (child == NULL) {
        return false;
    }
    uint32_t shared = common_len(&(*child)->piece, text, piece->len - addition->piece_offset);
    addition->piece_offset += shared;
    if (addition->piece_offset == piece->len) {
        addition->piece_offset = 0;
        addition->piece_index++;
    }
    if (shared < (*child)->piece.len) {
        addition->split = *child;
        addition->shared = shared;
        return false;
    }
    addition->at = *child;
    return true;
}

/* Take the branch that is the same as piece. Returns false where the tree ends. */
static bool follow_branch(struct addition *addition, const struct route_piece *piece)
{
    for (struct node *branch = addition->at->branches; branch != NULL; branch = branch->next) {
        if (route_piece_compare(&branch->piece, piece) == 0) {
            addition->at = branch;
            addition->piece_index++;
            return true;
        }
    }
    return false;
}

/* Follow the pattern down to where the tree ends. */
static void find_place(struct addition *addition, const struct route_pattern *pattern)
{
    bool has_more = true;
    while (has_more && addition->piece_index < pattern->piece_count) {
        const struct route_piece *piece = &pattern->pieces[addition->piece_index];
        has_more = piece->kind == PIECE_LITERAL ? follow_literal(addition, piece) : follow_branch(addition, piece);
    }
}

/* Make nodes for the pieces that the tree lacks, each linked below the one before. */
static int make_chain(struct addition *addition, const struct route_pattern *pattern)
{
    for (unsigned i = addition->piece_index; i < pattern->piece_count; i++) {
        struct route_piece piece = pattern->pieces[i];
        if (i == addition->piece_index) {
            piece.text += addition->piece_offset;
            piece.len -= addition->piece_offset;
        }
        struct node *node = node_create(&piece);
        if (node == NULL) {
            return -ENOMEM;
        }
        if (addition->last == NULL) {
            addition->first = node;
        } else {
            node_link(addition->last, node);
        }
        addition->last = node;
    }
    return 0;
}

/* Make everything that the addition needs. */
static int make_parts(struct router *router, struct addition *addition, const struct route_pattern *pattern,
                      const struct route *route)
{
    if (router->entry_count == router->entry_capacity) {
        size_t capacity = router->entry_capacity == 0 ? ROUTES_FIRST_CAPACITY : router->entry_capacity * 2;
        struct entry **entries = mem_resize(router->entries, capacity * sizeof(struct entry *));
        if (entries == NULL) {
            return -ENOMEM;
        }
        router->entries = entries;
        router->entry_capacity = capacity;
    }
    addition->entry = entry_create(pattern, route);
    if (addition->entry == NULL) {
        return -ENOMEM;
    }
    struct node *target = addition->at;
    unsigned children = target->child_count;
    if (addition->split != NULL) {
        struct route_piece piece = addition->split->piece;
        piece.len = addition->shared;
        target = addition->upper = node_create(&piece);
        children = 1;
    }
    bool adds_literal = addition->piece_index < pattern->piece_count &&
                        pattern->pieces[addition->piece_index].kind == PIECE_LITERAL;
    if (target == NULL || (adds_literal && node_reserve(target, children + 1) < 0)) {
        return -ENOMEM;
    }
    return make_chain(addition, pattern);
}

static void discard_parts(struct addition *addition)
{
    for (struct node *node = addition->last, *above; node != NULL; node = above) {
        above = node->parent;
        node_free(node);
    }
    node_free(addition->upper);
    mem_free(addition->entry);
}

static void remember_node(struct router *router, struct node *node)
{
    node->made_before = router->last_made;
    router->last_made = node;
}

/* Put upper in split's place, and what is left of split below it. */
static void link_split(struct addition *addition)
{
    struct node *upper = addition->upper;
    struct node *split = addition->split;
    *node_child(addition->at, split->piece.text[0]) = upper;
    upper->parent = addition->at;
    split->piece.text += addition->shared;
    split->piece.len -= addition->shared;
    node_link(upper, split);
    addition->at = upper;
}

/* Make the addition part of the router. */
static void link_parts(struct router *router, struct addition *addition)
{
    if (addition->split != NULL) {
        remember_node(router, addition->upper);
        link_split(addition);
    }
    for (struct node *node = addition->last; node != NULL; node = node->parent) {
        remember_node(router, node);
    }
    if (addition->first != NULL) {
        node_link(addition->at, addition->first);
    }
    struct node *end = addition->last != NULL ? addition->last : addition->at;
    addition->entry->next = end->entries;
    end->entries = addition->entry;
    uint64_t methods = addition->entry->route.methods;
    router->methods |= methods;
    end->methods |= (uint8_t)(methods | ((methods & ~METHODS_ALL) != 0 ? METHOD_BIT(METHOD_OTHER) : 0));
    router->entries[router->entry_count++] = addition->entry;
}

/* A route of the same pattern that has one of the methods already, or NULL. */
static const struct route *find_rival(const struct route *route, const struct node *end)
{
    const struct entry *other = end->entries;
    while (other != NULL && route_methods_common(other->route.methods, route->methods) == 0) {
        other = other->next;
    }
    return other == NULL ? NULL : &other->route;
}

static int refuse_twice(const struct router *router, const struct route *route, const struct route *other, char *err,
                        size_t errlen)
{
    char methods[ROUTE_METHODS_TEXT_MAX];
    router_format_methods(router, route_methods_common(other->methods, route->methods), methods);
    bool is_same_text = strcmp(other->pattern, route->pattern) == 0;
    return error_text(err, errlen, -EEXIST, "%s%sroute %s %s is already registered%s%s%s%s", route->where,
                      route->where[0] == '\0' ? "" : ": ", methods, route->pattern, is_same_text ? "" : " as ",
                      is_same_text ? "" : other->pattern, other->where[0] == '\0' ? "" : " at ", other->where);
}

/* Whether the tree allows the addition. */
static int check_place(const struct router *router, const struct addition *addition,
                       const struct route_pattern *pattern, const struct route *route, char *err, size_t errlen)
{
    if (addition->split != NULL) {
        return 0;
    }
    if (addition->piece_index == pattern->piece_count) {
        const struct route *rival = find_rival(route, addition->at);
        return rival == NULL ? 0 : refuse_twice(router, route, rival, err, errlen);
    }
    enum route_piece_kind kind = pattern->pieces[addition->piece_index].kind;
    if (kind == PIECE_LITERAL || kind == PIECE_REST) {
        return 0;
    }
    unsigned count = 0;
    for (const struct node *branch = addition->at->branches; branch != NULL; branch = branch->next) {
        count += branch->piece.kind == PIECE_REST ? 0 : 1;
    }
    return count < ROUTE_BRANCHES_MAX
               ? 0
               : error_text(err, errlen, -ENOSPC, "%s%sroute %s: more than %d different parameters at one place",
                            route->where, route->where[0] == '\0' ? "" : ": ", route->pattern, ROUTE_BRANCHES_MAX);
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
    struct addition addition = {.at = router->root};
    find_place(&addition, &parsed);
    rv = check_place(router, &addition, &parsed, &route, err, errlen);
    if (rv < 0) {
        return rv;
    }
    rv = make_parts(router, &addition, &parsed, &route);
    if (rv < 0) {
        discard_parts(&addition);
        return error_text(err, errlen, rv, "%s%sroute %s: out of memory", route.where, colon, pattern);
    }
    link_parts(router, &addition);
    return 0;
}

/* A match under way. */
struct walk {
    const char *path;     /* all of it */
    uint32_t len;         /* of path */
    uint32_t pos;         /* bytes consumed by the nodes down to the current one */
    unsigned param_count; /* of them that are parameters */
    struct slice *params; /* their values */
};

/* The route for a method that is not the parser's at a node where the path ends. */
static const struct route *node_other_route(const struct node *node, unsigned method)
{
    uint64_t wanted = METHOD_BIT(method) | METHOD_BIT(METHOD_OTHER);
    const struct entry *entry = node->entries;
    while (entry != NULL && (entry->route.methods & wanted) == 0) {
        entry = entry->next;
    }
    return entry == NULL ? NULL : &entry->route;
}

/* The route at a node where the path ends. HEAD is served by GET. */
static const struct route *node_route(const struct node *node, unsigned method)
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
    const struct entry *entry = node->entries;
    while ((entry->route.methods & wanted) == 0) {
        entry = entry->next;
    }
    return &entry->route;
}

/* All methods at a node, those with names too. */
static uint64_t node_methods(const struct node *node)
{
    uint64_t methods = 0;
    for (const struct entry *entry = node->entries; entry != NULL; entry = entry->next) {
        methods |= entry->route.methods;
    }
    return methods;
}

/* The literal child that the path goes on with, consumed, or NULL. */
static const struct node *walk_literal(struct walk *walk, const struct node *node)
{
    if (walk->pos == walk->len) {
        return NULL;
    }
    struct node *const *child = node_child(node, walk->path[walk->pos]);
    if (child == NULL) {
        return NULL;
    }
    const struct route_piece *piece = &(*child)->piece;
    if (piece->len > walk->len - walk->pos || memcmp(piece->text, walk->path + walk->pos, piece->len) != 0) {
        return NULL;
    }
    walk->pos += piece->len;
    return *child;
}

/* The first of branch and those after it that fits, consumed, or NULL. */
static const struct node *walk_branch(struct walk *walk, const struct node *branch)
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
        uint32_t consumed = piece->kind == PIECE_REST ? left : segment_len;
        if (piece->kind != PIECE_REST) {
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

/* The next node after one below which all was tried, or NULL when all of the tree was. Gives back what node consumed,
 * climbs, and takes the branch after it. */
static const struct node *walk_back(struct walk *walk, const struct node *node)
{
    const struct node *found = NULL;
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
    return router->methods;
}

unsigned router_find_method(const struct router *router, const char *name, size_t len)
{
    return route_methods_find(&router->names, router->methods, name,
                              len); /* a name without a bit: its route was refused */
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
    struct walk walk = {.path = path, .len = (uint32_t)len, .params = match->params};
    const struct node *node = router->root;
    while (node != NULL) {
        if (walk.pos == walk.len && node->methods != 0) {
            match->route = node_route(node, method);
            if (match->route != NULL) {
                return ROUTE_FOUND;
            }
            if (node->methods != 1U << METHOD_OPTIONS) { /* else it answers preflights, perhaps for all paths */
                match->allowed |= node_methods(node) | METHOD_BIT(METHOD_OPTIONS);
            }
        }
        const struct node *next = walk_literal(&walk, node);
        if (next == NULL) {
            next = walk_branch(&walk, node->branches);
        }
        node = next != NULL ? next : walk_back(&walk, node);
    }
    if ((match->allowed & METHOD_BIT(METHOD_GET)) != 0) {
        match->allowed |= METHOD_BIT(METHOD_HEAD);
    }
    return match->allowed == 0 ? ROUTE_NOT_FOUND : ROUTE_NOT_ALLOWED;
}

const struct route *router_route(const struct router *router, size_t n)
{
    return n < router->entry_count ? &router->entries[n]->route : NULL;
}

void router_format_methods(const struct router *router, uint64_t methods, char text[ROUTE_METHODS_TEXT_MAX])
{
    route_methods_format(&router->names, methods, text);
}
