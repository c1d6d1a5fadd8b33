/* core/tls.c as a server, on the fake kernel, with bytes that no honest client sends: not OpenSSL's parser is tried,
 * but what lies around it. The first byte of an input says who the client is: bit 0, one of OpenSSL that has shaken
 * hands before the rest begins; bit 1, with TLS 1.2. The other bytes are sent as they are, but after ESCAPE:
 *
 *   n            a new segment                        s            the server reads all there is
 *   r BYTE       it reads once, so many bytes         w BYTE BYTE  it writes so many (the high one first)
 *   o BYTE       room for so many bytes; 255: any     b            it flushes
 *   c BYTE       the client of OpenSSL sends content  x BYTE BYTE  with this byte of its next segment changed so
 *   q            and says close_notify                e            the server says its end
 *   f            FIN                                  h            RST
 *   a BYTE       the n-th allocation fails
 *
 * Held: no content comes or goes before the handshake is over, and none from foreign bytes; what comes was sent, in
 * its order, and so is what the client of OpenSSL gets; a failure stays; a client of plain HTTP reads the text for
 * it; a read takes few system calls, and reading comes to an end; no call leaves an error in OpenSSL's queue; no
 * memory and no fd is left. OpenSSL's random bytes are not part of an input, and make no difference to what is held. */

#include "core/sys.h"
#include "core/tls.h"
#include "core/tls_context.h"
#include "core/tls_pool.h"
#include "core/transport.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/fuzz.h"
#include "tests/lib/tls_scene.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include <openssl/err.h>

enum {
    ESCAPE = 0xf7,
    INPUT_MAX = 4096,
    CONTENT_MAX = 1 << 20, /* of either side; more is not sent */
    READ_MAX = 65536,
    READS_MAX = 2000,
    RECVS_MAX = 40, /* system calls of one read, beyond those for segments: READ_MAX bytes are some records */
};

static const char plain_text[] = "HTTP/1.1 400 Bad Request\r\n\r\nHTTPS, please\n";

static struct made made;
static struct tls_context *context;
static struct tls_pool *pool;
static struct transport transport;
static struct tls_client client; /* of OpenSSL, if there is one */
static struct fake_peer *peer;
static char pattern[CONTENT_MAX]; /* what both sides say */
static size_t received, sent;     /* by the server, of pattern */
static size_t said;               /* by the client, of pattern */
static int failure;               /* -errno of the session, or 0 */
static bool is_real;              /* the client is one of OpenSSL */
static bool is_faulty;            /* an allocation was to fail */
static bool is_ended;             /* the server has said its end */
static bool is_foreign;           /* something came that no honest client sends */
static bool has_left;             /* or the client left without close_notify */
static bool may_lack_end;         /* the server's end came before its content was through */
static bool has_said_end;         /* the client has said close_notify */
static int epoll_fd;              /* for segments to arrive */
static int change_at, change_by;  /* of the next segment of the client of OpenSSL */
static char new_bytes[INPUT_MAX]; /* foreign bytes that are not on their way yet */
static size_t new_len;            /* of new_bytes */
static char first;                /* the first byte that came, 0 before it */

static void prepare(void)
{
    const struct tls_settings settings = {0};
    char err[256] = "";
    if (context != NULL) {
        return;
    }
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    made_create(&made, KEY_EC, "example.org", NULL);
    const struct tls_certificate certificate = {.cert_pem = made.cert_pem, .key_pem = made.key_pem};
    FUZZ_MUST(tls_context_create(&context, &settings, NULL, 0, NULL, err, sizeof err) == 0);
    FUZZ_MUST(tls_context_add(context, &certificate, err, sizeof err) == 0);
    FUZZ_MUST(tls_context_finish(context, err, sizeof err) == 0);
    for (size_t i = 0; i < CONTENT_MAX; i++) {
        pattern[i] = (char)(i * 7 + i / 251);
    }
}

/* What holds after each call. */
static void check_call(ssize_t rv)
{
    struct tls_info info;
    FUZZ_MUST(ERR_peek_error() == 0);
    FUZZ_MUST(!transport.is_opening || !tls_get_info(&transport, &info));
    if (failure < 0 && !is_ended) {
        FUZZ_MUST(rv == failure);
    }
    if (rv < 0 && rv != -EAGAIN && rv != -ENOMEM && !is_ended) {
        failure = (int)rv;
        FUZZ_MUST(failure != -EPROTO || is_foreign || is_faulty);
        FUZZ_MUST(transport.is_opening == false || transport_failure(&transport) != NULL || first == 0 || has_left);
    }
}

