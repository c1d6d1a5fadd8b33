#ifndef EVSERVE_CORE_PROGRAM_ZIP_H
#define EVSERVE_CORE_PROGRAM_ZIP_H

/* The records of a ZIP archive (APPNOTE.TXT of PKWARE) with stored, uncompressed files. Numbers are little-endian.
 * Offsets count from the beginning of the file, also if something else comes before the archive. */

#include <stddef.h>
#include <stdint.h>

enum {
    ZIP_LOCAL_BYTES = 30,   /* record before the name and the content of each file */
    ZIP_CENTRAL_BYTES = 46, /* record before the name of each file in the directory at the end */
    ZIP_END_BYTES = 22,     /* record at the very end */
    ZIP_FILES_MAX = 65534,  /* 65535 means that the number is elsewhere */
    ZIP_NAME_MAX = 1023,    /* bytes of a name, here */
};

/* What the records say of a file. */
struct zip_entry {
    uint32_t crc;      /* CRC-32 of the content */
    uint32_t len;      /* bytes of the content */
    uint32_t offset;   /* of its local record */
    uint16_t name_len; /* bytes of its name, which follows the record */
    uint16_t more_len; /* bytes of other data behind the name */
};

/* Write a record. */
void zip_put_local(uint8_t record[ZIP_LOCAL_BYTES], const struct zip_entry *entry);
void zip_put_central(uint8_t record[ZIP_CENTRAL_BYTES], const struct zip_entry *entry);

/* What the last record says of the directory: count records of size bytes in total, from offset on. */
struct zip_end {
    uint32_t offset, size;
    uint16_t count;
};

void zip_put_end(uint8_t record[ZIP_END_BYTES], const struct zip_end *end);

/* Read a record. Returns 0, or -EBADMSG if it is not such a record, of a stored file. offset of a local record is 0. */
int zip_get_local(const uint8_t record[ZIP_LOCAL_BYTES], struct zip_entry *entry);
int zip_get_central(const uint8_t record[ZIP_CENTRAL_BYTES], struct zip_entry *entry);
int zip_get_end(const uint8_t record[ZIP_END_BYTES], struct zip_end *end);

#endif
