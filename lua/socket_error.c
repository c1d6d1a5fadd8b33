#include "lua/socket_error.h"

#include "core/ascii.h"
#include "core/log.h"

#include <stdio.h>

void socket_push_error(lua_State *L, int error)
{
    char text[128];
    snprintf(text, sizeof text, "%s", errno_text(-error));
    for (char *at = text; *at != '\0'; at++) {
        *at = ascii_lower(*at);
    }
    lua_pushstring(L, text);
}
