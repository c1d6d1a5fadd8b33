#ifndef EVSERVE_HPP
#define EVSERVE_HPP

// evserve for C++17: the functions of evserve.h with lambdas, std::string_view, and handles that clean up. This is a
// header without a library of its own: link what a C program links.
//
//     evs::server app;
//     app.config.listen = "127.0.0.1:8080";
//     app.route("GET /hello/:name", [](evs::request request) {
//         request.reply(200, "text/plain", "hello, " + std::string(request.param("name")) + "\n");
//     });
//     app.start(); // throws evs::error, whose what() says what is wrong
//     app.wait();
//
// evserve.h has the rules: which function you may call when and on which thread, and how long strings live. Two things
// are different here:
//
// Exceptions never reach the library. When a handler throws, the log has a line with the path and what(), and the
// client gets a 500, or, if the response has begun, an end that it can tell from a complete one. When another callback
// throws, the log has a line. The functions here do not throw unless they say so; those that can fail return -errno.
//
// A missing text is a string_view whose data() is nullptr: has(request.query("a")) distinguishes "?a=" from no a at
// all.

#if __cplusplus < 201703L
#error "evserve.hpp needs C++17: compile with -std=c++17 or later"
#endif

#include "evserve.h"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <iterator>
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace evs
{

// A start or a reload that failed, or a mistake in setting up a server.
class error : public std::runtime_error
{
    using std::runtime_error::runtime_error;
};

// Whether a text is there, even if it is empty.
inline bool has(std::string_view text) noexcept
{
    return text.data() != nullptr;
}

namespace detail
{

inline std::string_view view(const char *text) noexcept
{
    return text == nullptr ? std::string_view() : std::string_view(text);
}

// Log what a function of the host has thrown; called in a catch block. Before the server has started there is no log,
// and this does nothing.
inline void log_thrown(evserve *server, const char *who, evs_request *handle = nullptr) noexcept
{
    if (server == nullptr) {
        return;
    }
    char line[512];
    const char *what = "something that is not a std::exception";
    try {
        throw;
    } catch (const std::exception &thrown) {
        what = thrown.what();
        std::snprintf(line, sizeof line, "%s%s%s threw: %s", handle == nullptr ? "" : evs_path(handle),
                      handle == nullptr ? "" : ": ", who, what);
    } catch (...) {
        std::snprintf(line, sizeof line, "%s%s%s threw %s", handle == nullptr ? "" : evs_path(handle),
                      handle == nullptr ? "" : ": ", who, what);
    }
    evserve_log(server, EVSERVE_LOG_ERROR, line);
}

} // namespace detail

class later;

// A WebSocket, on the thread of its request: valid from the function "open" until "close" has returned. Copy it freely.
class websocket
{
  public:
    // What happens to it; each may be empty. What a function throws is logged, and the WebSocket is closed with 1011.
    struct handlers {
        std::function<void(websocket)> open = {};
        std::function<void(websocket, std::string_view data, bool is_text)> message = {};
        std::function<void(websocket)> drain = {};
        std::function<void(websocket, std::string_view data)> pong = {};
        std::function<void(websocket, int code, std::string_view reason)> close = {}; // ws is of no use any more
    };

    explicit websocket(evs_ws *handle) noexcept : handle_(handle)
    {
    }
    evs_ws *get() const noexcept
    {
        return handle_;
    }
    bool operator==(const websocket &other) const noexcept
    {
        return handle_ == other.handle_;
    }

    // Return as evs_ws_send(), evs_ws_ping() and evs_ws_close(): 1, 0 or -errno.
    int send(std::string_view text) const noexcept
    {
        return evs_ws_send(handle_, EVS_WS_TEXT, text.data(), text.size());
    }
    int send_binary(std::string_view data) const noexcept
    {
        return evs_ws_send(handle_, EVS_WS_BINARY, data.data(), data.size());
    }
    int ping(std::string_view data = {}) const noexcept
    {
        return evs_ws_ping(handle_, data.data(), data.size());
    }
    int close(int code = 1000, const char *reason = nullptr) const noexcept
    {
        return evs_ws_close(handle_, code, reason);
    }
    void pause() const noexcept
    {
        evs_ws_pause(handle_);
    }
    void resume() const noexcept
    {
        evs_ws_resume(handle_);
    }
    std::size_t queued() const noexcept
    {
        return evs_ws_queued(handle_);
    }
    int subscribe(const char *topic, unsigned flags = 0) const noexcept
    {
        return evs_ws_subscribe(handle_, topic, flags);
    }
    int unsubscribe(const char *topic) const noexcept
    {
        return evs_ws_unsubscribe(handle_, topic);
    }
    std::string peer() const
    {
        char text[EVSERVE_ADDRESS_MAX];
        return evs_ws_peer(handle_, text, sizeof text);
    }
    std::string client() const
    {
        char text[64];
        return evs_ws_client(handle_, text, sizeof text);
    }
    std::string protocol() const
    {
        char text[1024];
        return evs_ws_protocol(handle_, text, sizeof text);
    }

  private:
    friend class request;

    // What a WebSocket keeps until its close.
    struct state {
        handlers fns;
        evserve *server;
    };

    template <class Fn> static void run(evs_ws *handle, state *self, const char *who, Fn fn) noexcept
    {
        try {
            fn();
        } catch (...) {
            detail::log_thrown(self->server, who);
            if (handle != nullptr) {
                evs_ws_close(handle, 1011, nullptr); // -EPIPE if it is closing already
            }
        }
    }
    static void on_open(evs_ws *handle, void *arg)
    {
        auto *self = static_cast<state *>(arg);
        if (self->fns.open) {
            run(handle, self, "open of a WebSocket", [&] { self->fns.open(websocket(handle)); });
        }
    }
    static void on_message(evs_ws *handle, int kind, const void *data, std::size_t len, void *arg)
    {
        auto *self = static_cast<state *>(arg);
        if (self->fns.message) {
            run(handle, self, "message of a WebSocket", [&] {
                self->fns.message(websocket(handle), {static_cast<const char *>(data), len}, kind == EVS_WS_TEXT);
            });
        }
    }
    static void on_drain(evs_ws *handle, void *arg)
    {
        auto *self = static_cast<state *>(arg);
        if (self->fns.drain) {
            run(handle, self, "drain of a WebSocket", [&] { self->fns.drain(websocket(handle)); });
        }
    }
    static void on_pong(evs_ws *handle, const void *data, std::size_t len, void *arg)
    {
        auto *self = static_cast<state *>(arg);
        if (self->fns.pong) {
            run(handle, self, "pong of a WebSocket", [&] {
                self->fns.pong(websocket(handle), {static_cast<const char *>(data), len});
            });
        }
    }
    static void on_close(evs_ws *handle, int code, const char *reason, void *arg)
    {
        std::unique_ptr<state> self(static_cast<state *>(arg));
        if (self->fns.close) {
            run(nullptr, self.get(), "close of a WebSocket", [&] { self->fns.close(websocket(handle), code, reason); });
        }
    }

    evs_ws *handle_;
};

// A request, for as long as its handler runs; copy it freely. To respond after that, use defer(), or a ticket if
// another thread responds.
class request
{
  public:
    explicit request(evs_request *handle) noexcept : handle_(handle)
    {
    }
    evs_request *get() const noexcept
    {
        return handle_;
    }

    std::string_view method() const noexcept
    {
        return evs_method(handle_);
    }
    std::string_view target() const noexcept
    {
        return evs_target(handle_);
    }
    std::string_view path() const noexcept
    {
        return evs_path(handle_);
    }
    std::string_view query_string() const noexcept
    {
        return evs_query_string(handle_);
    }
    std::string_view param(const char *name) const noexcept
    {
        return detail::view(evs_param(handle_, name));
    }
    std::string_view query(const char *name) const noexcept
    {
        return detail::view(evs_query(handle_, name));
    }
    std::string_view header(const char *name) const noexcept
    {
        return detail::view(evs_header(handle_, name));
    }
    std::string_view cookie(const char *name) const noexcept
    {
        return detail::view(evs_cookie(handle_, name));
    }
    std::string_view form(const char *name) const noexcept
    {
        return detail::view(evs_form(handle_, name));
    }

    // Call fn(name, value) for each field, parameter or cookie, in the order sent.
    template <class Fn> void each_header(Fn &&fn) const
    {
        each(evs_header_at, fn);
    }
    template <class Fn> void each_query(Fn &&fn) const
    {
        each(evs_query_at, fn);
    }
    template <class Fn> void each_cookie(Fn &&fn) const
    {
        each(evs_cookie_at, fn);
    }
    template <class Fn> void each_form(Fn &&fn) const
    {
        each(evs_form_at, fn);
    }

    std::string_view body() const noexcept
    {
        std::size_t len;
        const void *data = evs_body(handle_, &len);
        return {static_cast<const char *>(data), len};
    }

    // As evs_read(): EVS_PIECE with a piece, EVS_WAIT, EVS_END, or a negated status.
    int read(std::string_view &piece) const noexcept
    {
        return read_with(evs_read, piece);
    }

    // As evs_part_next() and evs_part_read().
    int next_part(evs_part &part) const noexcept
    {
        part = {};
        part.size = sizeof part;
        return evs_part_next(handle_, &part);
    }
    int read_part(std::string_view &piece) const noexcept
    {
        return read_with(evs_part_read, piece);
    }

    std::string peer() const
    {
        char text[64];
        return evs_peer(handle_, text, sizeof text);
    }
    // The name with which the client has passed a rule that asks for one; "" if no rule did.
    std::string user() const
    {
        char text[1024];
        const char *name = evs_user(handle_, text, sizeof text);
        return name == nullptr ? "" : name;
    }
    std::string client() const
    {
        char text[64];
        return evs_client(handle_, text, sizeof text);
    }
    std::string host_name() const
    {
        std::string text(256, '\0');
        std::size_t len = evs_host_name(handle_, &text[0], text.size());
        if (len >= text.size()) {
            text.resize(len + 1);
            evs_host_name(handle_, &text[0], text.size());
        }
        text.resize(len);
        return text;
    }
    std::string_view id() const noexcept
    {
        return detail::view(evs_request_id(handle_));
    }
    // A header field of the current part, and the reason why a body is not available; data() is nullptr if there is
    // none.
    std::string_view part_header(const char *name) const noexcept
    {
        return detail::view(evs_part_header(handle_, name));
    }
    std::string_view body_error() const noexcept
    {
        return detail::view(evs_body_error(handle_));
    }
    int form_count() const noexcept // or a negated status
    {
        return evs_form_count(handle_);
    }

    unsigned thread() const noexcept
    {
        return evs_thread(handle_);
    }
    int listener() const noexcept
    {
        return evs_listener(handle_);
    }
    std::string_view scheme() const noexcept // "https" or "http"
    {
        return detail::view(evs_scheme(handle_));
    }
    // As evs_proxied(): 1, or 0 for a connection without a PROXY header.
    int proxied(evs_proxied_info &info) const noexcept
    {
        info = {};
        info.size = sizeof info;
        return evs_proxied(handle_, &info);
    }
    // As evs_tls(): 1, or 0 for a connection without TLS.
    int tls(evs_tls_info &info) const noexcept
    {
        info = {};
        info.size = sizeof info;
        return evs_tls(handle_, &info);
    }
    int begun() const noexcept
    {
        return evs_begun(handle_);
    }

    // Responses. All return what their namesakes in evserve.h return.
    int set_header(const char *name, const std::string &value) const noexcept
    {
        return evs_set_header(handle_, name, value.c_str());
    }
    int add_header(const char *name, const std::string &value) const noexcept
    {
        return evs_add_header(handle_, name, value.c_str());
    }
    int reply(int status, const char *type, std::string_view content) const noexcept
    {
        return evs_reply(handle_, status, type, content.data(), content.size());
    }
    int reply(int status) const noexcept
    {
        return evs_reply(handle_, status, nullptr, nullptr, 0);
    }

    // Send content without copying it, and keep it alive until it is sent: a thousand streams can share one
    // std::shared_ptr<const std::string>. Throws std::bad_alloc.
    int reply(int status, const char *type, std::shared_ptr<const std::string> content) const
    {
        const std::string &text = *content;
        auto held = std::make_unique<std::shared_ptr<const std::string>>(std::move(content));
        return evs_reply_ref(handle_, status, type, text.data(), text.size(), drop_shared, held.release());
    }
    int file(const char *root, const std::string &path) const noexcept
    {
        return evs_file(handle_, root, path.c_str());
    }
    // Respond with the events of a topic. The size of the options is set here. Returns as evs_events().
    int events(evs_events_options options) const noexcept
    {
        options.size = sizeof options;
        return evs_events(handle_, &options);
    }
    int begin(int status, const char *type, std::int64_t length = -1) const noexcept
    {
        return evs_begin(handle_, status, type, length);
    }
    // Accept a WebSocket. In options, set origins, protocols, limits and compress; its size, arg and functions are set
    // here. Returns as evs_websocket(): 0, the status that was sent instead, or -errno.
    int websocket(evs::websocket::handlers handlers, evs_ws_callbacks options = {}) const
    {
        using socket = evs::websocket;
        auto made = std::make_unique<socket::state>(socket::state{std::move(handlers), evs_server(handle_)});
        options.size = sizeof options;
        options.arg = made.get();
        options.on_open = socket::on_open;
        options.on_message = socket::on_message;
        options.on_drain = socket::on_drain;
        options.on_pong = socket::on_pong;
        options.on_close = socket::on_close;
        int rv = evs_websocket(handle_, &options);
        if (rv == 0) {
            (void)made.release(); // on_close frees it
        }
        return rv;
    }
    int write(std::string_view content) const noexcept
    {
        return evs_write(handle_, content.data(), content.size());
    }
    int write(std::shared_ptr<const std::string> content) const
    {
        const std::string &text = *content;
        auto held = std::make_unique<std::shared_ptr<const std::string>>(std::move(content));
        return evs_write_ref(handle_, text.data(), text.size(), drop_shared, held.release());
    }
    int end() const noexcept
    {
        return evs_end(handle_);
    }
    int abort() const noexcept
    {
        return evs_abort(handle_);
    }

    // Respond after the handler has returned, on the same thread. Throws std::bad_alloc.
    later defer() const;

  private:
    static void drop_shared(void *arg) noexcept
    {
        delete static_cast<std::shared_ptr<const std::string> *>(arg);
    }

    template <class At, class Fn> void each(At at, Fn &fn) const
    {
        const char *name;
        const char *value;
        for (unsigned i = 0; at(handle_, i, &name, &value) != 0; i++) {
            fn(std::string_view(name), std::string_view(value));
        }
    }
    template <class Read> int read_with(Read from, std::string_view &piece) const noexcept
    {
        const void *data = nullptr;
        std::size_t len = 0;
        int rv = from(handle_, &data, &len);
        piece = rv == EVS_PIECE ? std::string_view(static_cast<const char *>(data), len) : std::string_view();
        return rv;
    }

    evs_request *handle_;
};

// A request that gets its response after its handler has returned, on the thread of the request:
//
//     app.route("GET /slow", [](evs::request request) {
//         auto response = std::make_shared<evs::later>(request.defer());
//         response->after(1000, [response] { response->request().reply(200, "text/plain", "done\n"); });
//     });
//
// It converts to false once the response is complete or the client has gone. If a later is destroyed while its request
// waits, it aborts the request, so that no client waits for a response that never comes. It can be moved, not copied.
class later
{
  public:
    later() noexcept = default; // no request
    later(later &&other) noexcept : state_(std::exchange(other.state_, nullptr))
    {
    }
    later &operator=(later &&other) noexcept
    {
        std::swap(state_, other.state_);
        return *this;
    }
    ~later()
    {
        if (state_ != nullptr) {
            state_->abort();
            state_->is_held = false;
            state_->drop_unless_used();
        }
    }

    explicit operator bool() const noexcept
    {
        return state_ != nullptr && state_->handle != nullptr && evs_begun(state_->handle) != 2;
    }

    // The request; only while this converts to true.
    evs::request request() const noexcept
    {
        return evs::request(state_->handle);
    }

    // Call fn(event) for EVS_DRAIN, EVS_DATA, EVS_STOPPING and, as the last one, EVS_GONE, when this already converts
    // to false.
    void on(std::function<void(int event)> fn)
    {
        if (state_ != nullptr) {
            state_->fn = std::move(fn);
        }
    }

    // Call fn once, ms milliseconds from now; a second call replaces the first. Returns 0, -ESRCH when the request is
    // over, or -ENOMEM.
    int after(std::uint32_t ms, std::function<void()> fn)
    {
        if (!*this) {
            return -ESRCH;
        }
        state_->timer = std::move(fn);
        return evs_after(state_->handle, ms);
    }

  private:
    friend class evs::request;

    // Lives until the later is destroyed and the request is over. A function is moved out of its member while it runs:
    // it may set another one, or end the request, which destroys all of this.
    struct state {
        evs_request *handle;
        evserve *server;
        bool is_held = true;  // by a later
        bool is_over = false; // the request
        unsigned depth = 0;   // functions of ours on the stack
        std::function<void(int event)> fn = {};
        std::function<void()> timer = {};

        void abort() noexcept
        {
            evs_request *given_up = std::exchange(handle, nullptr);
            if (given_up != nullptr && evs_begun(given_up) != 2) {
                evs_abort(given_up);
            }
        }

        void drop_unless_used() noexcept
        {
            if (!is_held && is_over && depth == 0) {
                delete this;
            }
        }

        void call(int event)
        {
            if (event == EVS_TIMER) {
                auto run = std::exchange(timer, nullptr);
                if (run) {
                    run();
                }
            } else if (fn) {
                auto run = std::exchange(fn, nullptr);
                run(event);
                if (!fn && handle != nullptr) {
                    fn = std::move(run);
                }
            }
        }
    };

    explicit later(evs_request *handle) : state_(new state{handle, evs_server(handle)})
    {
        if (evs_on_done(handle, on_done, state_) < 0) {
            delete state_;
            throw std::bad_alloc();
        }
        evs_on(handle, on_event, state_);
    }

    static void on_event(evs_request *, int event, void *arg) noexcept
    {
        auto *self = static_cast<state *>(arg);
        self->depth++;
        if (event == EVS_GONE) {
            self->handle = nullptr;
        }
        try {
            self->call(event);
        } catch (...) {
            detail::log_thrown(self->server, "a function of evs::later");
            self->abort();
        }
        self->depth--;
        self->drop_unless_used();
    }

    static void on_done(void *arg) noexcept
    {
        auto *self = static_cast<state *>(arg);
        self->handle = nullptr;
        self->is_over = true;
        self->depth++; // the functions may own the later itself
        auto fn = std::exchange(self->fn, nullptr);
        auto timer = std::exchange(self->timer, nullptr);
        fn = nullptr;
        timer = nullptr;
        self->depth--;
        self->drop_unless_used();
    }

    state *state_ = nullptr;
};

inline later request::defer() const
{
    return later(handle_);
}

// A request that any thread may respond to. It converts to false if it is empty, which it also is if memory was out;
// its functions report when the request is over (-ESRCH). A ticket that is destroyed without having ended the response
// aborts it, as later does. It may outlive the server, but then its functions must not be called. It can be moved, not
// copied. Each ticket uses one of the EVS_DONE_MAX functions of evs_on_done().
class ticket
{
  public:
    ticket() noexcept = default;
    explicit ticket(request from) noexcept : server_(evs_server(from.get()))
    {
        try {
            auto made = std::make_shared<fate>();
            auto kept = std::make_unique<std::shared_ptr<fate>>(made);
            evs_ticket id = evs_defer(from.get());
            if (id != 0 && evs_on_done(from.get(), on_done, kept.get()) == 0) {
                (void)kept.release(); // on_done() owns it
                fate_ = std::move(made);
                id_ = id;
            }
        } catch (const std::exception &) { // no memory: it stays empty
        }
    }
    ticket(ticket &&other) noexcept
        : server_(other.server_), id_(std::exchange(other.id_, 0)), fate_(std::move(other.fate_))
    {
    }
    ticket &operator=(ticket &&other) noexcept
    {
        std::swap(server_, other.server_);
        std::swap(id_, other.id_);
        std::swap(fate_, other.fate_);
        return *this;
    }
    ~ticket()
    {
        if (id_ != 0) {
            std::lock_guard<std::recursive_mutex> lock(fate_->lock);
            if (!fate_->is_over) { // so the server exists for as long as the lock is held
                evserve_abort_to(server_, id_);
            }
        }
    }

    explicit operator bool() const noexcept
    {
        return id_ != 0;
    }

    int set_header(const char *name, const std::string &value) noexcept
    {
        return evserve_set_header_to(server_, id_, name, value.c_str());
    }
    int reply(int status, const char *type, std::string_view content) noexcept
    {
        return ended(evserve_reply_to(server_, id_, status, type, content.data(), content.size()));
    }
    int begin(int status, const char *type, std::int64_t length = -1) noexcept
    {
        return evserve_begin_to(server_, id_, status, type, length);
    }
    int write(std::string_view content) noexcept
    {
        return evserve_write_to(server_, id_, content.data(), content.size());
    }
    int ready(int timeout_ms) noexcept
    {
        return evserve_ready_to(server_, id_, timeout_ms);
    }
    int end() noexcept
    {
        return ended(evserve_end_to(server_, id_));
    }

    // Whether the response is no longer wanted.
    bool is_gone() noexcept
    {
        int rv = ready(0);
        return rv == -ESRCH || rv == -ESHUTDOWN;
    }

  private:
    // Whether the request is over; its thread sets this. The lock is recursive, because aborting a request on its own
    // thread ends it at once.
    struct fate {
        std::recursive_mutex lock;
        bool is_over = false;
    };

    static void on_done(void *arg) noexcept
    {
        std::unique_ptr<std::shared_ptr<fate>> kept(static_cast<std::shared_ptr<fate> *>(arg));
        std::lock_guard<std::recursive_mutex> lock((*kept)->lock);
        (*kept)->is_over = true;
    }

    int ended(int rv) noexcept
    {
        if (rv == 0) {
            id_ = 0;
        }
        return rv;
    }

    evserve *server_ = nullptr;
    evs_ticket id_ = 0;
    std::shared_ptr<fate> fate_;
};

// A server: set it up, start() it, and run it as evserve.h describes. Its destructor calls evserve_free(); before that,
// it destroys the functions of timers and watches. It can be neither copied nor moved. Handlers may use it before
// start() has returned.
class server
{
  public:
    server() = default;
    server(const server &) = delete;
    server &operator=(const server &) = delete;
    ~server()
    {
        evserve *handle = handle_;
        if (handle != nullptr && config.reactors > 0) {
            evserve_stop(handle, 0);
        }
        if (handle == nullptr || config.reactors == 0 || evserve_wait(handle) >= 0) {
            std::list<closure> dropped; // nothing calls them any more, and their captures may call us when destroyed
            std::lock_guard<std::mutex> lock(lock_);
            dropped.swap(closures_);
        }
        evserve_free(handle);
    }

    // For everything that the functions below do not set. Leave arg, routes and mounts alone, and the functions that
    // you set below: start() fills them in.
    evserve_config config = EVSERVE_CONFIG_INIT;

    // Call these before start(), which reads all of them. Arguments that cannot be right throw evs::error.

    // A route as in evs_route: route("GET /users/:id", fn), route("PUT /files/*path", fn, EVS_STREAM_BODY).
    void route(std::string pattern, std::function<void(request)> fn, unsigned flags = 0,
               const evs_limits *limits = nullptr)
    {
        if (!fn) {
            throw error("evs::server::route: \"" + pattern + "\" has no function");
        }
        require_not_started("route");
        routes_.push_back({this, std::move(pattern), std::move(fn), flags, limits});
    }
    void mount(const evs_mount &mount)
    {
        if (mount.prefix == nullptr) {
            throw error("evs::server::mount: the mount has no prefix");
        }
        require_not_started("mount");
        mounts_.push_back(mount);
    }
    void log(std::function<void(int level, std::string_view line)> fn)
    {
        log_ = std::move(fn);
    }
    void before(std::function<bool(request)> fn) // true: it has responded, or will
    {
        before_ = std::move(fn);
    }
    void not_found(std::function<void(request)> fn)
    {
        not_found_ = std::move(fn);
    }
    void on_error(std::function<void(request, int status)> fn)
    {
        on_error_ = std::move(fn);
    }
    void on_listening(std::function<void()> fn) // if it throws, start() throws evs::error with the text
    {
        on_listening_ = std::move(fn);
    }
    void finished(std::function<void(const evs_outcome &)> fn)
    {
        finished_ = std::move(fn);
    }
    void on_wake(std::function<void()> fn)
    {
        on_wake_ = std::move(fn);
    }

    // Start the server, once. Throws evs::error or std::bad_alloc.
    void start()
    {
        require_not_started("start");
        require_free();
        std::vector<evs_route> routes = list_routes();
        std::vector<evs_mount> mounts = mounts_;
        mounts.push_back({});
        evserve_config used = config;
        used.routes = routes.data();
        used.mounts = mounts.data();
        used.arg = this;
        set_functions(used);
        char err[EVSERVE_ERROR_MAX];
        handle_ = evserve_start(&used, err, sizeof err);
        if (handle_ == nullptr) {
            throw error(err);
        }
    }

    // Call these after start(); they do what their namesakes do. Before it they return -EINVAL (port(): -1), an empty
    // value, or do nothing.
    evserve *get() const noexcept
    {
        return handle_;
    }
    int wait() noexcept
    {
        return handle_ == nullptr ? -EINVAL : evserve_wait(handle_);
    }
    int poll(int timeout_ms) noexcept
    {
        return handle_ == nullptr ? -EINVAL : evserve_poll(handle_, timeout_ms);
    }
    int fd() noexcept
    {
        return handle_ == nullptr ? -EINVAL : evserve_fd(handle_);
    }
    void stop(std::uint32_t drain_ms) noexcept
    {
        if (handle_ != nullptr) {
            evserve_stop(handle_, drain_ms);
        }
    }
    void wake() noexcept
    {
        if (handle_ != nullptr) {
            evserve_wake(handle_);
        }
    }
    std::string_view address(unsigned listener = 0) const noexcept
    {
        return detail::view(handle_ == nullptr ? nullptr : evserve_address(handle_, listener));
    }
    int port(unsigned listener = 0) const noexcept
    {
        return handle_ == nullptr ? -1 : evserve_port(handle_, listener);
    }
    bool is_listening(unsigned listener = 0) const noexcept
    {
        return handle_ != nullptr && evserve_is_listening(handle_, listener) == 1;
    }
    std::string_view scheme(unsigned listener = 0) const noexcept
    {
        return detail::view(handle_ == nullptr ? nullptr : evserve_scheme(handle_, listener));
    }
    bool expects_proxy(unsigned listener = 0) const noexcept
    {
        return handle_ != nullptr && evserve_expects_proxy(handle_, listener) == 1;
    }
    evs_stats stats() const noexcept
    {
        evs_stats stats = {};
        stats.size = sizeof stats;
        if (handle_ != nullptr) {
            evserve_stats(handle_, &stats);
        }
        return stats;
    }

    // If this throws evs::error, the server goes on as it was.
    void reload()
    {
        char err[EVSERVE_ERROR_MAX];
        if (handle_ == nullptr) {
            throw error("evs::server::reload: the server has not been started");
        }
        if (evserve_reload(handle_, err, sizeof err) < 0) {
            throw error(err);
        }
    }

    // The same without waiting: done(error, text) is called on the server's first thread, with 0 or -errno, or by the
    // destructor. Throws evs::error if no reload can begin.
    void reload_later(std::function<void(int error, const char *text)> done)
    {
        char err[EVSERVE_ERROR_MAX];
        if (handle_ == nullptr) {
            throw error("evs::server::reload_later: the server has not been started");
        }
        struct waiter {
            server *owner;
            std::function<void(int, const char *)> done;
        };
        auto made = std::make_unique<waiter>(waiter{this, std::move(done)});
        int rv = evserve_reload_later(
            handle_,
            [](void *arg, int failure, const char *text) {
                std::unique_ptr<waiter> self(static_cast<waiter *>(arg));
                if (self->done) {
                    self->owner->guard("done of a reload", [&] { self->done(failure, text); });
                }
            },
            made.get(), err, sizeof err);
        if (rv < 0) {
            throw error(err);
        }
        (void)made.release(); // done will be called
    }

    // Call fn on a thread of the server. Any thread. Returns 0 or -errno; throws std::bad_alloc.
    int post(std::function<void()> fn, unsigned thread = 0)
    {
        if (handle_ == nullptr || !fn) {
            return -EINVAL;
        }
        auto made = std::make_unique<closure>(closure{this, std::move(fn), {}, thread, 0});
        int rv = evserve_post_to(
            handle_, thread,
            [](void *arg) {
                std::unique_ptr<closure> self(static_cast<closure *>(arg));
                self->owner->guard("a posted function", self->fn);
            },
            made.get());
        if (rv == 0) {
            (void)made.release(); // fn will be called, by evserve_free() at the latest
        }
        return rv;
    }

    // Publish a message to the subscribers of a topic. Any thread. Returns 0 or -errno, as evserve_publish().
    int publish(const char *topic, std::string_view data) noexcept
    {
        return handle_ == nullptr ? -EINVAL : evserve_publish(handle_, topic, data.data(), data.size());
    }

    // Timers, and fds to watch, on a thread of the server. Any thread. Return an id for cancel(), or -errno; throw
    // std::bad_alloc. fn is destroyed after its last call, after cancel(), or with the server.
    std::int64_t after(std::uint32_t ms, std::function<void()> fn, unsigned thread = 0)
    {
        return keep({this, std::move(fn), {}, thread, 0},
                    [&](closure *made) { return evserve_after(handle_, thread, ms, run_once, made); });
    }
    std::int64_t every(std::uint32_t ms, std::function<void()> fn, unsigned thread = 0)
    {
        return keep({this, std::move(fn), {}, thread, 0}, [&](closure *made) {
            return evserve_every(
                handle_, thread, ms,
                [](void *arg) {
                    auto *self = static_cast<closure *>(arg);
                    self->owner->guard("a timer", self->fn);
                },
                made);
        });
    }
    std::int64_t watch(int fd, unsigned events, std::function<void(int fd, unsigned events, int error)> fn,
                       unsigned thread = 0)
    {
        return keep({this, {}, std::move(fn), thread, 0}, [&](closure *made) {
            return evserve_watch(
                handle_, thread, fd, events,
                [](int ready, unsigned what, int failure, void *arg) {
                    auto *self = static_cast<closure *>(arg);
                    self->owner->guard("a watch", [&] { self->watch(ready, what, failure); });
                },
                made);
        });
    }
    // A request to another server, whose size member need not be set. Call this in a callback on the thread. done is
    // called there with the response, or with what went wrong, once, by the destructor at the latest. Throws evs::error
    // if the request cannot begin.
    void fetch(evs_fetch_request request, std::function<void(const evs_fetched &)> done, unsigned thread = 0)
    {
        char err[EVSERVE_ERROR_MAX];
        if (handle_ == nullptr || !done) {
            throw error("evs::server::fetch: the server has not been started, or done is empty");
        }
        struct waiter {
            server *owner;
            std::function<void(const evs_fetched &)> done;
        };
        auto made = std::make_unique<waiter>(waiter{this, std::move(done)});
        request.size = sizeof request;
        std::int64_t id = evs_fetch(
            handle_, thread, &request,
            [](const evs_fetched *fetched, void *arg) {
                std::unique_ptr<waiter> self(static_cast<waiter *>(arg));
                self->owner->guard("done of a fetch", [&] { self->done(*fetched); });
            },
            made.get(), err, sizeof err);
        if (id < 0) {
            throw error(err);
        }
        (void)made.release(); // done will be called
    }
    int cancel(std::int64_t id)
    {
        int rv = handle_ == nullptr ? -EINVAL : evserve_cancel(handle_, id);
        std::lock_guard<std::mutex> lock(lock_);
        for (auto &kept : closures_) {
            if (rv == 0 && kept.id == id) { // another thread may be running it: destroy it after that
                evserve_post_to(handle_, kept.thread, drop, &kept);
                break;
            }
        }
        return rv;
    }

  private:
    struct host_route {
        server *owner;
        std::string pattern;
        std::function<void(request)> fn;
        unsigned flags;
        const evs_limits *limits;
    };
    struct closure {
        server *owner;
        std::function<void()> fn;
        std::function<void(int fd, unsigned events, int error)> watch;
        unsigned thread;
        std::int64_t id;
    };

    void require_not_started(const char *function) const
    {
        if (handle_ != nullptr) {
            throw error(std::string("evs::server::") + function + ": the server has been started already");
        }
    }

    // A function or an array that is set twice would be lost silently.
    void require_free() const
    {
        const char *twice = config.arg != nullptr                             ? "arg"
                            : config.routes != nullptr                        ? "routes"
                            : config.mounts != nullptr                        ? "mounts"
                            : config.log != nullptr && log_                   ? "log"
                            : config.before != nullptr && before_             ? "before"
                            : config.finished != nullptr && finished_         ? "finished"
                            : config.not_found != nullptr && not_found_       ? "not_found"
                            : config.on_error != nullptr && on_error_         ? "on_error"
                            : config.on_listening != nullptr && on_listening_ ? "on_listening"
                            : config.on_wake != nullptr && on_wake_           ? "on_wake"
                                                                              : nullptr;
        if (twice != nullptr) {
            throw error(std::string("evs::server::start: config.") + twice + " is set, which evs::server sets itself");
        }
    }

    void set_functions(evserve_config &used)
    {
        if (log_) {
            used.log = [](void *arg, int level, const char *line) {
                try {
                    static_cast<server *>(arg)->log_(level, line);
                } catch (...) { // there is no other place to report it
                }
            };
        }
        if (before_) {
            used.before = [](evs_request *handle, void *arg) { return static_cast<server *>(arg)->ask_before(handle); };
        }
        if (not_found_) {
            used.not_found = [](evs_request *handle, void *arg) {
                auto *self = static_cast<server *>(arg);
                self->answer(handle, [&] { self->not_found_(request(handle)); });
            };
        }
        if (on_error_) {
            used.on_error = [](evs_request *handle, int status, void *arg) {
                auto *self = static_cast<server *>(arg);
                self->learn(handle);
                self->guard("on_error", [&] { self->on_error_(request(handle), status); });
            };
        }
        if (finished_) {
            used.finished = [](void *arg, const evs_outcome *outcome) {
                auto *self = static_cast<server *>(arg);
                if (outcome->request != nullptr) {
                    self->learn(outcome->request);
                }
                self->guard("finished", [&] { self->finished_(*outcome); });
            };
        }
        if (on_wake_) {
            used.on_wake = [](void *arg) {
                auto *self = static_cast<server *>(arg);
                self->guard("on_wake", self->on_wake_);
            };
        }
        if (on_listening_) {
            used.on_listening = [](void *arg, char *err, std::size_t errlen) {
                try {
                    static_cast<server *>(arg)->on_listening_();
                    return 0;
                } catch (const std::exception &thrown) {
                    std::snprintf(err, errlen, "on_listening: %s", thrown.what());
                } catch (...) {
                    std::snprintf(err, errlen, "on_listening threw something that is not a std::exception");
                }
                return -1;
            };
        }
    }

    std::vector<evs_route> list_routes()
    {
        std::vector<evs_route> routes;
        for (auto &route : routes_) {
            evs_route one = {};
            one.route = route.pattern.c_str();
            one.serve = serve;
            one.arg = &route;
            one.flags = route.flags;
            one.limits = route.limits;
            routes.push_back(one);
        }
        routes.push_back({});
        return routes;
    }

    // A handler has thrown: log it, and abort the request unless its response is complete.
    static void fail(evs_request *handle, evserve *server) noexcept
    {
        bool is_answered = evs_begun(handle) == 2;
        detail::log_thrown(server, is_answered ? "a handler that had responded" : "a handler",
                           is_answered ? nullptr : handle);
        if (!is_answered) {
            evs_abort(handle);
        }
    }

    // The threads of the server begin before start() has got its handle, so the first request tells it.
    void learn(evs_request *handle) noexcept
    {
        if (handle_.load(std::memory_order_relaxed) == nullptr) {
            handle_ = evs_server(handle);
        }
    }

    static void serve(evs_request *handle, void *arg) noexcept
    {
        auto *route = static_cast<host_route *>(arg);
        route->owner->answer(handle, [&] { route->fn(request(handle)); });
    }

    template <class Fn> void answer(evs_request *handle, Fn &&fn) noexcept
    {
        evserve *owner = evs_server(handle);
        learn(handle);
        try {
            fn();
        } catch (...) {
            fail(handle, owner);
        }
    }

    int ask_before(evs_request *handle) noexcept
    {
        learn(handle);
        try {
            return before_(request(handle)) ? 1 : 0;
        } catch (...) {
            fail(handle, handle_);
            return 1;
        }
    }

    template <class Fn> void guard(const char *what, Fn &&fn) noexcept
    {
        try {
            fn();
        } catch (...) {
            detail::log_thrown(handle_, what);
        }
    }

    // Holds the lock until the id is known, because the function may run on another thread at once.
    template <class Begin> std::int64_t keep(closure made, Begin begin)
    {
        if (handle_ == nullptr || (!made.fn && !made.watch)) {
            return -EINVAL;
        }
        std::list<closure> refused; // destroyed without the lock: its captures may call us
        std::lock_guard<std::mutex> lock(lock_);
        closures_.push_back(std::move(made));
        std::int64_t id = begin(&closures_.back());
        if (id < 0) {
            refused.splice(refused.begin(), closures_, std::prev(closures_.end()));
        } else {
            closures_.back().id = id;
        }
        return id;
    }
    static void run_once(void *arg) noexcept
    {
        auto *self = static_cast<closure *>(arg);
        self->owner->guard("a timer", self->fn);
        drop(arg);
    }
    static void drop(void *arg) noexcept
    {
        auto *self = static_cast<closure *>(arg);
        std::list<closure> dropped; // destroyed without the lock, too
        std::lock_guard<std::mutex> lock(self->owner->lock_);
        auto &all = self->owner->closures_;
        for (auto at = all.begin(); at != all.end(); ++at) {
            if (&*at == self) {
                dropped.splice(dropped.begin(), all, at);
                break;
            }
        }
    }

    std::list<host_route> routes_;
    std::vector<evs_mount> mounts_;
    std::function<void(int, std::string_view)> log_;
    std::function<bool(request)> before_;
    std::function<void(request)> not_found_;
    std::function<void(request, int status)> on_error_;
    std::function<void()> on_listening_;
    std::function<void(const evs_outcome &)> finished_;
    std::function<void()> on_wake_;
    std::mutex lock_; // of closures_
    std::list<closure> closures_;
    std::atomic<evserve *> handle_{nullptr};
};

} // namespace evs

#endif
