#ifndef EVSERVE_TESTS_FILE_TREE_H
#define EVSERVE_TESTS_FILE_TREE_H

/* For tests: a directory below /tmp, and the usual things to put there. They are made and changed without core/sys.h,
 * so that the fake kernel does not see it. What cannot be made ends the test program. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_tree {
    char path[64]; /* of the directory */
    int fd;        /* of the directory */
};

/* Ends the program with perror(what) if result is negative. */
void tree_must(int result, const char *what);

/* Makes the directory; removes it with all that is in it. */
void tree_make(struct file_tree *tree);
void tree_remove(struct file_tree *tree);

void tree_add_dir(const struct file_tree *tree, const char *name);
void tree_add_link(const struct file_tree *tree, const char *name, const char *target);

/* Make a file, or overwrite the one that is there in place. */
void tree_write(const struct file_tree *tree, const char *name, const void *content, size_t len);
void tree_add_file(const struct file_tree *tree, const char *name, const char *text);

/* A file of len equal bytes. */
void tree_add_filled(const struct file_tree *tree, const char *name, char fill, size_t len);

/* Put another file in the place of the one that is there by renaming, as a careful deployment does. */
void tree_replace_file(const struct file_tree *tree, const char *name, const char *text);
void tree_unlink(const struct file_tree *tree, const char *name);
void tree_set_mtime(const struct file_tree *tree, const char *name, time_t mtime_s, long ns);

#endif
