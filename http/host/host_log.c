#include "http/host/host_log.h"

static void write_host_line(void *arg, int level, const char *line)
{
    struct host_log *log = arg;
    pthread_mutex_lock(&log->lock);
    if (log->sink != NULL) {
        log->sink(log->arg, level, line);
    }
    pthread_mutex_unlock(&log->lock);
}

static void pass_host_entry(void *arg, const struct log_entry *entry)
{
    struct host_log *log = arg;
    struct evs_log_field fields[LOG_FIELDS_MAX];
    unsigned count = entry->subject.field_count;
    for (unsigned i = 0; i < count; i++) {
        const struct log_field *field = &entry->subject.fields[i];
        fields[i] = (struct evs_log_field){field->name, field->text, field->is_number};
    }
    const struct evs_log_entry passed = {
        .level = entry->level,
        .text = entry->text,
        .client = entry->subject.client,
        .request_id = entry->subject.request_id,
        .place = entry->subject.place,
        .fields = count == 0 ? NULL : fields,
        .field_count = count,
    };
    pthread_mutex_lock(&log->lock);
    if (log->entry != NULL) {
        log->entry(log->arg, &passed);
    }
    pthread_mutex_unlock(&log->lock);
}

void host_log_init(struct host_log *log, const struct evserve_config *config)
{
    *log = (struct host_log){
        .log = {.arg = log, .level = config->log_level == 0 ? LOG_INFO : (enum log_level)config->log_level},
        .sink = config->log,
        .entry = config->log_entry,
        .arg = config->arg,
    };
    if (config->log_entry != NULL) {
        log->log.take = pass_host_entry;
    } else if (config->log != NULL) {
        log->log.sink = write_host_line;
    }
    pthread_mutex_init(&log->lock, NULL);
}

void host_log_silence(struct host_log *log)
{
    pthread_mutex_lock(&log->lock);
    log->sink = NULL;
    log->entry = NULL;
    pthread_mutex_unlock(&log->lock);
}

void host_log_done(struct host_log *log)
{
    pthread_mutex_destroy(&log->lock);
}
