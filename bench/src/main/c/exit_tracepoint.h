/* The event that LTTng-UST records: what an exit says without its registers, 64 bytes. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER vmexit_bench

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "exit_tracepoint.h"

#if !defined(EXIT_TRACEPOINT_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define EXIT_TRACEPOINT_H

#include <lttng/tracepoint.h>
#include <stdint.h>

LTTNG_UST_TRACEPOINT_EVENT(
    vmexit_bench, exit, LTTNG_UST_TP_ARGS(const uint64_t *, words),
    LTTNG_UST_TP_FIELDS(
        lttng_ust_field_integer(uint64_t, sequence, words[0])
        lttng_ust_field_integer(uint64_t, rip, words[1])
        lttng_ust_field_integer(uint64_t, address, words[2])
        lttng_ust_field_integer(uint64_t, value, words[3])
        lttng_ust_field_integer(uint64_t, retired, words[4])
        lttng_ust_field_integer(uint64_t, guest_time, words[5])
        lttng_ust_field_integer(uint64_t, handler_time, words[6])
        lttng_ust_field_integer(uint64_t, rflags, words[7])))

#endif

#include <lttng/tracepoint-event.h>
