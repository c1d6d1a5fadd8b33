/* core/program/archive.c and zip.c: what a program has inside is read as it was written, or not at all. */

#include "core/program/archive.h"

#include "core/crc32.h"
#include "core/program/zip.h"
#include "evserve.h"

#include <errno.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum { FILE_MAX = 4096 };

static const struct {
    const char *path, *content;
} inside[] = {{ARCHIVE_MARK, "site.lua"}, {"public/a", "content"}, {"public/empty", ""}, {"site.lua", "return"}};

static char path[32]; /* of a file in memory */
static int image_fd;
static uint8_t image[FILE_MAX]; /* of a program with an archive, image_len bytes */
static size_t image_len, program_len;

static void append(const void *bytes, size_t len)
{
    assert_true(image_len + len <= sizeof image);
    memcpy(image + image_len, bytes, len);
    image_len += len;
}

static void make_image(void)
{
    uint8_t record[ZIP_CENTRAL_BYTES];
    struct zip_entry entries[COUNT(inside)];
    ElfW(Ehdr) head = {.e_ident = ELFMAG, .e_shoff = sizeof head};
    image_len = 0;
    append(&head, sizeof head);
    program_len = image_len;
    for (size_t i = 0; i < COUNT(inside); i++) {
        size_t len = strlen(inside[i].content);
        entries[i] = (struct zip_entry){.crc = crc32_of(inside[i].content, len),
                                        .len = (uint32_t)len,
                                        .offset = (uint32_t)image_len,
                                        .name_len = (uint16_t)strlen(inside[i].path)};
        zip_put_local(record, &entries[i]);
        append(record, ZIP_LOCAL_BYTES);
        append(inside[i].path, entries[i].name_len);
        append(inside[i].content, len);
    }
    struct zip_end end = {.offset = (uint32_t)image_len, .count = COUNT(inside)};
    for (size_t i = 0; i < COUNT(inside); i++) {
        zip_put_central(record, &entries[i]);
        append(record, ZIP_CENTRAL_BYTES);
        append(inside[i].path, entries[i].name_len);
    }
    end.size = (uint32_t)(image_len - end.offset);
    zip_put_end(record, &end);
    append(record, ZIP_END_BYTES);
}

static void write_image(const uint8_t *bytes, size_t len)
{
    assert_int_equal(ftruncate(image_fd, (off_t)len), 0);
    assert_int_equal(pwrite(image_fd, bytes, len, 0), (ssize_t)len);
}

static int set_up(void **state)
{
    (void)state;
    image_fd = memfd_create("image", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", image_fd);
    make_image();
    return image_fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    return close(image_fd);
}

static void assert_whole(const struct archive *archive)
{
    assert_string_equal(archive->script, "site.lua");
    for (size_t i = 1; i < COUNT(inside); i++) {
        const struct evs_asset *file = &archive->files[i - 1];
        assert_string_equal(file->path, inside[i].path);
        assert_int_equal(file->len, strlen(inside[i].content));
        assert_memory_equal(file->content, inside[i].content, file->len);
    }
    assert_null(archive->files[COUNT(inside) - 1].path);
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    struct archive archive;
    char err[EVSERVE_ERROR_MAX];
    write_image(image, image_len);
    assert_int_equal(archive_open(&archive, path, err, sizeof err), 0);
    assert_whole(&archive);
    archive_close(&archive);
}

static void a_program_without_files_has_no_archive(void **state)
{
    (void)state;
    struct archive archive;
    char err[EVSERVE_ERROR_MAX];
    write_image(image, program_len);
    assert_int_equal(archive_open(&archive, path, err, sizeof err), -ENOENT);
    write_image((const uint8_t *)"#!/bin/sh\n", 10);
    assert_int_equal(archive_open(&archive, path, err, sizeof err), -ENOENT);
    assert_int_equal(archive_open(&archive, "/nothing/there", err, sizeof err), -ENOENT);
    archive_close(&archive);
    uint8_t other[FILE_MAX];
    memcpy(other, image, program_len);
    memset(other + program_len, 'x', 100); /* such as a signature */
    write_image(other, program_len + 100);
    assert_int_equal(archive_open(&archive, path, err, sizeof err), -ENOENT);
}

/* Behind the mark each length is an error that says so. */
static void a_file_that_was_cut_off_is_refused(void **state)
{
    (void)state;
    struct archive archive;
    for (size_t len = program_len + ZIP_LOCAL_BYTES + strlen(ARCHIVE_MARK); len < image_len; len++) {
        char err[EVSERVE_ERROR_MAX] = "";
        write_image(image, len);
        assert_int_equal(archive_open(&archive, path, err, sizeof err), -EBADMSG);
        assert_non_null(strstr(err, "damaged or cut off"));
    }
}

/* Whatever byte is different: either that does not matter, as in a date, or the archive is refused. */
static void every_changed_byte_is_noticed_or_does_not_matter(void **state)
{
    (void)state;
    static const uint8_t masks[] = {0x01, 0xff};
    struct archive archive;
    char err[EVSERVE_ERROR_MAX];
    unsigned refused = 0;
    for (size_t i = program_len; i < image_len; i++) {
        for (size_t m = 0; m < COUNT(masks); m++) {
            image[i] ^= masks[m];
            write_image(image, image_len);
            image[i] ^= masks[m];
            int rv = archive_open(&archive, path, err, sizeof err);
            if (rv == 0) {
                assert_whole(&archive);
            }
            archive_close(&archive);
            refused += rv < 0 ? 1 : 0;
        }
    }
    assert_true(refused > (image_len - program_len) * COUNT(masks) / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(a_program_without_files_has_no_archive),
        cmocka_unit_test(a_file_that_was_cut_off_is_refused),
        cmocka_unit_test(every_changed_byte_is_noticed_or_does_not_matter),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
