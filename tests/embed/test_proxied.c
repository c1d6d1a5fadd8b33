/* What a host reads of a proxy in front that sends the PROXY protocol: evs_proxied(), evserve_expects_proxy(). */

#include "tests/lib/client.h"
#include "tests/lib/host.h"

#include <errno.h>
#include <unistd.h>

static const char get[] = "GET / HTTP/1.0\r\n\r\n";
static const char block[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x26\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"
                            "\x05\0\x03"
                            "a\0b"
                            "\x02\0\x01h"
                            "\x20\0\x0d\x07\0\0\0\0"
                            "\x22\0\x01"
                            "c"
                            "\x21\0\x01v";

static void show(evs_request *request, void *arg)
{
    (void)arg;
    char text[512], peer[64];
    struct evs_proxied_info info = {.size = sizeof info};
    struct evs_proxied_info wrong = {.size = sizeof info + 1};
    assert_int_equal(evs_proxied(request, &wrong), -EINVAL);
    int rv = evs_proxied(request, &info);
    int len = snprintf(text, sizeof text, "%d %s %s %.10s %s id=%zu host=%s alpn=%s tls=%d,%s,%s,%s", rv,
                       evs_peer(request, peer, sizeof peer), evs_scheme(request), info.address, info.server,
                       info.unique_id_len, info.authority, info.alpn, info.tls, info.tls_version, info.tls_cipher,
                       info.tls_client);
    assert_true(info.unique_id_len == 0 || memcmp(info.unique_id, "a\0b", 4) == 0);
    evs_reply(request, 200, "text/plain", text, (size_t)len);
}

static const char *ask_with(const char *before, size_t len)
{
    static char answer[2048];
    int fd = client_connect(evserve_port(host.server, 1));
    assert_int_equal(write(fd, before, len), (ssize_t)len);
    assert_true(client_send(fd, get));
    answer[client_read_all(fd, answer, sizeof answer - 1)] = '\0';
    close(fd);
    return client_body(answer);
}

static void header_is_described(void **state)
{
    (void)state;
    static const struct evs_route routes[] = {{.route = "GET /", .serve = show}, {0}};
    static const char line[] = "PROXY TCP6 2001:db8::1 ::1 1 2\r\n";
    host.config.routes = routes;
    host.config.listen = "127.0.0.1:0,127.0.0.1:0?proxy";
    host_serve();
    assert_int_equal(evserve_expects_proxy(host.server, 0), 0);
    assert_int_equal(evserve_expects_proxy(host.server, 1), 1);
    assert_int_equal(evserve_expects_proxy(host.server, 2), -1);
    assert_string_equal(ask_with(line, sizeof line - 1),
                        "1 [2001:db8::1]:1 http 127.0.0.1: [::1]:2 id=0 host= alpn= tls=0,,,");
    assert_string_equal(ask_with(block, sizeof block - 1),
                        "1 192.0.2.1:56324 https 127.0.0.1: 198.51.100.2:443 id=3 host=h alpn= tls=1,v,,c");
    const char *plain = client_body(client_get(host.port, "/"));
    assert_true(strncmp(plain, "0 127.0.0.1:", 12) == 0);
    assert_non_null(strstr(plain, " http   id=0 host= alpn= tls=0,,,"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {HOST_TEST(header_is_described)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
