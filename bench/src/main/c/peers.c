/*
 * The load of RecorderRun's latencies on other recorders: events that are evenly spaced, each timed
 * from its own start (its cost) and from when it was due (with all waiting).
 *
 *   peers lttng|syscall SECONDS RATE NAME
 *
 * lttng: one LTTng-UST event. syscall: getppid, to be traced by the kernel's tracepoint of it; the
 * event's cost is the difference to a run with the tracepoint off.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef WITH_LTTNG
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "exit_tracepoint.h"
#endif

enum { WARM_UP = 200000 };

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time); /* what the JVM's nanoTime reads */
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void event(const int lttng, const uint64_t n) {
  if (!lttng) {
    syscall(SYS_getppid);
    return;
  }
  (void)n;
#ifdef WITH_LTTNG
  const uint64_t words[8] = {n, 0xffffffff81000000u + (n & 63) * 0x1234, 0x3f8 + (n & 7), n & 255,
                             n * 1000, 2000 + (n & 255), 300, 2 | (n & 1) << 6};
  lttng_ust_tracepoint(vmexit_bench, exit, words);
#endif
}

static int compare(const void *a, const void *b) {
  const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return left < right ? -1 : left > right;
}

static void print(const char *name, const char *what, uint32_t *times, const uint64_t count) {
  qsort(times, count, sizeof *times, compare);
  char text[64];
  snprintf(text, sizeof text, "%s%s", name, what);
  printf("%-24s", text);
  const double at[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
  for (unsigned i = 0; i < sizeof at / sizeof *at; i++) {
    printf(" %9u", times[(uint64_t)(at[i] * (double)(count - 1))]);
  }
  printf(" %11u\n", times[count - 1]);
}

int main(const int argc, char **argv) {
  const int lttng = argc == 5 && strcmp(argv[1], "lttng") == 0;
  const uint64_t rate = argc == 5 ? strtoull(argv[3], NULL, 10) : 0;
  const uint64_t count = argc == 5 ? strtoull(argv[2], NULL, 10) * rate : 0;
  if (rate == 0 || count == 0 || (!lttng && strcmp(argv[1], "syscall") != 0)) {
    fprintf(stderr, "usage: peers lttng|syscall SECONDS RATE NAME\n");
    return 2;
  }
#ifndef WITH_LTTNG
  if (lttng) {
    fprintf(stderr, "peers: built without LTTng-UST\n");
    return 2;
  }
#endif
  uint32_t *const cost = calloc(count, sizeof *cost);
  uint32_t *const late = calloc(count, sizeof *late);
  if (cost == NULL || late == NULL) {
    fprintf(stderr, "peers: no memory for %llu times\n", (unsigned long long)count);
    return 1;
  }
  for (uint64_t n = 0; n < WARM_UP; n++) {
    event(lttng, n);
  }
  const uint64_t begin = now();
  for (uint64_t i = 0; i < count; i++) {
    const uint64_t due = begin + i * 1000000000u / rate;
    uint64_t start = now();
    while (start < due) {
      __builtin_ia32_pause();
      start = now();
    }
    event(lttng, WARM_UP + i);
    const uint64_t done = now();
    cost[i] = (uint32_t)(done - start);
    late[i] = (uint32_t)(done - due);
  }
  print(argv[4], ", its cost", cost, count);
  print(argv[4], ", from due", late, count);
  return 0;
}