/* Returns what the transport said. */
static ssize_t read_once(size_t len)
{
    static char block[READ_MAX];
    uint64_t recvs = fake_sys_count(FAKE_RECV);
    bool was_ended = is_ended;
    ssize_t got = transport_recv(&transport, block, len);
    FUZZ_MUST(fake_sys_count(FAKE_RECV) - recvs <= RECVS_MAX + fake_peer_unread(peer));
    FUZZ_MUST(got <= (ssize_t)len);
    check_call(got);
    if (got > 0 && !was_ended) {
        FUZZ_MUST(is_real && !transport.is_opening);
        FUZZ_MUST(received + (size_t)got <= said && memcmp(block, pattern + received, (size_t)got) == 0);
        received += (size_t)got;
    }
    FUZZ_MUST(!transport.holds_input || got > 0 || transport.holds_output || failure < 0 || is_faulty);
    return got;
}

/* As a connection does: while the session holds something, and as segments arrive. */
static void read_all(void)
{
    struct epoll_event event;
    int quiet = 0;
    for (int i = 0; quiet < 3; i++) {
        FUZZ_MUST(i < READS_MAX);
        ssize_t got = read_once(READ_MAX);
        quiet = got > 0 ? 0 : quiet + 1;
        sys_epoll_wait(epoll_fd, &event, 1, 0);
    }
}

/* The same bytes are offered until they are taken. */
static void write_content(size_t len)
{
    len = len < CONTENT_MAX - sent ? len : CONTENT_MAX - sent;
    bool was_opening = transport.is_opening, had_failed = failure < 0;
    if (len == 0) {
        return;
    }
    ssize_t rv = transport_send(&transport, pattern + sent, len, false);
    check_call(rv);
    FUZZ_MUST(rv <= (ssize_t)len && rv != 0);
    FUZZ_MUST(rv < 0 || (is_real && !was_opening && !is_ended));
    FUZZ_MUST(rv != -EAGAIN || transport.is_full);
    FUZZ_MUST(!was_opening || had_failed || rv == -EAGAIN || has_left || is_faulty);
    sent += rv > 0 ? (size_t)rv : 0;
}

/* When there is room, as far as the session asks for it. */
static void flush(void)
{
    int rv = transport.holds_output ? transport_flush(&transport) : 0;
    FUZZ_MUST(rv != -EAGAIN);
    if (rv < 0 && failure == 0) {
        check_call(rv); /* of a session that has failed, the socket may say something else */
    }
}

static void end_session(void)
{
    may_lack_end = may_lack_end || (!is_ended && transport.holds_output);
    is_ended = true;
    transport_say_end(&transport);
}

/* Clients. */

static void send_bytes(char *bytes, size_t len)
{
    if (len > 0) {
        first = first == 0 ? bytes[0] : first;
        fake_peer_send(peer, bytes, len);
    }
}

static void send_new(void)
{
    is_foreign = is_foreign || new_len > 0;
    send_bytes(new_bytes, new_len);
    new_len = 0;
}

/* What the client of OpenSSL has made, as a segment. */
static void send_made(void)
{
    static char wire[2 * CONTENT_MAX];
    int len = BIO_read(SSL_get_wbio(client.ssl), wire, sizeof wire);
    if (len > 0 && change_by != 0) {
        wire[change_at % len] = (char)(wire[change_at % len] ^ change_by);
        change_by = 0;
        is_foreign = true;
    }
    send_bytes(wire, len > 0 ? (size_t)len : 0);
}

static void say_content(size_t len)
{
    if (is_real && !client.has_failed && !has_said_end && said + len <= CONTENT_MAX && len > 0 &&
        SSL_write(client.ssl, pattern + said, (int)len) == (int)len) {
        said += len;
        send_made();
    }
    ERR_clear_error();
}

static void say_end(void)
{
    if (is_real && !has_said_end) {
        SSL_shutdown(client.ssl);
        send_made();
        has_said_end = true;
    }
    ERR_clear_error();
}

