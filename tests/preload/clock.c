/* A clock that is wrong, for LD_PRELOAD, by as many seconds as the file named in CLOCK_OFFSET says. While there is
 * a file that CLOCK_FAILURE names, it fails once for the thread whose name is in that file, which then panics. */
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
    char wanted[16] = "", name[16] = "";
    const char *path = getenv("CLOCK_FAILURE");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return 0;
    if (!fgets(wanted, sizeof wanted, file)) wanted[0] = 0;
    fclose(file);
    prctl(PR_GET_NAME, name);
    return strcmp(wanted, name) == 0 && remove(path) == 0;
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
