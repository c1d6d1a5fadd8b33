// evserve.hpp as a host in C++ sees it, with threads: later and ticket, exceptions at every border, timers and watches,
// move-only handles. A program of its own, since cmocka is C; it names the checks that fail.

#include "evserve.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

namespace
{

int failures;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                       \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (false)

class client
{
  public:
    explicit client(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
    {
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        CHECK(connect(fd_, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0);
    }
    ~client()
    {
        close(fd_);
    }
    void send(const std::string &text)
    {
        CHECK(write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    std::string receive_until(const std::string &end)
    {
        std::string all;
        char byte;
        while ((all.size() < end.size() || all.compare(all.size() - end.size(), end.size(), end) != 0) &&
               read(fd_, &byte, 1) == 1) {
            all += byte;
        }
        return all;
    }
    std::string receive_all()
    {
        std::string all;
        char part[4096];
        for (ssize_t got; (got = read(fd_, part, sizeof part)) > 0;) {
            all.append(part, static_cast<std::size_t>(got));
        }
        return all;
    }

  private:
    int fd_;
};

std::string ask(int port, const std::string &target, const std::string &fields = "", const std::string &body = "")
{
    client asking(port);
    asking.send((body.empty() ? "GET " : "POST ") + target + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + fields +
                (body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") + "\r\n" + body);
    return asking.receive_all();
}

bool ends_with(const std::string &text, const std::string &end)
{
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool is_status(const std::string &answer, const char *status)
{
    return answer.compare(9, 3, status) == 0;
}

template <class Condition> bool waited_for(Condition condition)
{
    for (int i = 0; i < 30'000 && !condition(); i++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return condition();
}

// Counts how many of it there are: what a lambda holds must be released.
struct counted {
    static std::atomic<int> alive;
    counted()
    {
        alive++;
    }
    counted(const counted &)
    {
        alive++;
    }
    ~counted()
    {
        alive--;
    }
};
std::atomic<int> counted::alive;

struct lines {
    std::mutex lock;
    std::string text;
    void add(std::string_view line)
    {
        std::lock_guard<std::mutex> guard(lock);
        text.append(line).append("\n");
    }
    bool has(const char *part)
    {
        std::lock_guard<std::mutex> guard(lock);
        return text.find(part) != std::string::npos;
    }
};

void answer_plainly(evs::request request) noexcept
{
    request.reply(200, "text/plain", "plain");
}

void requests_are_answered_in_every_way()
{
    lines log;
    std::atomic<int> outcomes{0};
    std::thread worker;
    {
        evs::server server;
        server.config.listen = "127.0.0.1:0";
        server.config.reactors = 2;
        server.log([&](int, std::string_view line) { log.add(line); });
        server.finished([&](const evs_outcome &outcome) {
            outcomes++;
            if (outcome.status == 500) {
                throw 7; // no std::exception
            }
        });
        server.before([](evs::request request) {
            if (request.header("X-Fail") == "yes") {
                throw std::runtime_error("before fails");
            }
            request.set_header("X-Before", "seen");
            return request.header("X-Refuse") == "yes" && request.reply(403) == 0;
        });
        server.not_found([](evs::request request) {
            request.reply(404, "text/plain", "nothing at " + std::string(request.path()));
        });
        server.on_error([](evs::request request, int status) {
            if (status == 405) {
                request.reply(status, "text/plain", "not so");
            } else if (status == 413) {
                throw std::runtime_error("no page");
            }
        });
        server.route("GET /plain", answer_plainly);
        server.route("GET /all/:one", [](evs::request request) {
            std::string text(request.param("one"));
            request.each_query([&](std::string_view name, std::string_view value) {
                text.append(name).append("=").append(value).append(";");
            });
            CHECK(!evs::has(request.query("none")) && evs::has(request.query("empty")));
            request.reply(200, "text/plain", text);
        });
        server.route("POST /echo", [](evs::request request) { request.reply(200, nullptr, request.body()); });
        server.route("GET /throw", [](evs::request) { throw std::runtime_error("no luck"); });
        server.route("GET /throw/late", [](evs::request request) {
            request.begin(200, "text/plain", 10);
            request.write("12345");
            throw std::runtime_error("half way");
        });
        server.route("GET /throw/after", [](evs::request request) {
            request.reply(200, "text/plain", "fine");
            throw std::runtime_error("afterwards");
        });
        server.route("GET /later", [held = counted()](evs::request request) {
            auto answer = std::make_shared<evs::later>(request.defer());
            CHECK(answer->after(1, [answer, held] { answer->request().reply(200, "text/plain", "later"); }) == 0);
        });
        server.route("GET /later/throw", [](evs::request request) {
            auto answer = std::make_shared<evs::later>(request.defer());
            answer->after(1, [answer] { throw std::runtime_error("a timer fails"); });
        });
        server.route("GET /later/forgotten", [](evs::request request) { evs::later gone = request.defer(); });
        server.route("GET /later/answered", [](evs::request request) {
            evs::later answer = request.defer();
            CHECK(answer && answer.request().reply(200, nullptr, "answered") == 0 && !answer);
            CHECK(answer.after(1, [] {}) == -ESRCH);
        });
        server.route("GET /ticket", [&](evs::request request) {
            if (worker.joinable()) {
                worker.join();
            }
            worker = std::thread([ticket = evs::ticket(request)]() mutable {
                CHECK(ticket && ticket.set_header("X-Thread", "other") == 0);
                CHECK(ticket.begin(200, "text/plain") == 0 && ticket.write("from a ") > 0 &&
                      ticket.write("thread") > 0);
                CHECK(ticket.end() == 0 && !ticket);
            });
        });
        server.route("GET /ticket/forgotten", [](evs::request request) { evs::ticket gone(request); });
        auto shared = std::make_shared<const std::string>(100'000, 's');
        server.route("GET /shared", [shared](evs::request request) { request.reply(200, "text/plain", shared); });
        server.route("GET /shared/stream", [shared](evs::request request) {
            request.begin(200, "text/plain");
            request.write(shared);
            request.end();
        });
        server.route("GET /events", [](evs::request request) {
            evs_events_options options{};
            options.topic = request.query("topic").data();
            CHECK(request.events(options) == (*options.topic == '\0' ? -EINVAL : 0));
        });
        server.start();
        int port = server.port();

        std::string plain = ask(port, "/plain");
        CHECK(plain.find("\r\nX-Before: seen\r\n") != std::string::npos && ends_with(plain, "\r\n\r\nplain"));
        CHECK(ends_with(ask(port, "/all/x%20?a=1&empty=&a=2"), "\r\n\r\nx a=1;empty=;a=2;"));
        CHECK(ends_with(ask(port, "/echo", "", std::string("1\0002", 3)), std::string("\r\n\r\n1\0002", 7)));
        CHECK(is_status(ask(port, "/plain", "X-Refuse: yes\r\n"), "403"));
        CHECK(is_status(ask(port, "/plain", "X-Fail: yes\r\n"), "500"));
        CHECK(is_status(ask(port, "/throw"), "500"));
        CHECK(ends_with(ask(port, "/none"), "nothing at /none"));
        CHECK(ends_with(ask(port, "/plain", "", "a body"), "not so"));
        CHECK(ends_with(ask(port, "/throw/late"), "12345"));
        CHECK(ends_with(ask(port, "/throw/after"), "fine"));
        CHECK(is_status(ask(port, "/events?topic="), "500"));
        client listening(port);
        listening.send("HEAD /events?topic=news HTTP/1.0\r\n\r\n");
        CHECK(listening.receive_all().find("\r\nContent-Type: text/event-stream\r\n") != std::string::npos);
        CHECK(ends_with(ask(port, "/later"), "later"));
        CHECK(is_status(ask(port, "/later/throw"), "500"));
        CHECK(is_status(ask(port, "/later/forgotten"), "500"));
        CHECK(ends_with(ask(port, "/later/answered"), "answered"));
        std::string answer = ask(port, "/ticket");
        CHECK(answer.find("\r\nX-Thread: other\r\n") != std::string::npos);
        CHECK(answer.find("thread") != std::string::npos);
        CHECK(is_status(ask(port, "/ticket/forgotten"), "500"));
        CHECK(ends_with(ask(port, "/shared"), *shared));
        CHECK(ask(port, "/shared/stream").size() > shared->size());
        {
            client leaves(port);
            leaves.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        for (const char *line : {"/plain: a handler threw: before fails", "/throw: a handler threw: no luck",
                                 "half way", "a handler that had responded threw: afterwards", "a timer fails",
                                 "finished threw something that is not a std::exception"}) {
            CHECK(waited_for([&] { return log.has(line); }));
        }
        CHECK(waited_for([&] { return shared.use_count() == 3; })); // ours and those of two routes
        CHECK(waited_for([&] { return outcomes == 21; }));
        CHECK(!log.has("already")); // of the answers above none was aborted
    }
    worker.join();
    CHECK(counted::alive == 0);
}

void timers_watches_and_posts_run_on_the_server()
{
    std::atomic<int> once{0}, often{0}, watched{0}, posted{0};
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    {
        evs::server server;
        server.config.listen = "none";
        server.config.reactors = 2;
        lines log;
        server.log([&](int, std::string_view line) { log.add(line); });
        server.start();
        CHECK(server.after(
                  1, [&, held = counted()] { once++; }, 1) > 0);
        std::int64_t every = server.every(1, [&, held = counted()] { often++; });
        std::int64_t watch = server.watch(fd, EVS_READABLE, [&, held = counted()](int ready, unsigned, int) {
            std::uint64_t value;
            watched += read(ready, &value, sizeof value) == sizeof value ? 1 : 0;
        });
        CHECK(every > 0 && watch > 0 && every != watch);
        CHECK(server.every(0, [] {}) == -EINVAL && server.after(
                                                       1, [] {}, 2) == -EINVAL);
        std::uint64_t value = 1;
        CHECK(write(fd, &value, sizeof value) == sizeof value);
        CHECK(server.post([&, held = counted()] { posted++; }, 1) == 0);
        CHECK(server.post([] { throw std::runtime_error("a post fails"); }) == 0);
        CHECK(server.post([] {}, 2) == -EINVAL);
        CHECK(server.publish("news", "text") == 0 && server.publish("", "text") == -EINVAL);
        CHECK(waited_for([&] { return once == 1 && often >= 3 && watched == 1 && posted == 1; }));
        CHECK(waited_for([&] { return log.has("a posted function threw: a post fails"); }));
        CHECK(server.cancel(every) == 0 && server.cancel(every) == -ENOENT);
        CHECK(waited_for([&] { return counted::alive == 1; })); // the watch alone is left
    }
    close(fd);
    CHECK(counted::alive == 0);
}

void fetches_call_back_once()
{
    std::atomic<int> good{0}, failed{0}, refused{0};
    {
        lines log; // outlives the server, which says what it cuts
        evs::server server;
        server.config.listen = "127.0.0.1:0";
        server.config.reactors = 2;
        server.config.drain_timeout_ms = 10;
        server.log([&](int, std::string_view line) { log.add(line); });
        server.route("GET /up", [](evs::request request) { request.reply(200, "text/plain", "up"); });
        server.route("GET /never", [](evs::request request) { (void)evs_defer(request.get()); });
        server.start();
        std::string base = "http://127.0.0.1:" + std::to_string(server.port());
        server.post(
            [&, held = counted()] {
                evs_fetch_request request = {};
                std::string url = base + "/up";
                request.url = url.c_str();
                server.fetch(
                    request,
                    [&, held](const evs_fetched &fetched) {
                        good += fetched.status == 200 &&
                                std::strcmp(static_cast<const char *>(fetched.body), "up") == 0;
                        throw std::runtime_error("a done fails");
                    },
                    1);
                url = base + "/never";
                request.url = url.c_str();
                server.fetch(
                    request,
                    [&, held](const evs_fetched &fetched) { failed += std::strcmp(fetched.kind, "closed") == 0; }, 1);
                request.url = "nonsense";
                try {
                    server.fetch(
                        request, [held](const evs_fetched &) {}, 1);
                } catch (const evs::error &) {
                    refused++;
                }
            },
            1);
        CHECK(waited_for([&] { return good == 1 && refused == 1; }));
        CHECK(waited_for([&] { return log.has("done of a fetch threw: a done fails"); }));
    }
    CHECK(failed == 1);
    CHECK(counted::alive == 0);
}

// Its destructor uses the server.
struct session {
    evs::server &server;
    std::int64_t timer;
    int &results; // of cancel(), added up
    ~session()
    {
        results += server.cancel(timer);
    }
};

void what_functions_hold_may_use_the_server_until_it_goes()
{
    for (unsigned reactors = 0; reactors < 3; reactors += 2) {
        int results = 0;
        std::vector<evs::ticket> kept; // goes after the server
        int pair[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        std::atomic<int> asked{0};
        {
            evs::server server;
            server.config.listen = "127.0.0.1:0";
            server.config.reactors = reactors;
            server.route("GET /wait", [&](evs::request request) {
                kept.emplace_back(request);
                auto held = std::make_shared<evs::ticket>(request);
                server.after(1'000'000, [held] { held->reply(200, nullptr, ""); });
                asked++;
            });
            server.start();
            std::shared_ptr<session> held(new session{server, 0, results});
            held->timer = server.after(1'000'000, [held] {});
            CHECK(server.watch(pair[0], EVS_READABLE, [held](int, unsigned, int) {}) > 0);
            held = nullptr;
            client asking(server.port());
            asking.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
            CHECK(waited_for([&] { return asked == 1 || (reactors == 0 && server.poll(0) < 0); }));
        }
        CHECK(results == (reactors == 0 ? 0 : -ENOENT)); // timers are over when the threads have ended
        CHECK(kept.size() == 1 && kept[0]);
        close(pair[0]);
        close(pair[1]);
    }
}

void a_function_that_is_refused_may_use_the_server()
{
    evs::server server;
    int results = 0;
    server.config.listen = "none";
    server.start();
    server.stop(0);
    CHECK(server.wait() == 0);
    std::shared_ptr<session> held(new session{server, 1, results});
    CHECK(server.after(1, [held = std::move(held)] {}) == -ESHUTDOWN);
    CHECK(results == -ENOENT);
}

void websockets_call_their_functions()
{
    lines log; // outlives the server
    evs::server server;
    server.log([&](int, std::string_view line) { log.add(line); });
    server.config.listen = "127.0.0.1:0";
    server.config.reactors = 1;
    std::atomic<int> closes{0};
    server.route("GET /ws", [&](evs::request request) {
        evs::websocket::handlers handlers;
        auto kept = std::make_shared<counted>();
        handlers.open = [kept](evs::websocket ws) { CHECK(ws.send("welcome") == 1 && ws.subscribe("news") == 0); };
        handlers.message = [kept](evs::websocket ws, std::string_view data, bool is_text) {
            if (data == "throw") {
                throw std::runtime_error("a bad message");
            }
            CHECK(is_text && ws.send_binary(data) == 1 && ws.queued() > 0 && ws.protocol() == "chat");
        };
        handlers.close = [kept, &closes](evs::websocket, int code, std::string_view) {
            CHECK(code == 1006);
            closes++;
        };
        evs_ws_callbacks options = {};
        options.protocols = "chat";
        int rv = request.websocket(std::move(handlers), options);
        CHECK(rv == 0 || rv == 426);
    });
    server.start();
    CHECK(is_status(ask(server.port(), "/ws"), "426"));
    CHECK(waited_for([] { return counted::alive == 0; }));
    {
        client ws(server.port());
        ws.send("GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                "Sec-WebSocket-Protocol: chat\r\n\r\n");
        CHECK(ends_with(ws.receive_until("welcome"), std::string("\r\n\r\n\x81\x07welcome", 13)));
        ws.send(std::string("\x81\x82\0\0\0\0hi", 8));
        CHECK(ws.receive_until("hi") == "\x82\x02hi");
        CHECK(server.publish("news", "n") == 0);
        CHECK(ws.receive_until("n") == "\x81\x01n");
        ws.send(std::string("\x81\x85\0\0\0\0throw", 11));
        CHECK(ws.receive_until("\xf3") == "\x88\x02\x03\xf3"); // 1011
    }
    CHECK(waited_for([&] { return closes == 1; }));
    CHECK(waited_for([] { return counted::alive == 0; }));
    CHECK(log.has("message of a WebSocket threw: a bad message"));
    server.stop(0);
}

void a_loop_of_the_hosts_own()
{
    evs::server server;
    server.config.listen = "none";
    bool is_done = false;
    server.route("GET /", answer_plainly);
    server.start();
    server.after(1, [&] {
        CHECK(server.poll(0) == -EBUSY);
        is_done = true;
    });
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 && evserve_adopt(server.get(), pair[0]) == 0);
    CHECK(write(pair[1], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27) == 27);
    while (server.poll(-1) > 0) {
        if (is_done && server.stats().requests == 1) {
            server.stop(0);
        }
    }
    CHECK(is_done && server.wait() >= 0 && server.stats().requests == 1);
    close(pair[1]);
}

void a_start_that_fails_throws_what_was_wrong()
{
    evs::server server;
    server.config.listen = "nowhere";
    try {
        server.start();
        CHECK(!"started");
    } catch (const evs::error &thrown) {
        CHECK(std::strstr(thrown.what(), "nowhere") != nullptr);
    }
    auto what = [](auto fn) -> std::string {
        try {
            fn();
            return "nothing";
        } catch (const evs::error &thrown) {
            return thrown.what();
        }
    };
    evs::server wrong;
    CHECK(what([&] { wrong.route("GET /x", nullptr); }) == "evs::server::route: \"GET /x\" has no function");
    CHECK(what([&] { wrong.mount({}); }) == "evs::server::mount: the mount has no prefix");
    CHECK(what([&] { wrong.reload_later({}); }) == "evs::server::reload_later: the server has not been started");
    CHECK(what([&] { wrong.reload(); }) == "evs::server::reload: the server has not been started");
    CHECK(wrong.wait() == -EINVAL && wrong.poll(0) == -EINVAL && wrong.fd() == -EINVAL && wrong.port() == -1);
    CHECK(wrong.after(1, [] {}) == -EINVAL && wrong.post([] {}) == -EINVAL && wrong.cancel(1) == -EINVAL);
    CHECK(wrong.publish("news", "text") == -EINVAL);
    CHECK(wrong.address().empty() && wrong.stats().requests == 0);
    wrong.stop(0);
    wrong.wake();
    wrong.config.listen = "none";
    wrong.on_listening([] { throw std::runtime_error("no such user"); });
    CHECK(what([&] { wrong.start(); }) == "on_listening: no such user");
    wrong.on_listening([] {});
    wrong.config.arg = &wrong;
    CHECK(what([&] { wrong.start(); }) == "evs::server::start: config.arg is set, which evs::server sets itself");
    wrong.config.arg = nullptr;
    wrong.start();
    CHECK(what([&] { wrong.start(); }) == "evs::server::start: the server has been started already");
    CHECK(what([&] { wrong.route("GET /x", answer_plainly); }) ==
          "evs::server::route: the server has been started already");
    CHECK(wrong.post(nullptr) == -EINVAL && wrong.every(1, nullptr) == -EINVAL);
    evs::server never_started;
    evs::later nothing;
    evs::ticket none;
    CHECK(!nothing && !none && none.reply(200, nullptr, "") != 0);
}

} // namespace

int main()
{
    requests_are_answered_in_every_way();
    timers_watches_and_posts_run_on_the_server();
    fetches_call_back_once();
    what_functions_hold_may_use_the_server_until_it_goes();
    a_function_that_is_refused_may_use_the_server();
    websockets_call_their_functions();
    a_loop_of_the_hosts_own();
    a_start_that_fails_throws_what_was_wrong();
    std::fprintf(stderr, "%d checks failed\n", failures);
    return failures == 0 ? 0 : 1;
}
