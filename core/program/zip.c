/* Failure modes: a record that another program wrote may have what is not supported here, such as compression. */

#include "core/program/zip.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum {
    LOCAL_SIGNATURE = 0x04034b50,
    CENTRAL_SIGNATURE = 0x02014b50,
    END_SIGNATURE = 0x06054b50,
    ZIP_VERSION = 10,          /* needed to extract: 1.0 */
    ZIP_MADE_BY = 3 << 8 | 30, /* Unix, 3.0: the mode counts */
    ZIP_UTF8 = 1 << 11,        /* names are UTF-8 */
    ZIP_DATE = 1 << 5 | 1,     /* 1980-01-01: the same input makes the same archive */
    ZIP_MODE_SHIFT = 16,
};

static const uint32_t zip_mode = 0100644U << ZIP_MODE_SHIFT;

static void zip_put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value & 0xff);
    at[1] = (uint8_t)(value >> 8 & 0xff);
}

static void zip_put32(uint8_t *at, uint32_t value)
{
    zip_put16(at, value & 0xffff);
    zip_put16(at + 2, value >> 16);
}

static uint16_t zip_get16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t zip_get32(const uint8_t *at)
{
    return zip_get16(at) | (uint32_t)zip_get16(at + 2) << 16;
}

/* The fields that the local and the central record have in common, from "version needed" on. */
static void put_common(uint8_t *at, const struct zip_entry *entry)
{
    zip_put16(at, ZIP_VERSION);
    zip_put16(at + 2, ZIP_UTF8);
    zip_put16(at + 8, ZIP_DATE);
    zip_put32(at + 10, entry->crc);
    zip_put32(at + 14, entry->len);
    zip_put32(at + 18, entry->len);
    zip_put16(at + 22, entry->name_len);
}

static int get_common(const uint8_t *at, struct zip_entry *entry)
{
    bool is_stored = zip_get16(at + 4) == 0 && (zip_get16(at + 2) & ~ZIP_UTF8) == 0 &&
                     zip_get32(at + 14) == zip_get32(at + 18);
    *entry = (struct zip_entry){
        .crc = zip_get32(at + 10),
        .len = zip_get32(at + 18),
        .name_len = zip_get16(at + 22),
        .more_len = zip_get16(at + 24),
    };
    return is_stored ? 0 : -EBADMSG;
}

void zip_put_local(uint8_t record[ZIP_LOCAL_BYTES], const struct zip_entry *entry)
{
    memset(record, 0, ZIP_LOCAL_BYTES);
    zip_put32(record, LOCAL_SIGNATURE);
    put_common(record + 4, entry);
}

void zip_put_central(uint8_t record[ZIP_CENTRAL_BYTES], const struct zip_entry *entry)
{
    memset(record, 0, ZIP_CENTRAL_BYTES);
    zip_put32(record, CENTRAL_SIGNATURE);
    zip_put16(record + 4, ZIP_MADE_BY);
    put_common(record + 6, entry);
    zip_put32(record + 38, zip_mode);
    zip_put32(record + 42, entry->offset);
}

void zip_put_end(uint8_t record[ZIP_END_BYTES], const struct zip_end *end)
{
    memset(record, 0, ZIP_END_BYTES);
    zip_put32(record, END_SIGNATURE);
    zip_put16(record + 8, end->count);
    zip_put16(record + 10, end->count);
    zip_put32(record + 12, end->size);
    zip_put32(record + 16, end->offset);
}

int zip_get_local(const uint8_t record[ZIP_LOCAL_BYTES], struct zip_entry *entry)
{
    return zip_get32(record) == LOCAL_SIGNATURE ? get_common(record + 4, entry) : -EBADMSG;
}

int zip_get_central(const uint8_t record[ZIP_CENTRAL_BYTES], struct zip_entry *entry)
{
    int rv = zip_get32(record) == CENTRAL_SIGNATURE ? get_common(record + 6, entry) : -EBADMSG;
    if (rv == 0) {
        entry->offset = zip_get32(record + 42);
        entry->more_len = (uint16_t)(entry->more_len + zip_get16(record + 32)); /* the comment */
    }
    return rv;
}

int zip_get_end(const uint8_t record[ZIP_END_BYTES], struct zip_end *end)
{
    *end = (struct zip_end){.count = zip_get16(record + 10),
                            .size = zip_get32(record + 12),
                            .offset = zip_get32(record + 16)};
    bool is_one = zip_get32(record + 4) == 0 && zip_get16(record + 8) == end->count && zip_get16(record + 20) == 0;
    return zip_get32(record) == END_SIGNATURE && is_one ? 0 : -EBADMSG;
}
