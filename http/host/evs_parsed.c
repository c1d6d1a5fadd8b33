/* Making and freeing. Failure mode: without memory there is nothing to keep what was parsed in. */

#include "http/host/evs_parsed.h"

#include "core/mem.h"
#include "http/exchange.h"

struct evs_parsed *evs_parsed_of(struct exchange *exchange)
{
    if (exchange->parsed == NULL) {
        exchange->parsed = mem_zalloc(sizeof *exchange->parsed);
        exchange->drop_parsed = evs_drop_parsed;
    }
    return exchange->parsed;
}

void evs_drop_parsed(struct exchange *exchange)
{
    struct evs_parsed *parsed = exchange->parsed;
    exchange->parsed = NULL;
    if (parsed != NULL) {
        mem_free(parsed->query);
        mem_free(parsed->cookies);
        mem_free(parsed->form);
        mem_free(parsed->parts);
        mem_free(parsed);
    }
}
