#include "core/stores.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

struct named_store {
    struct store *store; /* NULL: the place is free */
    unsigned keepers;
    char name[STORE_NAME_MAX + 1];
};

struct stores {
    atomic_uint refs;
    pthread_mutex_t lock; /* of the places */
    struct named_store places[STORES_MAX];
};

int stores_create(struct stores **stores)
{
    struct stores *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    atomic_init(&made->refs, 1);
    pthread_mutex_init(&made->lock, NULL);
    *stores = made;
    return 0;
}

struct stores *stores_hold(struct stores *stores)
{
    atomic_fetch_add_explicit(&stores->refs, 1, memory_order_relaxed);
    return stores;
}

void stores_release(struct stores *stores)
{
    if (stores != NULL && atomic_fetch_sub_explicit(&stores->refs, 1, memory_order_acq_rel) == 1) {
        pthread_mutex_destroy(&stores->lock);
        mem_free(stores);
    }
}

static int check_store_name(const char *name, char *err, size_t errlen)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:";
    size_t len = strlen(name);
    return len > 0 && len <= STORE_NAME_MAX && strspn(name, letters) == len
               ? 0
               : error_text(err, errlen, -EINVAL,
                            "the name \"%.100s\" must be 1 to %d letters, digits and '_', '-', '.', ':'", name,
                            (int)STORE_NAME_MAX);
}

static int check_store_size(const char *name, uint64_t size, char *err, size_t errlen)
{
    unsigned long long most = STORE_SIZE_MAX;
    return size == 0 || (size >= STORE_SIZE_LEAST && size <= most)
               ? 0
               : error_text(err, errlen, -EINVAL, "%s: size: %llu bytes are out of range: %d (64K) to %llu (%lluG)",
                            name, (unsigned long long)size, (int)STORE_SIZE_LEAST, most, most >> 30);
}

static int find_or_make_store(struct stores *stores, const char *name, uint64_t size, struct named_store **found,
                              char *err, size_t errlen)
{
    struct named_store *free_place = NULL;
    for (size_t i = 0; i < STORES_MAX; i++) {
        struct named_store *place = &stores->places[i];
        if (place->store != NULL && strcmp(place->name, name) == 0) {
            *found = place;
            return 0;
        }
        free_place = place->store == NULL && free_place == NULL ? place : free_place;
    }
    if (free_place == NULL) {
        return error_text(err, errlen, -ENOSPC, "%s: a server has at most %d stores: use fewer, with prefixes of keys",
                          name, (int)STORES_MAX);
    }
    if (store_create(&free_place->store, size == 0 ? STORE_SIZE_USUAL : size) < 0) {
        free_place->store = NULL;
        return error_text(err, errlen, -ENOMEM, "%s: %s", name, errno_text(ENOMEM));
    }
    strcpy(free_place->name, name); /* its length is checked */
    free_place->keepers = 0;
    *found = free_place;
    return 0;
}

int stores_get(struct stores *stores, const char *name, uint64_t size, struct store **store, char *err, size_t errlen)
{
    struct named_store *found = NULL;
    int rv = check_store_name(name, err, errlen);
    rv = rv < 0 ? rv : check_store_size(name, size, err, errlen);
    if (rv < 0) {
        return rv;
    }
    pthread_mutex_lock(&stores->lock);
    rv = find_or_make_store(stores, name, size, &found, err, errlen);
    if (rv == 0) {
        found->keepers++;
        *store = found->store;
    }
    pthread_mutex_unlock(&stores->lock);
    return rv;
}

void stores_put(struct stores *stores, struct store *store)
{
    struct store *unused = NULL;
    pthread_mutex_lock(&stores->lock);
    for (size_t i = 0; i < STORES_MAX && unused == NULL; i++) {
        struct named_store *place = &stores->places[i];
        if (place->store == store && --place->keepers == 0) {
            unused = place->store;
            place->store = NULL;
        }
    }
    pthread_mutex_unlock(&stores->lock);
    store_destroy(unused);
}
