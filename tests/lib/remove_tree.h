#ifndef EVSERVE_TESTS_REMOVE_TREE_H
#define EVSERVE_TESTS_REMOVE_TREE_H

/* For tests that make a folder of their own: remove it with all that is in it. Links are removed, not followed. */

#include <ftw.h>
#include <stdio.h>

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *place)
{
    (void)st;
    (void)type;
    (void)place;
    return remove(path);
}

static inline int remove_tree(const char *path)
{
    return nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
