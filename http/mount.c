/* The fields of a mount. No failure modes. */

#include "http/mount.h"

#include "core/ascii.h"
#include "http/response.h"

#include <string.h>

void mount_add_fields(struct exchange *exchange, const struct mount *mount)
{
    bool has_caching = response_has_caching(exchange);
    for (size_t i = 0; mount != NULL && i < mount->settings->header_count; i++) {
        const struct static_field *field = &mount->settings->headers[i];
        size_t name_len = strlen(field->name);
        if (has_caching && ascii_is(field->name, name_len, "Cache-Control")) {
            continue; /* the handler's stays, as in responses with a file */
        }
        if (response_is_single_field(field->name, name_len)) { /* the mount's replaces it, again as with a file */
            response_set_field(exchange, field->name, name_len, field->value, strlen(field->value));
        } else {
            response_add_field(exchange, field->name, name_len, field->value, strlen(field->value));
        }
    }
}
