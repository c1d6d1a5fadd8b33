#ifndef EVSERVE_CORE_BROKER_PUBLISH_H
#define EVSERVE_CORE_BROKER_PUBLISH_H

/* For core/broker.c: commands of the broker on their way to Redis, and its letters. */

#include "core/broker_state.h"

/* Send a command whose reply is noted as request. Returns 0, or -errno as redis_client_command() does: then nothing was
 * sent; -ENOBUFS also if BROKER_REQUESTS_MAX replies are missing. */
int broker_ask(struct broker *broker, const struct redis_word *words, size_t count, struct broker_request request);

/* What the next reply replies to. There is one: request_count is not 0. */
struct broker_request broker_pop_request(struct broker *broker);

/* The connection for commands is lost: no reply will come, and what is not confirmed goes out again later. */
void broker_forget_requests(struct broker *broker);

/* Send the letters that are not sent, as far as the connection takes them. */
void broker_send_letters(struct broker *broker);

/* Free a letter that is confirmed, and does not have to come back. Others stay. */
void broker_drop_letter(struct broker *broker, struct broker_letter *letter);

/* Deliver a message that will not come back in time, with an id of this server. */
void broker_deliver_here(struct broker *broker, struct broker_letter *letter);

#endif
