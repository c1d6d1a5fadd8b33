/* Happy path: a coder that is kept begins anew.
 * Failure modes: too many are in use, or there is no memory: the response stays as it is. */

#include "http/coders.h"

#include <assert.h>

enum coder_kind coders_kind(enum encoding encoding)
{
    return encoding == ENCODING_BR ? CODER_BROTLI : encoding == ENCODING_ZSTD ? CODER_ZSTD : CODER_GZIP;
}

/* Take one that is kept. */
static bool take_idle(struct coders *coders, enum encoding encoding, unsigned level, struct lent_coder *lent)
{
    for (unsigned i = coders->idle_count; i-- > 0;) {
        if (coders->idle[i].encoding == encoding && coders->idle[i].level == level) {
            *lent = coders->idle[i];
            coders->idle[i] = coders->idle[--coders->idle_count];
            return true;
        }
    }
    return false;
}

bool coders_take(struct coders *coders, enum encoding encoding, unsigned level, struct lent_coder *lent)
{
    if (coders->in_use == CODERS_MAX) {
        return false;
    }
    if (take_idle(coders, encoding, level, lent)) {
        if (coder_reset(lent->coder) < 0) {
            coder_destroy(lent->coder);
            return false;
        }
    } else {
        *lent = (struct lent_coder){.encoding = encoding, .level = level};
        if (coder_create(&lent->coder, coders_kind(encoding), level) < 0) {
            return false;
        }
    }
    coders->in_use++;
    return true;
}

void coders_put(struct coders *coders, const struct lent_coder *lent, bool is_broken)
{
    assert(coders->in_use > 0);
    coders->in_use--;
    if (is_broken || coders->idle_count == CODERS_IDLE_MAX) {
        coder_destroy(lent->coder);
    } else {
        coders->idle[coders->idle_count++] = *lent;
    }
}

void coders_done(struct coders *coders)
{
    while (coders->idle_count > 0) {
        coder_destroy(coders->idle[--coders->idle_count].coder);
    }
}
