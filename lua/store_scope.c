#include "lua/store_scope.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/store.h"

#include <errno.h>
#include <string.h>

void store_scope_init(struct store_scope *scope, struct stores *stores,
                      void (*raise)(lua_State *L, const char *format, ...))
{
    *scope = (struct store_scope){.stores = stores == NULL ? NULL : stores_hold(stores),
                                  .rules.array_meta = LUA_NOREF,
                                  .raise = raise};
    write_buffer_init(&scope->text);
}

void store_scope_done(struct store_scope *scope)
{
    for (uint32_t i = 0; i < scope->use_count; i++) {
        stores_put(scope->stores, scope->uses[i]->store);
        mem_free(scope->uses[i]);
    }
    mem_free(scope->uses);
    stores_release(scope->stores);
    write_buffer_done(&scope->text);
}

/* The same store under the same index; a size may be given once. */
static int use_again(struct store_use *use, uint64_t size, int index, char *err, size_t errlen)
{
    if (size != 0 && use->size != 0 && size != use->size) {
        return error_text(err, errlen, -EINVAL,
                          "%s: the script has given it %llu bytes before, and now %llu: give the size once", use->name,
                          (unsigned long long)use->size, (unsigned long long)size);
    }
    use->size = size == 0 ? use->size : size;
    return index;
}

int store_scope_open(struct store_scope *scope, const char *name, uint64_t size, char *err, size_t errlen)
{
    for (uint32_t i = 0; i < scope->use_count; i++) {
        if (strcmp(scope->uses[i]->name, name) == 0) {
            return use_again(scope->uses[i], size, (int)i, err, errlen);
        }
    }
    if (scope->stores == NULL && stores_create(&scope->stores) < 0) {
        return error_text(err, errlen, -ENOMEM, "%s: %s", name, errno_text(ENOMEM));
    }
    struct store_use **uses = mem_resize(scope->uses, (scope->use_count + 1) * sizeof(struct store_use *));
    scope->uses = uses == NULL ? scope->uses : uses;
    struct store_use *use = uses == NULL ? NULL : mem_zalloc(sizeof *use);
    if (use == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s: %s", name, errno_text(ENOMEM));
    }
    int rv = stores_get(scope->stores, name, size, &use->store, err, errlen);
    if (rv < 0) {
        mem_free(use);
        return rv;
    }
    use->size = size;
    strcpy(use->name, name); /* stores_get() has checked its length */
    uses[scope->use_count] = use;
    return (int)scope->use_count++;
}

void store_scope_settle(const struct store_scope *scope, const struct log *log)
{
    for (uint32_t i = 0; i < scope->use_count; i++) {
        const struct store_use *use = scope->uses[i];
        uint64_t size = store_size(use->store);
        if (use->size != 0 && use->size != size && store_resize(use->store, use->size) < 0) {
            log_write(log, LOG_WARN, "the store %s stays at %llu bytes, since there is no memory for %llu", use->name,
                      (unsigned long long)size, (unsigned long long)use->size);
        }
    }
}
