/* Happy path: the site, a server, its listeners; ticks. */

#include "tests/wire/wire_world.h"

#include "core/log.h"
#include "core/reactor.h"
#include "http/limits.h"
#include "http/server.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "tests/lib/fake_sys.h"
#include "tests/wire/wire_site.h"
#include "tests/wire/wire_tls.h"

#include <stdio.h>
#include <string.h>

enum { TICKS_MAX = 200000 };

static bool refuse(struct world *world, const char *what, const char *detail)
{
    snprintf(world->error, sizeof world->error, "%s%s%.300s", what, detail == NULL ? "" : ": ",
             detail == NULL ? "" : detail);
    return false;
}

static bool set_limits(struct world *world, const struct wire_case *wire_case, bool is_tiny)
{
    static const struct wire_limit tiny[] = {{"write_high_mark", 1024},
                                             {"write_cap", 4096},
                                             {"max_cached_file", 0},
                                             {"max_cached_files", 1}};
    struct limits *limits = &world->site->limits;
    char err[256];
    for (size_t i = 0; is_tiny && i < sizeof tiny / sizeof tiny[0]; i++) {
        if (limits_set(limits, limits_find(tiny[i].name), tiny[i].value, err, sizeof err) < 0) {
            return refuse(world, "tiny limits", err);
        }
    }
    for (size_t i = 0; i < wire_case->limit_count; i++) {
        const struct limit_info *info = limits_find(wire_case->limits[i].name);
        if (info == NULL || limits_set(limits, info, wire_case->limits[i].value, err, sizeof err) < 0) {
            return refuse(world, "set", info == NULL ? wire_case->limits[i].name : err);
        }
    }
    return true;
}

bool world_open(struct world *world, const struct wire_case *wire_case, bool is_tiny, bool is_tls)
{
    char err[256] = "";
    *world = (struct world){0};
    if (reactor_create(&world->reactor, NULL) < 0 || site_create(&world->site, NULL) < 0 ||
        wire_site_fill(world->site, world->reactor) < 0) {
        return refuse(world, "cannot build the site", NULL);
    }
    if (!set_limits(world, wire_case, is_tiny)) {
        return false;
    }
    if (server_create(&world->server, world->reactor, world->site, NULL) < 0 ||
        server_listen(world->server, "127.0.0.1:0", err, sizeof err) < 0) {
        return refuse(world, "cannot listen", err);
    }
    world->listener_fd = fake_sys_listener_fd();
    world->tls_listener_fd = is_tls ? wire_tls_listen(world->server, err, sizeof err) : -1;
    return !is_tls || world->tls_listener_fd >= 0 || refuse(world, "cannot listen for TLS", err);
}

void world_close(struct world *world)
{
    server_destroy(world->server);
    site_destroy(world->site);
    reactor_destroy(world->reactor);
}

bool world_settle(struct world *world)
{
    int quiet = 0;
    size_t unread = fake_peer_unread(world->peer), output;
    fake_peer_output(world->peer, &output);
    for (int tick = 0; tick < TICKS_MAX; tick++) {
        size_t unread_before = unread, output_before = output;
        int calls = reactor_run_once(world->reactor, 0);
        unread = fake_peer_unread(world->peer);
        fake_peer_output(world->peer, &output);
        if (calls < 0) {
            return refuse(world, "the reactor failed", strerror(-calls));
        }
        quiet = calls == 0 && output == output_before && unread == unread_before ? quiet + 1 : 0;
        if (quiet == 3) {
            return true;
        }
    }
    return refuse(world, "the server does not come to rest", NULL);
}

bool world_pass_ms(struct world *world, int64_t ms)
{
    for (int64_t left = ms; left > 0;) {
        int64_t piece = left < 1000 ? left : 1000;
        fake_sys_advance_ms(piece);
        left -= piece;
        if (!world_settle(world)) {
            return false;
        }
    }
    return true;
}
