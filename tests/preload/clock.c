/* Clock with faults, for LD_PRELOAD. The file named in CLOCK_OFFSET holds an offset of the wall clock in
 * seconds. The file named in CLOCK_FAILURE holds the name of a thread: the monotonic clock fails once for
 * this thread, which then panics, and the file is removed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

static long offset(void) {
    long seconds = 0;
    const char *path = getenv("CLOCK_OFFSET");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return 0;
    if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
    fclose(file);
    return seconds;
}

static int fails(void) {
    char failing[16] = "", current[16] = "";
    const char *path = getenv("CLOCK_FAILURE");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return 0;
    if (!fgets(failing, sizeof failing, file)) failing[0] = 0;
    fclose(file);
    prctl(PR_GET_NAME, current);
    return strcmp(failing, current) == 0 && remove(path) == 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static __typeof__(&clock_gettime) real;
    if (!real) real = (__typeof__(real))dlsym(RTLD_NEXT, "clock_gettime");
    if (clock == CLOCK_MONOTONIC && fails()) {
        errno = EINVAL;
        return -1;
    }
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += offset();
    return result;
}
