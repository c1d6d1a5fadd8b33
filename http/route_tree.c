/* How the tree grows: route_tree_add() follows a pattern as far as the tree has it, makes the missing nodes in a struct
 * addition, and links them when nothing can fail any more.
 *
 * Failure modes: a method that is taken, too many parameters at one place, memory. Then the tree is as it was. */

#include "http/route_tree.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <stdio.h>

enum { ROUTES_FIRST_CAPACITY = 16 };

/* What one route_tree_add() makes. */
struct addition {
    struct route_node *at;     /* the deepest node that the pattern shares */
    struct route_node *split;  /* literal child of at whose piece it shares in part, or NULL */
    uint32_t shared;           /* bytes of split's piece that it shares */
    unsigned piece_index;      /* first piece, or part of one, that the tree lacks */
    uint32_t piece_offset;     /* bytes of it that the tree has */
    struct route_node *upper;  /* new, for split: its shared part */
    struct route_node *first;  /* new: top of the chain for the pieces that the tree lacks, or NULL */
    struct route_node *last;   /* new: its end, or NULL */
    struct route_entry *entry; /* new */
};

/* Nodes. */

/* A node that consumes a copy of piece, whose type and text follow it in one block. */
static struct route_node *node_create(const struct route_piece *piece)
{
    size_t type_size = piece->type == NULL ? 0 : sizeof *piece->type;
    struct route_node *node = mem_zalloc(sizeof *node + type_size + piece->len);
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

static void node_free(struct route_node *node)
{
    if (node != NULL && node->children != &node->only_child) {
        mem_free(node->children);
    }
    mem_free(node);
}

/* Make room for count literal children, at most twice as many as there was room for. On failure, and for a reader of
 * the node, nothing has changed. */
static int node_reserve(struct route_node *node, unsigned count)
{
    if (count <= node->child_capacity) {
        return 0;
    }
    uint16_t capacity = (uint16_t)(node->child_capacity * 2);
    struct route_node **children = mem_alloc(capacity * (sizeof(struct route_node *) + 1));
    if (children == NULL) {
        return -ENOMEM;
    }
    char *first_bytes = (char *)(children + capacity);
    memcpy(children, node->children, node->child_count * sizeof(struct route_node *));
    memcpy(first_bytes, node->first_bytes, node->child_count);
    if (node->children != &node->only_child) {
        mem_free(node->children);
    }
    node->children = children;
    node->first_bytes = first_bytes;
    node->child_capacity = capacity;
    return 0;
}

/* Hang child below node. A literal needs room there: every node has room for one, node_reserve() makes more. */
static void node_link(struct route_node *node, struct route_node *child)
{
    child->parent = node;
    if (child->piece.kind == PIECE_LITERAL) {
        node->first_bytes[node->child_count] = child->piece.text[0];
        node->children[node->child_count++] = child;
        return;
    }
    struct route_node **place = &node->branches;
    while (*place != NULL && route_piece_compare(&(*place)->piece, &child->piece) < 0) {
        place = &(*place)->next;
    }
    child->next = *place;
    *place = child;
}

/* Entries. */

/* Copy len bytes and a NUL to *to, which moves on. Returns the copy. */
static const char *put_copy(char **to, const char *text, size_t len)
{
    char *copy = *to;
    memcpy(copy, text, len);
    copy[len] = '\0';
    *to = copy + len + 1;
    return copy;
}

static struct route_entry *entry_create(const struct route_pattern *pattern, const struct route *route)
{
    size_t pattern_len = strlen(route->pattern);
    size_t where_len = strlen(route->where);
    size_t size = sizeof(struct route_entry) + pattern_len + where_len + 2;
    for (unsigned i = 0; i < pattern->name_count; i++) {
        size += pattern->names[i].len + 1;
    }
    struct route_entry *entry = mem_zalloc(size);
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

/* Go down to the literal child that shares bytes with the rest of a literal piece. Returns false where the tree
 * ends. */
static bool follow_literal(struct addition *addition, const struct route_piece *piece)
{
    const char *text = piece->text + addition->piece_offset;
    struct route_node **child = route_node_child(addition->at, *text);
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

/* Go down to the branch that is the same as piece. Returns false where the tree ends. */
static bool follow_branch(struct addition *addition, const struct route_piece *piece)
{
    for (struct route_node *branch = addition->at->branches; branch != NULL; branch = branch->next) {
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
        struct route_node *node = node_create(&piece);
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
static int make_parts(struct route_tree *tree, struct addition *addition, const struct route_pattern *pattern,
                      const struct route *route)
{
    if (tree->entry_count == tree->entry_capacity) {
        size_t capacity = tree->entry_capacity == 0 ? ROUTES_FIRST_CAPACITY : tree->entry_capacity * 2;
        struct route_entry **entries = mem_resize(tree->entries, capacity * sizeof(struct route_entry *));
        if (entries == NULL) {
            return -ENOMEM;
        }
        tree->entries = entries;
        tree->entry_capacity = capacity;
    }
    addition->entry = entry_create(pattern, route);
    if (addition->entry == NULL) {
        return -ENOMEM;
    }
    struct route_node *target = addition->at;
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
    for (struct route_node *node = addition->last, *above; node != NULL; node = above) {
        above = node->parent;
        node_free(node);
    }
    node_free(addition->upper);
    mem_free(addition->entry);
}

static void remember_node(struct route_tree *tree, struct route_node *node)
{
    node->made_before = tree->last_made;
    tree->last_made = node;
}

/* Put upper in the place of split, and the rest of split below it. */
static void link_split(struct addition *addition)
{
    struct route_node *upper = addition->upper;
    struct route_node *split = addition->split;
    *route_node_child(addition->at, split->piece.text[0]) = upper;
    upper->parent = addition->at;
    split->piece.text += addition->shared;
    split->piece.len -= addition->shared;
    node_link(upper, split);
    addition->at = upper;
}

/* Make the addition part of the tree. */
static void link_parts(struct route_tree *tree, struct addition *addition)
{
    if (addition->split != NULL) {
        remember_node(tree, addition->upper);
        link_split(addition);
    }
    for (struct route_node *node = addition->last; node != NULL; node = node->parent) {
        remember_node(tree, node);
    }
    if (addition->first != NULL) {
        node_link(addition->at, addition->first);
    }
    struct route_node *end = addition->last != NULL ? addition->last : addition->at;
    addition->entry->next = end->entries;
    end->entries = addition->entry;
    uint64_t methods = addition->entry->route.methods;
    tree->methods |= methods;
    end->methods |= (uint8_t)(methods | ((methods & ~METHODS_ALL) != 0 ? METHOD_BIT(METHOD_OTHER) : 0));
    tree->entries[tree->entry_count++] = addition->entry;
}

/* A route of the same pattern that already has one of the methods, or NULL. */
static const struct route *find_rival(const struct route *route, const struct route_node *end)
{
    const struct route_entry *other = end->entries;
    while (other != NULL && route_methods_common(other->route.methods, route->methods) == 0) {
        other = other->next;
    }
    return other == NULL ? NULL : &other->route;
}

static int refuse_twice(const struct route_tree *tree, const struct route *route, const struct route *other, char *err,
                        size_t errlen)
{
    char methods[ROUTE_METHODS_TEXT_MAX];
    route_methods_format(tree->names, route_methods_common(other->methods, route->methods), methods);
    bool is_same_text = strcmp(other->pattern, route->pattern) == 0;
    return error_text(err, errlen, -EEXIST, "%s%sroute %s %s is already registered%s%s%s%s", route->where,
                      route->where[0] == '\0' ? "" : ": ", methods, route->pattern, is_same_text ? "" : " as ",
                      is_same_text ? "" : other->pattern, other->where[0] == '\0' ? "" : " at ", other->where);
}

/* Whether the tree allows the addition. */
static int check_place(const struct route_tree *tree, const struct addition *addition,
                       const struct route_pattern *pattern, const struct route *route, char *err, size_t errlen)
{
    if (addition->split != NULL) {
        return 0;
    }
    if (addition->piece_index == pattern->piece_count) {
        const struct route *rival = find_rival(route, addition->at);
        return rival == NULL ? 0 : refuse_twice(tree, route, rival, err, errlen);
    }
    enum route_piece_kind kind = pattern->pieces[addition->piece_index].kind;
    if (kind == PIECE_LITERAL || kind == PIECE_REST) {
        return 0;
    }
    unsigned count = 0;
    for (const struct route_node *branch = addition->at->branches; branch != NULL; branch = branch->next) {
        count += branch->piece.kind == PIECE_REST ? 0 : 1;
    }
    return count < ROUTE_BRANCHES_MAX
               ? 0
               : error_text(err, errlen, -ENOSPC, "%s%sroute %s: more than %d different parameters at one place",
                            route->where, route->where[0] == '\0' ? "" : ": ", route->pattern, ROUTE_BRANCHES_MAX);
}

int route_tree_add(struct route_tree *tree, const struct route_pattern *pattern, const struct route *route, char *err,
                   size_t errlen)
{
    struct addition addition = {.at = tree->root};
    find_place(&addition, pattern);
    int rv = check_place(tree, &addition, pattern, route, err, errlen);
    if (rv < 0) {
        return rv;
    }
    rv = make_parts(tree, &addition, pattern, route);
    if (rv < 0) {
        discard_parts(&addition);
        return error_text(err, errlen, rv, "%s%sroute %s: out of memory", route->where,
                          route->where[0] == '\0' ? "" : ": ", route->pattern);
    }
    link_parts(tree, &addition);
    return 0;
}

int route_tree_init(struct route_tree *tree, const struct route_methods *names)
{
    *tree = (struct route_tree){.names = names};
    tree->root = node_create(&(struct route_piece){.kind = PIECE_LITERAL, .text = ""});
    tree->last_made = tree->root;
    return tree->root == NULL ? -ENOMEM : 0;
}

void route_tree_done(struct route_tree *tree)
{
    for (struct route_node *node = tree->last_made, *before; node != NULL; node = before) {
        before = node->made_before;
        node_free(node);
    }
    for (size_t i = 0; i < tree->entry_count; i++) {
        mem_free(tree->entries[i]);
    }
    mem_free(tree->entries);
}
