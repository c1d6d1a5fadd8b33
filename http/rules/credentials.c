#include "http/rules/credentials.h"

#include "core/ascii.h"
#include "core/base64.h"

#include <string.h>

/* The base64 behind the name of the scheme, or NULL. */
static const char *skip_scheme(const char *value, size_t *len)
{
    static const char scheme[] = "Basic ";
    size_t at = sizeof scheme - 1;
    if (*len <= at || !ascii_equals(value, scheme, at)) {
        return NULL;
    }
    while (at < *len && value[at] == ' ') {
        at++;
    }
    *len -= at;
    return value + at;
}

static bool has_control_byte(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == '\x7f') {
            return true;
        }
    }
    return false;
}

bool credentials_read(struct credentials *credentials, const char *value, size_t len)
{
    const char *encoded = skip_scheme(value, &len);
    if (encoded == NULL || base64_decoded_room(len) > sizeof credentials->text - 1) {
        return false;
    }
    ssize_t got = base64_decode(encoded, len, false, credentials->text);
    char *colon = got <= 0 || got > CREDENTIALS_MAX ? NULL : memchr(credentials->text, ':', (size_t)got);
    if (colon == NULL || colon == credentials->text || has_control_byte(credentials->text, (size_t)got)) {
        credentials_wipe(credentials);
        return false;
    }
    *colon = '\0';
    credentials->text[got] = '\0';
    credentials->name = credentials->text;
    credentials->name_len = (size_t)(colon - credentials->text);
    credentials->password = colon + 1;
    credentials->password_len = (size_t)got - credentials->name_len - 1;
    return true;
}

void credentials_copy(struct credentials *copy, const struct credentials *credentials)
{
    *copy = *credentials;
    copy->name = copy->text;
    copy->password = copy->text + credentials->name_len + 1;
}

void credentials_wipe(struct credentials *credentials)
{
    explicit_bzero(credentials->text, sizeof credentials->text);
}
