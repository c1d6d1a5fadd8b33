/* The whole connection, over a fake of the TLS transport (tests/lib/fake_tls.h): what conn_play.c says of inputs,
 * and beyond that the actions
 *
 *   v BYTE       how sessions behave that begin from now on: the bits of make_plan()
 *   q BYTE       how the client's bytes lie in records and segments from now on: the bits of send_records()
 *   u            it asks for an update of keys         z           it says close_notify
 *   k            it shuts its side without that        x BYTE      it sends this byte, which belongs to no record
 *
 * Held besides: nothing comes before the handshake is over, and nothing behind the server's close_notify; that comes
 * only behind whole responses, and at each end that is in order. */

#include "http/server_internal.h"
#include "tests/fuzz/conn_play.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/fake_tls.h"
#include "tests/lib/fuzz.h"

#include <string.h>

enum { HELLO_BYTES = 20, WIRE_MAX = PLAY_INPUT_MAX * (FAKE_TLS_HEAD_LEN + 1) + 1024 };

/* What a client has sent, as it lies on the wire. */
struct wire {
    char bytes[WIRE_MAX];
    size_t len;
    unsigned char lies; /* of action q */
    bool has_broken;    /* it does not keep to the rules */
};

static struct wire wires[PLAY_CLIENTS];
static struct fake_tls_plan plan;
static unsigned char lies;

static void make_plan(unsigned char bits)
{
    static const size_t record_bytes[] = {FAKE_TLS_RECORD_MAX, 1000, 100, 7};
    plan = (struct fake_tls_plan){
        .reply_bytes = (bits & 2U) != 0 ? 5000 : 100,
        .records = (bits & 4U) != 0 ? 1 : 4,
        .reads_one_record = (bits & 8U) != 0,
        .overstates = (bits & 16U) != 0,
        .holds_reply = (bits & 32U) != 0,
        .record_bytes = record_bytes[bits >> 6],
    };
}

static void open_line(struct server *server)
{
    make_plan(0);
    lies = 0;
    memset(wires, 0, sizeof wires);
    server->accepters[0].ops = &fake_tls_ops;
    server->accepters[0].ops_arg = &plan;
}

/* Bytes on their way, in segments of the given size; 0: in one. */
static void send_wire(struct play_client *client, const char *bytes, size_t len, size_t segment)
{
    struct wire *wire = &wires[client->number];
    FUZZ_MUST(wire->len + len <= WIRE_MAX);
    memcpy(wire->bytes + wire->len, bytes, len);
    wire->len += len;
    fake_peer_send_in_pieces(client->peer, bytes, len, segment == 0 ? len : segment);
}

static void send_record(struct play_client *client, enum fake_tls_type type)
{
    char record[FAKE_TLS_HEAD_LEN];
    send_wire(client, record, fake_tls_record(record, type, NULL, 0), 0);
}

static void come_with_handshake(struct play_client *client)
{
    char record[FAKE_TLS_HEAD_LEN + HELLO_BYTES];
    static const char hello[HELLO_BYTES];
    size_t len = fake_tls_record(record, FAKE_TLS_HANDSHAKE, hello, sizeof hello);
    if ((lies & 64U) != 0) {
        wires[client->number].has_broken = true; /* it begins as it likes */
        return;
    }
    if ((lies & 32U) == 0) {
        send_wire(client, record, len, (lies & 8U) != 0 ? 5 : 0);
    }
    send_record(client, FAKE_TLS_FINISHED);
}

/* Bits 0 to 2 of lies: content of a record; 3 and 4: segments; 5: a short handshake; 6: none. */
static void send_records(struct play_client *client, const char *content, size_t len)
{
    static const size_t record_bytes[] = {PLAY_INPUT_MAX, 1, 2, 5, 20, 100, 700, 2000};
    static const size_t segments[] = {0, 1, 7, 0};
    static char bytes[WIRE_MAX];
    bool has_segment_each = (lies >> 3 & 3U) == 3;
    size_t all = 0;
    for (size_t at = 0; at < len;) {
        size_t piece = record_bytes[lies & 7U] < len - at ? record_bytes[lies & 7U] : len - at;
        all += fake_tls_record(bytes + all, FAKE_TLS_CONTENT, content + at, piece);
        at += piece;
        if (has_segment_each || at == len) {
            send_wire(client, bytes, all, segments[lies >> 3 & 3U]);
            all = 0;
        }
    }
}

static void finish_with_close(struct play_client *client)
{
    send_record(client, FAKE_TLS_CLOSE);
}

static size_t act_on_line(struct play_client *client, char what, unsigned char byte)
{
    struct wire *wire = &wires[client->number];
    bool speaks = client->peer != NULL && !client->is_done;
    switch (what) {
    case 'v':
        make_plan(byte);
        return 1;
    case 'q':
        lies = byte;
        return 1;
    case 'u':
        if (speaks) {
            send_record(client, FAKE_TLS_UPDATE);
        }
        return 0;
    case 'z':
        if (speaks) {
            send_record(client, FAKE_TLS_CLOSE);
            client->is_done = true;
        }
        return 0;
    case 'k':
        if (speaks) {
            fake_peer_shutdown(client->peer);
            client->is_done = client->is_disturbed = wire->has_broken = true;
        }
        return 0;
    case 'x':
        if (speaks) {
            send_wire(client, (const char *)&byte, 1, 0);
            wire->has_broken = true;
        }
        return 1;
    default:
        return 0;
    }
}

static bool is_plain_reply(const char *bytes, size_t len)
{
    return len > 0 && bytes[0] == fake_tls_plain_reply[0];
}

static void see_through(struct play_client *client, struct play_seen *seen)
{
    static struct fake_tls_content sent, got;
    const struct wire *wire = &wires[client->number];
    fake_tls_content_done(&sent);
    fake_tls_content_done(&got);
    size_t len;
    const char *bytes = fake_peer_output(client->peer, &len);
    bool is_plain = is_plain_reply(bytes, len);
    FUZZ_MUST(!is_plain || strncmp(bytes, fake_tls_plain_reply, len) == 0);
    fake_tls_content_read(&sent, wire->bytes, wire->len, false);
    fake_tls_content_read(&got, bytes, is_plain ? 0 : len, true);
    FUZZ_MUST(!got.is_malformed && !(got.has_close && got.has_rest));
    FUZZ_MUST(!got.has_alert || wire->has_broken);
    FUZZ_MUST(got.len == 0 || sent.is_open);
    *seen = (struct play_seen){
        .sent = sent.bytes,
        .sent_len = sent.len,
        .output = got.bytes,
        .output_len = got.len,
        .is_ended = got.has_close,
        .says_end = !wire->has_broken && sent.is_open && !is_plain,
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct conn_line line = {
        .open = open_line,
        .come = come_with_handshake,
        .send = send_records,
        .finish = finish_with_close,
        .act = act_on_line,
        .see = see_through,
    };
    return conn_play(&line, data, len);
}
