/* The fields of a mount. No failure modes. */

#include "http/mount.h"

#include "http/response.h"

#include <string.h>

void mount_add_fields(struct exchange *exchange, const struct mount *mount)
{
    for (size_t i = 0; mount != NULL && i < mount->settings->header_count; i++) {
        const struct static_field *field = &mount->settings->headers[i];
        size_t name_len = strlen(field->name);
        if (response_is_single_field(field->name,
                                     name_len)) { /* the mount's replaces it, as in responses with a file */
            response_set_field(exchange, field->name, name_len, field->value, strlen(field->value));
        } else {
            response_add_field(exchange, field->name, name_len, field->value, strlen(field->value));
        }
    }
}
