/* Failure modes: what http/error_pages.c finds wrong raises an error that begins with the file and line of the script.
 * Nothing here is owned, so an error has nothing to free. */

#include "lua/bind_pages.h"

#include "http/error_pages.h"
#include "http/site.h"
#include "lua/bind_host.h"
#include "lua/script_error.h"

#include <errno.h>

/* Arguments of error_page(). */
enum { PAGE_HOST = 1, PAGE_WHAT, PAGE_STATUSES, PAGE_FILE, PAGE_FOR_PROXIED };

/* error_page(host, what, statuses, file, for_proxied) */
static int add_error_page(lua_State *L)
{
    const struct script *script = script_of(L);
    const char *what = luaL_checkstring(L, PAGE_WHAT);
    char err[SCRIPT_TEXT_MAX];
    script_check_loading(L, what);
    const char *statuses = script_check_text(L, PAGE_STATUSES, what);
    const char *file = script_check_text(L, PAGE_FILE, what);
    struct vhost *host = host_check(L, PAGE_HOST);
    int rv = error_pages_add(&host->error_pages, script->site->cache, script->base_fd, statuses, file,
                             lua_toboolean(L, PAGE_FOR_PROXIED) != 0, err, sizeof err);
    if (rv == -ENOMEM) {
        script_raise_memory(L);
    }
    if (rv < 0) {
        script_raise(L, "%s: %s", what, err);
    }
    return 0;
}

void bind_pages(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"error_page", add_error_page},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
