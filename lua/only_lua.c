/* Two Luas in one process.
 *
 * What we can see: to which file the address of a function belongs (dladdr(3)), and in which order the dynamic linker
 * looks at the files (dl_iterate_phdr(3)). luaJIT_setmode() is in LuaJIT alone, so it is the measure; lua_ident is a
 * text in every Lua of lua.org and not in LuaJIT.
 *
 *   a host linked with -levserve -llua5.4     our calls reach Lua 5.4: LuaJIT comes last, as a need of ours
 *   libevserve.a -lluajit-5.1 -llua5.4        the host's calls reach LuaJIT
 *   dlopen(libevserve.so, RTLD_DEEPBIND)      each has its own, although the other one comes first
 *
 * What we cannot: a Lua that is loaded later, or whose names nobody else sees (RTLD_LOCAL).
 *
 * With EVSERVE_LUAJIT_PRIVATE our LuaJIT is inside the library, and its names are local. */

#include "lua/only_lua.h"

#include "core/log.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <lauxlib.h>
#include <link.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef EVSERVE_LUAJIT_PRIVATE

#define TO_ITSELF "this evserve keeps its LuaJIT to itself (EVSERVE_LUAJIT_PRIVATE)"

int only_lua_check(const char *path, bool has_init, char *err, size_t errlen)
{
    return !has_init
               ? 0
               : error_text(err, errlen, -ENOTSUP,
                            "%s: " TO_ITSELF ", so the host has no functions for the Lua state of lua_init", path);
}

/* package.loadlib(), as it is on systems without dynamic libraries. */
static int load_no_library(lua_State *L)
{
    lua_pushnil(L);
    lua_pushliteral(L, TO_ITSELF ", so modules in C cannot be loaded");
    lua_pushliteral(L, "absent");
    return 3;
}

/* In place of the loaders of modules in C: the line that require adds to its error. */
static int find_no_library(lua_State *L)
{
    lua_pushliteral(L, "\n\tno module in C: " TO_ITSELF);
    return 1;
}

void only_lua_limit(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_pushcfunction(L, load_no_library);
    lua_setfield(L, -2, "loadlib");
    lua_getfield(L, -1, "loaders");
    lua_pushcfunction(L, find_no_library);
    lua_rawseti(L, -2, 3);
    lua_pushnil(L);
    lua_rawseti(L, -2, 4);
    lua_pop(L, 2);
}

#else

typedef void any_fn(void);

/* From different files of Lua, with the same name in each from 5.1 on: an archive gives a program one file, and not
 * another one that it does not need. */
static any_fn *const probes[] = {
    (any_fn *)lua_newthread,     (any_fn *)lua_settop,  (any_fn *)lua_pushlstring, (any_fn *)lua_error,
    (any_fn *)luaL_checklstring, (any_fn *)luaL_ref,    (any_fn *)luaL_openlibs,   (any_fn *)lua_gc,
    (any_fn *)luaL_loadbufferx,  (any_fn *)lua_sethook,
};

/* The file that an address belongs to. False when that cannot be told. */
static bool find_owner(const void *address, Dl_info *file)
{
#ifdef __GLIBC__
    /* A program that is not position-independent lends its own stub for a function whose address it takes. */
    ElfW(Sym) *symbol = NULL;
    if (dladdr1(address, file, (void **)&symbol, RTLD_DL_SYMENT) == 0) {
        return false;
    }
    return symbol == NULL || symbol->st_shndx != SHN_UNDEF;
#else
    return dladdr(address, file) != 0;
#endif
}

static const char *name_file(const Dl_info *file)
{
    return file->dli_fname == NULL || *file->dli_fname == '\0' ? "the program itself" : file->dli_fname;
}

struct symbol_order {
    uintptr_t address; /* looked for */
    int position;      /* of the file that has it; else how many were looked at */
};

static int look_into_file(struct dl_phdr_info *file, size_t size, void *arg)
{
    (void)size;
    struct symbol_order *order = arg;
    for (int i = 0; i < file->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &file->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && order->address - file->dlpi_addr - part->p_vaddr < part->p_memsz) {
            return 1;
        }
    }
    order->position++;
    return 0;
}

/* When the dynamic linker looks into the file that has address: 0 is the program. */
static int find_position(const void *address)
{
    struct symbol_order order = {.address = (uintptr_t)address};
    dl_iterate_phdr(look_into_file, &order);
    return order.position;
}

static int refuse_two(const char *path, const Dl_info *luajit, const Dl_info *other, const char *what, char *err,
                      size_t errlen)
{
    return error_text(
        err, errlen, -ENOTSUP,
        "%s: two Luas in one program: %s (%s, and LuaJIT in %s). Link LuaJIT alone, or build evserve with "
        "EVSERVE_LUAJIT_PRIVATE=ON, which keeps its LuaJIT to itself",
        path, what, name_file(other), name_file(luajit));
}

int only_lua_check(const char *path, bool has_init, char *err, size_t errlen)
{
    (void)has_init;
    const void *measure = (const void *)(uintptr_t)luaJIT_setmode;
    Dl_info luajit, other;
    if (!find_owner(measure, &luajit)) {
        return 0;
    }
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        if (find_owner((const void *)(uintptr_t)probes[i], &other) && other.dli_fbase != luajit.dli_fbase) {
            return refuse_two(path, &luajit, &other, "calls meant for LuaJIT reach another one", err, errlen);
        }
    }
    const void *ident = dlsym(RTLD_DEFAULT, "lua_ident");
    if (ident != NULL && find_owner(ident, &other) && other.dli_fbase != luajit.dli_fbase &&
        find_position(ident) > find_position(measure)) {
        return refuse_two(path, &luajit, &other, "calls meant for another one reach LuaJIT", err, errlen);
    }
    return 0;
}

void only_lua_limit(lua_State *L)
{
    (void)L;
}

#endif
