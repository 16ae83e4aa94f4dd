/* A wall clock that is wrong by CLOCK_SHIFT_SECONDS; preloaded by checks. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    long result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        const char *shift = getenv("CLOCK_SHIFT_SECONDS");
        if (shift)
            now->tv_sec += atol(shift);
    }
    return (int)result;
}
