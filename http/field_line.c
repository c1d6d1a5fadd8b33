/* The scanner is in field_line_inline.h. */

#include "http/field_line.h"

#include "http/field_line_inline.h"

enum field_line_verdict field_line_scan(struct field_line *line, const char *data, size_t len, struct field *field)
{
    return scan_field_line(line, data, len, field);
}
