/* Slower disk for LD_PRELOAD: every sync takes SYNC_DELAY microseconds longer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void delay_sync(void) {
    const char *text = getenv("SYNC_DELAY");
    long delay = text ? strtol(text, NULL, 10) : 0;
    struct timespec remaining = {delay / 1000000, delay % 1000000 * 1000};
    while (nanosleep(&remaining, &remaining)) {}
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fdatasync(int fd);
int fsync(int fd);

int fdatasync(int fd) {
    delay_sync();
    return REAL(fdatasync)(fd);
}

int fsync(int fd) {
    delay_sync();
    return REAL(fsync)(fd);
}
