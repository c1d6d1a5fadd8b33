/* Happy path: succession_begin() starts the new program, succession_look() sees that it serves: systemd learns who is
 * the service from now on, and the server stops.
 *
 * Failure modes: the log says why there is no upgrade, and the server goes on. */

#include "core/program/succession.h"

#include "core/file_text.h"
#include "core/program/command_line.h"
#include "core/program/log_stream.h"
#include "core/program/supervise.h"
#include "core/program/systemd.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static void log_refusal(struct succession *succession, const char *why)
{
    char line[EVSERVE_ERROR_MAX + 64];
    snprintf(line, sizeof line, "not upgraded: %s", why);
    log_stream_write(succession->log, EVSERVE_LOG_ERROR, line);
}

/* The server goes on, which --upgrade waits to read. */
static void refuse_upgrade(struct succession *succession, const char *why)
{
    log_refusal(succession, why);
    pid_file_tell_refusal(&succession->pid_file);
}

void succession_begin(struct succession *succession, evserve *server, bool is_stopping)
{
    char err[EVSERVE_ERROR_MAX], line[UPGRADE_PATH_MAX + 64];
    const struct command_line *options = succession->options;
    struct upgrade *upgrade = &succession->upgrade;
    int rv;
    if (is_stopping || succession->is_replaced) {
        refuse_upgrade(succession, "this process is stopping");
    } else if (supervise_is_init()) {
        refuse_upgrade(succession, "a container ends with its process 1, so nobody can take its place: replace the "
                                   "container");
    } else if (options->sandbox != 0) {
        refuse_upgrade(succession,
                       "in the sandbox no program can be started: restart the server, and have systemd keep "
                       "the sockets meanwhile (FileDescriptorStoreMax=)");
    } else if (options->script != NULL && file_text_is_passing(0, options->script)) {
        refuse_upgrade(succession, "the script came through a pipe, and the new program could not read it again");
    } else if ((rv = upgrade_begin(upgrade, server, err, sizeof err)) == -EALREADY) {
        log_refusal(succession, err); /* whoever waits learns what becomes of the one under way */
    } else if (rv < 0) {
        refuse_upgrade(succession, err);
    } else {
        snprintf(line, sizeof line, "upgrading: %s starts as process %d", upgrade->path, (int)upgrade->child);
        log_stream_write(succession->log, EVSERVE_LOG_INFO, line);
    }
}

/* From here on the new program is the service, so this one has no more to say to systemd. */
static void give_way(struct succession *succession, evserve *server, pid_t successor)
{
    char text[128];
    snprintf(text, sizeof text, "upgraded: process %d serves, and process %d stops", (int)successor, (int)getpid());
    log_stream_write(succession->log, EVSERVE_LOG_INFO, text);
    snprintf(text, sizeof text, "MAINPID=%d\nREADY=1", (int)successor);
    systemd_notify(succession->notifier, text);
    systemd_notifier_silence(succession->notifier);
    supervise_say_replaced();
    succession->is_replaced = true;
    evserve_hand_over(server, EVSERVE_SERVED);
    evserve_stop(server, EVSERVE_DRAIN_TIMEOUT);
}

void succession_look(struct succession *succession, evserve *server)
{
    char err[EVSERVE_ERROR_MAX];
    pid_t rv = upgrade_look(&succession->upgrade, err, sizeof err);
    if (rv > 0) {
        give_way(succession, server, rv);
    } else if (rv < 0) {
        refuse_upgrade(succession, err);
    }
}
