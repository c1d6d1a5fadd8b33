// A host on GLib's main loop, in C++17: the server is one fd in it. A job of the host runs on the same loop, and a
// waiting request gets its result as the response. A stream notifies every browser when the host's counter changes.
//
//     host_glib [FOLDER]     GET /count    GET /wait?ms=100    GET /events (Server-Sent Events)    POST /count?by=2

#include "evserve.hpp"

#include <glib-unix.h>
#include <glib.h>

#include <cstdio>
#include <cstdlib>
#include <list>
#include <memory>
#include <string>

namespace
{

struct host {
    GMainLoop *loop = g_main_loop_new(nullptr, FALSE);
    evs::server server;
    std::list<evs::later> streams;
    long count = 0;

    ~host()
    {
        g_main_loop_unref(loop);
    }

    void move_counter(long by)
    {
        count += by;
        auto text = std::make_shared<const std::string>("data: " + std::to_string(count) + "\n\n");
        streams.remove_if([](const evs::later &stream) { return !stream; });
        for (auto &stream : streams) {
            stream.request().write(text); // not copied: all streams send the same bytes
        }
    }
};

// Called by GLib when the time has passed: sends one response.
gboolean answer(gpointer arg)
{
    auto *waiting = static_cast<evs::later *>(arg);
    if (*waiting) { // otherwise the client has left
        waiting->request().reply(200, "text/plain", "you have waited\n");
    }
    return G_SOURCE_REMOVE;
}

void forget(gpointer arg)
{
    delete static_cast<evs::later *>(arg);
}

gboolean on_server(gint, GIOCondition, gpointer arg)
{
    auto *self = static_cast<host *>(arg);
    if (self->server.poll(0) > 0) {
        return G_SOURCE_CONTINUE;
    }
    g_main_loop_quit(self->loop);
    return G_SOURCE_REMOVE;
}

gboolean on_signal(gpointer arg)
{
    static_cast<host *>(arg)->server.stop(1000);
    return G_SOURCE_CONTINUE;
}

void add_routes(host &self)
{
    self.server.route("GET /count", [&self](evs::request request) {
        request.reply(200, "text/plain", std::to_string(self.count) + "\n");
    });
    self.server.route("POST /count", [&self](evs::request request) {
        self.move_counter(std::stol(std::string(request.query("by")))); // not a number: an exception, and so a 500
        request.reply(204);
    });
    self.server.route("GET /wait", [](evs::request request) {
        auto ms = static_cast<guint>(std::atoi(std::string(request.query("ms")).c_str()));
        g_timeout_add_full(G_PRIORITY_DEFAULT, ms, answer, new evs::later(request.defer()), forget);
    });
    self.server.route("GET /events", [&self](evs::request request) {
        self.streams.push_back(request.defer());
        self.streams.back().on([&self](int event) {
            if (event == EVS_STOPPING) {
                self.streams.clear(); // ends them all
            }
        });
        request.begin(200, "text/event-stream");
        request.write("data: " + std::to_string(self.count) + "\n\n");
    });
}

} // namespace

int main(int argc, char **argv)
try {
    host self;
    self.server.config.listen = "127.0.0.1:0";
    self.server.config.root = argc > 1 ? argv[1] : "public";
    self.server.config.idle_timeout_ms = 300;
    self.server.log(
        [](int, std::string_view line) { std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data()); });
    add_routes(self);
    self.server.start();
    g_unix_fd_add(self.server.fd(), G_IO_IN, on_server, &self);
    g_unix_signal_add(SIGINT, on_signal, &self);
    g_unix_signal_add(SIGTERM, on_signal, &self);
    std::fprintf(stderr, "listening on %s\n", self.server.address().data());
    g_main_loop_run(self.loop);
    return self.server.wait() == 0 ? 0 : 1;
} catch (const std::exception &thrown) {
    std::fprintf(stderr, "%s\n", thrown.what());
    return 1;
}
