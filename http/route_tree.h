#ifndef EVSERVE_HTTP_ROUTE_TREE_H
#define EVSERVE_HTTP_ROUTE_TREE_H

/* The inside of the router: the tree that router_match() walks. A node stands for a beginning of patterns: its parent's
 * and then its own piece. Below a node hang literal children, found by their first byte, and branches: parameters and
 * at most one rest, in a list ordered by precedence. The routes of all patterns that end here hang on the node, their
 * methods disjoint. For http/router.c alone. */

#include "http/route.h"
#include "http/route_methods.h"
#include "http/route_pattern.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A registered route, and after it its texts. */
struct route_entry {
    struct route route;       /* what callers see */
    struct route_entry *next; /* of the same pattern, with other methods */
    char texts[];             /* pattern, where and names, each with its NUL */
};

/* What a match looks at comes first, close together. A node never moves. */
struct route_node {
    struct route_piece piece;    /* consumed on the way from the parent; empty literal at the root */
    struct route_node *branches; /* first of the parameters and the rest */
    struct route_node *
        *children;           /* literal children, in no order: &only_child, or a block with first_bytes after them */
    char *first_bytes;       /* child_count of them: what each child's piece begins with */
    uint16_t child_count;    /* literal children, at most 256 */
    uint16_t child_capacity; /* of children and first_bytes */
    uint8_t methods;         /* of all entries; those with a name of their own are METHOD_OTHER here */
    char only_byte;          /* first_bytes while there is room for one */
    struct route_node *only_child;  /* children while there is room for one */
    struct route_node *next;        /* the parent's branch to try after this one */
    struct route_node *parent;      /* NULL at the root */
    struct route_entry *entries;    /* routes whose pattern ends here */
    struct route_node *made_before; /* the router's list of all nodes */
};

_Static_assert(METHOD_COUNT <= 8, "a node keeps a set of methods in one byte");

struct route_tree {
    const struct route_methods *names; /* borrowed: those that routes gave to methods, for error texts */
    struct route_node *root;           /* consumes nothing */
    struct route_node *last_made;      /* every node but those of a failed addition */
    struct route_entry **entries;      /* in the order of registration */
    size_t entry_count;                /* of entries */
    size_t entry_capacity;             /* of entries */
    uint64_t methods;                  /* of all entries */
};

/* An empty tree. names must outlive it. Returns 0, or -ENOMEM with nothing to free. */
int route_tree_init(struct route_tree *tree, const struct route_methods *names);
void route_tree_done(struct route_tree *tree);

/* Add a route; its pattern is route->pattern parsed, and both are copied. Returns 0, or as router_add() -ENOSPC,
 * -EEXIST or -ENOMEM with the tree as it was and a text. */
int route_tree_add(struct route_tree *tree, const struct route_pattern *pattern, const struct route *route, char *err,
                   size_t errlen);

/* The place of the literal child that begins with byte, or NULL. */
static inline struct route_node **route_node_child(const struct route_node *node, char byte)
{
    enum { FEW = 4 }; /* up to here a loop takes less than a call */
    unsigned count = node->child_count;
    if (count <= FEW) {
        for (unsigned i = 0; i < count; i++) {
            if (node->first_bytes[i] == byte) {
                return &node->children[i];
            }
        }
        return NULL;
    }
    const char *found = memchr(node->first_bytes, byte, count);
    return found == NULL ? NULL : &node->children[found - node->first_bytes];
}

#endif
