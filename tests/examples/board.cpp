// A notice board in C++17: lambdas as routes, exceptions for errors, a timer that removes old notes, and clients that
// wait for the next note.
//
//     board [ADDRESS]     GET /notes    POST /notes (form: text=...)    DELETE /notes/:id    GET /next

#include "evserve.hpp"

#include <csignal>
#include <cstdio>
#include <list>
#include <map>
#include <stdexcept>
#include <string>

namespace
{

constexpr std::size_t NOTES_MAX = 100;

evs::server *server_to_stop;

extern "C" void on_signal(int)
{
    server_to_stop->stop(1000);
}

class board
{
  public:
    std::string list() const
    {
        std::string text;
        for (const auto &[id, note] : notes_) {
            text += std::to_string(id) + " " + note + "\n";
        }
        return text;
    }

    int add(std::string_view note)
    {
        if (!evs::has(note) || note.empty()) {
            throw std::invalid_argument("a note needs a text");
        }
        if (notes_.size() == NOTES_MAX) {
            notes_.erase(notes_.begin());
        }
        notes_[++last_] = note;
        for (auto &reader : std::exchange(readers_, {})) {
            if (reader) { // its client has not left
                reader.request().reply(200, "text/plain", note);
            }
        }
        return last_;
    }

    bool remove(std::string_view id)
    {
        return notes_.erase(std::stoi(std::string(id))) > 0;
    }
    void remove_oldest()
    {
        if (!notes_.empty()) {
            notes_.erase(notes_.begin());
        }
    }

    void wait(evs::later reader)
    {
        readers_.remove_if([](const evs::later &other) { return !other; });
        readers_.push_back(std::move(reader));
    }

  private:
    std::map<int, std::string> notes_;
    std::list<evs::later> readers_;
    int last_ = 0;
};

// Exceptions about the request itself are the client's errors.
template <class Fn> auto with_errors(Fn fn)
{
    return [fn](evs::request request) {
        try {
            fn(request);
        } catch (const std::invalid_argument &mistake) {
            request.reply(400, "text/plain", std::string(mistake.what()) + "\n");
        }
    };
}

void fail(evs::request) noexcept(false) // a handler may also be a plain function, noexcept or not
{
    throw std::runtime_error("the board fell down");
}

void tell_health(evs::request request) noexcept
{
    request.reply(204);
}

} // namespace

int main(int argc, char **argv)
try {
    board notes;
    evs::server server;
    server.config.listen = argc > 1 ? argv[1] : "127.0.0.1:0";
    server.log(
        [](int, std::string_view line) { std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data()); });
    server.route("GET /notes", [&](evs::request request) { request.reply(200, "text/plain", notes.list()); });
    server.route("POST /notes", with_errors([&](evs::request request) {
                     request.set_header("Location", "/notes/" + std::to_string(notes.add(request.form("text"))));
                     request.reply(201);
                 }));
    server.route("DELETE /notes/:id{int}", with_errors([&](evs::request request) {
                     request.reply(notes.remove(request.param("id")) ? 204 : 404);
                 }));
    server.route("GET /next", [&](evs::request request) { notes.wait(request.defer()); });
    server.route("GET /fail", fail);
    server.route("GET /health", tell_health);
    server.start();
    server.every(60'000, [&] { notes.remove_oldest(); });
    server_to_stop = &server;
    std::signal(SIGINT, on_signal);
    std::signal(SIGTERM, on_signal);
    std::fprintf(stderr, "listening on %s\n", server.address().data());
    int rv = server.wait();
    std::signal(SIGINT, SIG_IGN); // the handler uses a server that is about to be destroyed
    std::signal(SIGTERM, SIG_IGN);
    return rv >= 0 ? 0 : 1;
} catch (const std::exception &thrown) {
    std::fprintf(stderr, "%s\n", thrown.what());
    return 1;
}