/* The client of OpenSSL reads what has come: what the server has said, from the start. */
static void check_client(bool is_all)
{
    size_t len;
    const char *wire = fake_peer_output(peer, &len);
    int got;
    if (len > 0) {
        BIO_write(SSL_get_rbio(client.ssl), wire, (int)len);
        fake_peer_forget_output(peer);
    }
    do {
        got = SSL_read(client.ssl, client.input + client.input_len, (int)(sizeof client.input - client.input_len));
        client.input_len += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    bool has_end = SSL_get_error(client.ssl, got) == SSL_ERROR_ZERO_RETURN;
    ERR_clear_error();
    FUZZ_MUST(client.input_len <= CONTENT_MAX && memcmp(client.input, pattern, client.input_len) == 0);
    FUZZ_MUST(client.input_len >= sent || failure < 0 || is_foreign || has_left || is_faulty);
    FUZZ_MUST(!has_end || is_ended);
    FUZZ_MUST(has_end || !is_all);
}

/* One input. */

static void step_server(void)
{
    read_all();
}

static void open_session(unsigned char mode)
{
    fake_sys_reset();
    epoll_fd = sys_epoll_create();
    int listener = sys_socket(AF_INET);
    const struct sockaddr address = {.sa_family = AF_INET};
    FUZZ_MUST(epoll_fd >= 0 && sys_bind(listener, &address, sizeof address) == 0 && sys_listen(listener, 1) == 0);
    peer = fake_peer_connect(listener);
    int fd = sys_accept(listener, NULL, NULL);
    sys_close(listener);
    pool = tls_pool_create(plain_text);
    struct tls_opening opening = {.context = context, .pool = pool};
    FUZZ_MUST(pool != NULL && transport_open(&transport, &tls_transport_ops, &opening, fd, AF_INET) == 0);
    received = sent = said = new_len = 0;
    failure = change_by = 0;
    is_faulty = is_ended = is_foreign = has_left = may_lack_end = has_said_end = false;
    first = 0;
    is_real = (mode & 1) != 0;
    if (is_real) {
        tls_client_init(&client, (mode & 2) != 0 ? TLS1_2_VERSION : TLS1_3_VERSION, step_server);
        tls_client_connect(&client, peer, "example.org");
        tls_client_run(&client);
        FUZZ_MUST(!transport.is_opening && !client.has_failed);
        first = 0x16;
    }
}

static void close_session(void)
{
    size_t len;
    const char *output = fake_peer_output(peer, &len);
    if (!is_real && first >= 'A' && first <= 'Z' && failure == -EPROTO && !is_faulty) {
        FUZZ_MUST(len <= strlen(plain_text) && memcmp(output, plain_text, len) == 0);
    }
    transport_shut(&transport, is_ended);
    sys_close(transport.fd);
    sys_close(epoll_fd);
    tls_pool_destroy(pool);
    if (is_real) {
        tls_client_done(&client);
    }
    FUZZ_MUST(fake_sys_open_fds() == 0);
    fake_sys_reset();
}

/* How many bytes of the input the action has behind its name. */
static size_t act(char what, unsigned char one, unsigned char two)
{
    send_new();
    switch (what) {
    case 's':
        read_all();
        return 0;
    case 'r':
        read_once((size_t)one + 1);
        return 1;
    case 'w':
        write_content((size_t)one << 8 | two);
        return 2;
    case 'o':
        fake_peer_set_room(peer, one == 255 ? FAKE_NO_LIMIT : one * 16);
        return 1;
    case 'b':
        flush();
        return 0;
    case 'c':
        say_content((size_t)one * 101);
        return 1;
    case 'x':
        change_at = one;
        change_by = two;
        return 2;
    case 'q':
        say_end();
        return 0;
    case 'e':
        end_session();
        FUZZ_MUST(ERR_peek_error() == 0 && !transport.holds_input && !transport.is_opening);
        return 0;
    case 'f':
        fake_peer_shutdown(peer);
        has_left = true;
        return 0;
    case 'h':
        fake_peer_reset(peer, 0);
        has_left = true;
        return 0;
    case 'a':
        is_faulty = true;
        fake_mem_fail_after(one, false);
        return 1;
    default:
        return 0;
    }
}

/* There is room, and all is read and said: whoever has kept to the rules gets everything, and an end. */
static void end(void)
{
    fake_mem_fail_after(0, false);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    flush();
    read_all();
    if (is_real) {
        check_client(false);
    }
    bool is_in_order = failure == 0 && !is_foreign && !has_left && !is_faulty;
    FUZZ_MUST(!is_in_order || is_ended || !is_real || received == said);
    end_session();
    flush();
    if (is_real && is_in_order && !may_lack_end) {
        check_client(true);
    }
    read_all();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0 || len > INPUT_MAX) {
        return 0;
    }
    prepare();
    size_t live = fake_mem_live();
    open_session(data[0]);
    for (size_t i = 1; i < len; i++) {
        if (data[i] != ESCAPE) {
            new_bytes[new_len++] = (char)data[i];
        } else if (i + 1 < len) {
            i++;
            i += act((char)data[i], i + 1 < len ? data[i + 1] : 0, i + 2 < len ? data[i + 2] : 0);
        }
    }
    send_new();
    read_all();
    end();
    close_session();
    FUZZ_MUST(fake_mem_live() == live);
    return 0;
}
