#ifndef EVSERVE_CORE_STORES_H
#define EVSERVE_CORE_STORES_H

/* The stores (store.h) of a server by their names. A store lives as long as somebody keeps it: whoever asks for its
 * name meanwhile gets the same one. Any thread may call any function. */

#include <stddef.h>
#include <stdint.h>

struct store;
struct stores;

enum {
    STORES_MAX = 64,     /* of a server, at the same time */
    STORE_NAME_MAX = 64, /* bytes of a name */
};

/* Make an empty list, which the caller refers to. Returns 0 or -ENOMEM. */
int stores_create(struct stores **stores);

/* Refer to them once more; stop that. The last one frees them, so a thread that blocks when the server ends may use
 * them until it returns. NULL is allowed in the second. */
struct stores *stores_hold(struct stores *stores);
void stores_release(struct stores *stores);

/* Keep the store of a name, until stores_put(). If there is none, it is made, with size bytes; 0: STORE_SIZE_USUAL. An
 * existing one keeps its size. Returns 0 with *store, or -EINVAL, -ENOSPC or -ENOMEM with a text in err. */
int stores_get(struct stores *stores, const char *name, uint64_t size, struct store **store, char *err, size_t errlen);
void stores_put(struct stores *stores, struct store *store);

#endif
