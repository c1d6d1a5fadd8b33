/* Happy path: each kind that has a rule for the path is asked once, and passes.
 * Failure modes are those of the kinds: they respond themselves. */

#include "http/rules/decide.h"

#include "http/exchange.h"
#include "http/rules/rule_head.h"
#include "http/rules/rules.h"

#include <assert.h>

static bool decide_from(struct exchange *exchange, const struct rules *rules, unsigned order)
{
    for (; order < RULE_DECIDERS; order++) {
        const struct rule *first = rules_first(rules, (enum rule_order)order, exchange->path, exchange->path_len);
        enum rules_verdict verdict = first == NULL ? RULES_PASS : first->kind->decide(exchange, first);
        if (verdict == RULES_HELD) {
            assert(exchange->response_state == RESPONSE_NONE);
            exchange->handler = &first->held;
            exchange->is_served = true;
            exchange->hold = HOLD_WAITS;
            exchange->held_at = (uint8_t)order;
        }
        if (verdict != RULES_PASS) {
            return true;
        }
    }
    return false;
}

bool rules_decide(struct exchange *exchange, struct rules *rules)
{
    if (rules->has_head) {
        rule_head_install(exchange, rules);
    }
    return decide_from(exchange, rules, 0);
}

bool rules_decide_on(struct exchange *exchange, struct rules *rules)
{
    return decide_from(exchange, rules, exchange->held_at + 1U);
}
