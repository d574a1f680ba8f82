/* Makes fdatasync and fsync take three seconds while the file named in SLOW_SYNC exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_if_told(void) {
    const char *told = getenv("SLOW_SYNC");
    if (told && access(told, F_OK) == 0) sleep(3);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_if_told();
    return real(fd);
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_if_told();
    return real(fd);
}
