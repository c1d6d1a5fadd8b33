#ifndef EVSERVE_CORE_UNITS_H
#define EVSERVE_CORE_UNITS_H

enum { NS_PER_S = 1000000000, NS_PER_MS = 1000000 }; /* nanoseconds */

#endif
