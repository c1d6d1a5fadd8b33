/* Failure modes: if one state cannot be made, all are closed, and the text says why. */

#include "lua/worker_pool.h"

#include "core/job_pool.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

enum { POOL_NAME_MAX = PLACE_MAX + 8192 }; /* bytes of what pools are told apart by */

struct worker_pool {
    struct worker_names names;
    unsigned count;          /* of states */
    struct script *states[]; /* by thread */
};

static void end_worker_pool(void *arg)
{
    struct worker_pool *pool = arg;
    for (unsigned i = 0; i < pool->count; i++) {
        worker_state_close(pool->states[i]);
    }
    worker_names_free(&pool->names);
    mem_free(pool);
}

static int make_worker_pool(void *arg, struct job_pool_plan *made, char *err, size_t errlen)
{
    const struct worker_pool_plan *plan = arg;
    struct worker_pool *pool = mem_zalloc(sizeof *pool + plan->threads * sizeof pool->states[0]);
    if (pool == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s: %s", plan->module.path, errno_text(ENOMEM));
    }
    int rv = 0;
    while (rv == 0 && pool->count < plan->threads) {
        rv = worker_state_open(&pool->states[pool->count], &plan->module, &pool->names, err, errlen);
        pool->count += rv == 0 ? 1 : 0;
    }
    if (rv < 0) {
        end_worker_pool(pool);
        return rv;
    }
    *made = (struct job_pool_plan){.threads = plan->threads,
                                   .queue = plan->queue,
                                   .label = plan->module.path,
                                   .arg = pool,
                                   .on_end = end_worker_pool};
    return 0;
}

/* Whether the script that waits for another thread's states has waited too long. */
static bool is_too_late(void *arg)
{
    const struct worker_pool_plan *plan = arg;
    const struct script_load *load = plan->module.script->load;
    return load != NULL &&
           (sys_now_ns() >= load->end_ns || atomic_load_explicit(load->is_unwanted, memory_order_relaxed));
}

/* A path of a module cannot have a newline in it that makes two names equal: whatever follows has none. */
static int name_pool(const struct worker_pool_plan *plan, char name[POOL_NAME_MAX])
{
    const struct worker_module *module = &plan->module;
    int len = snprintf(name, POOL_NAME_MAX, "%llu %u %u %zu\n%s\n%s\n%s",
                       (unsigned long long)module->script->load_number, plan->threads, plan->queue,
                       module->memory_bytes, module->path, module->package_path, module->package_cpath);
    return len < POOL_NAME_MAX ? 0 : -ENAMETOOLONG;
}

int worker_pool_get(const struct worker_pool_plan *plan, struct job_pool **pool, char *err, size_t errlen)
{
    char name[POOL_NAME_MAX];
    const struct job_pool_maker maker = {.make = make_worker_pool,
                                         .is_late = is_too_late,
                                         .arg = (void *)(uintptr_t)plan};
    int rv = name_pool(plan, name);
    if (rv < 0) {
        return error_text(err, errlen, rv, "its path, with package.path and package.cpath, has more than %d bytes",
                          (int)POOL_NAME_MAX - 1);
    }
    return job_pools_get(plan->module.script->jobs, name, &maker, pool, err, errlen);
}

const struct worker_names *worker_pool_names(const struct job_pool *pool)
{
    const struct worker_pool *mine = job_pool_arg(pool);
    return &mine->names;
}

void worker_pool_run(void *arg, unsigned thread, struct worker_call *call)
{
    const struct worker_pool *pool = arg;
    worker_state_run(pool->states[thread], call);
}
