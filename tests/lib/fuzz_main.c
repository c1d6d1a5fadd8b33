/* Plays files to a fuzz target in a build without libFuzzer: those named, and all in the folders named. Options
 * (-runs=0) are libFuzzer's, and skipped. A target that finds something aborts, under the name of the file. */

#include "tests/lib/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { INPUT_MAX = 1 << 20 };

static int played;

static void die(const char *path)
{
    perror(path);
    exit(2);
}

static void play_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(INPUT_MAX);
    if (file == NULL || bytes == NULL) {
        die(path);
    }
    size_t len = fread(bytes, 1, INPUT_MAX, file);
    fclose(file);
    uint8_t *input = malloc(len > 0 ? len : 1); /* exactly as long as it is, for the sanitizer */
    if (input == NULL) {
        die(path);
    }
    memcpy(input, bytes, len);
    free(bytes);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(input, len);
    free(input);
    played++;
}

static void play(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        die(path);
    }
    if (!S_ISDIR(st.st_mode)) {
        play_file(path);
        return;
    }
    DIR *dir = opendir(path);
    if (dir == NULL) {
        die(path);
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.') {
            play(name);
        }
    }
    closedir(dir);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            play(argv[i]);
        }
    }
    printf("%d inputs\n", played);
    return played > 0 ? 0 : 1;
}
