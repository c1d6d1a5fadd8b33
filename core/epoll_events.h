#ifndef EVSERVE_CORE_EPOLL_EVENTS_H
#define EVSERVE_CORE_EPOLL_EVENTS_H

/* What the kernel calls the events of a registration (epoll(7)). For reactor.c. */

#include "core/reactor.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* What REACTOR_MORE stands for. */
static const uint32_t MORE_EVENTS = (uint32_t)EPOLLRDHUP | (uint32_t)EPOLLPRI;

/* The events to ask for: flags as reactor_register() takes them. */
static inline uint32_t epoll_events(unsigned flags)
{
    bool tells_more = (flags & REACTOR_READABLE) && (flags & REACTOR_EDGE);
    return (flags & REACTOR_READABLE ? (uint32_t)EPOLLIN : 0) | (flags & REACTOR_WRITABLE ? (uint32_t)EPOLLOUT : 0) |
           (flags & REACTOR_EDGE ? (uint32_t)EPOLLET : 0) | (tells_more ? MORE_EVENTS : 0) |
           (flags & REACTOR_END ? (uint32_t)EPOLLRDHUP : 0);
}

#endif
