/* permessage-deflate (http/ws/ws_deflate.c). The first byte chooses what is agreed on. The rest is messages, each
 * behind a byte that chooses what becomes of it:
 *
 *   even   a client sends it as compressed bytes: whole and in pieces, with much room and with little, it is the same
 *          content or the same failure
 *   odd    it is sent to the client, alone or to many: the client's inflater reads it back
 *
 * No memory is left. */

#include "core/inflater.h"
#include "http/ws/ws_deflate.h"
#include "tests/lib/fuzz.h"

#include <string.h>

enum { INFLATED_MAX = 1 << 18 }; /* more of a message is not looked at */

static char whole[INFLATED_MAX], pieces[INFLATED_MAX];

static const char *const offers[] = {
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8",
    "permessage-deflate; server_max_window_bits=10; server_no_context_takeover",
};

/* Inflate a piece of a message behind *got bytes of it, with much room or, with dice, little. Returns false on a
 * failure, or when there is more than INFLATED_MAX of it. */
static bool inflate_piece(struct ws_deflate *deflate, const char *data, size_t len, bool ends, struct fuzz_dice *dice,
                          char *out, size_t *got)
{
    const char *in = guarded_at_end(fuzz_guarded(), data, len);
    ssize_t rv = 0;
    size_t room = 0;
    while (len > 0 || (size_t)rv == room) {
        if (*got == INFLATED_MAX) {
            return false;
        }
        room = dice == NULL ? INFLATED_MAX - *got : fuzz_piece(dice, INFLATED_MAX - *got);
        rv = ws_deflate_inflate(deflate, &in, &len, ends, out + *got, room);
        if (rv < 0) {
            return false;
        }
        FUZZ_MUST((size_t)rv <= room);
        *got += (size_t)rv;
    }
    return true;
}

/* Inflate a message, with dice in pieces. Returns the length, or negative if it fails or is too long. */
static ssize_t inflate_message(struct ws_deflate *deflate, const char *data, size_t len, struct fuzz_dice *dice,
                               char *out)
{
    size_t got = 0;
    for (size_t at = 0; at < len;) {
        size_t piece = dice == NULL ? len : fuzz_piece(dice, len - at);
        if (!inflate_piece(deflate, data + at, piece, false, dice, out, &got)) {
            return -1;
        }
        at += piece;
    }
    return inflate_piece(deflate, "\0\0\xff\xff", 4, true, dice, out, &got) ? (ssize_t)got : -1;
}

struct fuzz_client {
    struct ws_deflate *one, *other; /* that get the same messages */
    struct ws_codecs *codecs;
    struct inflater *inflater; /* of what `one` sends */
};

static void send_message(struct fuzz_client *client, bool is_shared, const char *data, size_t len)
{
    const char *sent;
    if (is_shared && !ws_deflate_takes_shared(client->one)) {
        return;
    }
    size_t sent_len = is_shared ? ws_deflate_shared(client->codecs, data, len, &sent)
                                : ws_deflate_message(client->one, data, len, &sent);
    if (sent_len == 0) {
        return;
    }
    const char *tail = "\0\0\xff\xff";
    size_t tail_len = 4;
    FUZZ_MUST(sent_len < len && len < INFLATED_MAX);
    ssize_t got = inflater_run(client->inflater, &sent, &sent_len, whole, INFLATED_MAX);
    FUZZ_MUST(got >= 0 && sent_len == 0);
    ssize_t rest = inflater_run(client->inflater, &tail, &tail_len, whole + got, (size_t)(INFLATED_MAX - got));
    FUZZ_MUST(rest >= 0 && (size_t)(got + rest) == len && memcmp(whole, data, len) == 0);
    FUZZ_MUST(inflater_is_whole(client->inflater));
}

/* Returns false when the connection would end. */
static bool take_message(struct fuzz_client *client, struct fuzz_dice *dice, const char *data, size_t len)
{
    ssize_t got = inflate_message(client->one, data, len, NULL, whole);
    ssize_t again = inflate_message(client->other, data, len, dice, pieces);
    FUZZ_MUST(got == again && (got < 0 || memcmp(whole, pieces, (size_t)got) == 0));
    return got >= 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_dice dice = fuzz_dice_of(data, len);
    struct fuzz_client client;
    struct ws_offer offer = {0};
    struct ws_deflate_terms terms;
    if (len < 2 || len > 4096 || !ws_deflate_is_there()) {
        return 0;
    }
    const char *value = offers[data[0] % (sizeof offers / sizeof *offers)];
    size_t memory = (data[0] & 0x80) != 0 ? 0 : 1 << 20;
    FUZZ_MUST(ws_extension_read(&offer, value, strlen(value)) && offer.is_there);
    client.codecs = NULL;
    FUZZ_MUST(ws_deflate_create(&client.one, &client.codecs, memory, &offer, &terms) == 0);
    FUZZ_MUST(ws_deflate_create(&client.other, &client.codecs, memory, &offer, &terms) == 0);
    FUZZ_MUST(inflater_create(&client.inflater, terms.server_bits) == 0);
    for (size_t at = 1; at < len;) {
        uint8_t kind = data[at];
        size_t left = len - at - 1;
        size_t most = (size_t)(kind >> 1) * 8 + 1; /* bytes of the message */
        const char *message = (const char *)data + at + 1;
        size_t message_len = left < most ? left : most;
        at += 1 + message_len;
        if ((kind & 1) != 0) {
            send_message(&client, (kind & 2) != 0, message, message_len);
        } else if (!take_message(&client, &dice, message, message_len)) {
            break;
        }
    }
    ws_deflate_destroy(client.one);
    ws_deflate_destroy(client.other);
    FUZZ_MUST(client.codecs == NULL);
    inflater_destroy(client.inflater);
    FUZZ_MUST(fake_mem_live() == 0);
    return 0;
}
