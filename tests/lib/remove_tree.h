#ifndef EVSERVE_TESTS_REMOVE_TREE_H
#define EVSERVE_TESTS_REMOVE_TREE_H

/* For tests that make a folder of their own: remove it with all that is in it. Links are removed, not followed. */

int remove_tree(const char *path); /* returns 0, or -1 with errno */

#endif
