/* A disk with faults, for LD_PRELOAD. The file named in DISK_FAULT says which, while it exists:
 * `slow`: a sync takes three seconds; `slowish`: 20 ms; `stuck`: as long as it is
 * so; `failing`: a sync fails; `full`: a write finds no space. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int told(const char *fault) {
    char text[16] = "";
    const char *path = getenv("DISK_FAULT");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return 0;
    if (!fgets(text, sizeof text, file)) text[0] = 0;
    fclose(file);
    return strcmp(text, fault) == 0;
}

/* Whether this is the database or its WAL; logs and sockets have no faults. */
static int is_database(int fd) {
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, ".db") != NULL;
}

static int sync_fault(int fd) {
    if (!is_database(fd)) return 0;
    if (told("slow")) sleep(3);
    if (told("slowish")) usleep(20000);
    while (told("stuck")) usleep(10000);
    if (!told("failing")) return 0;
    errno = EIO;
    return -1;
}

static int write_fault(int fd) {
    if (!is_database(fd) || !told("full")) return 0;
    errno = ENOSPC;
    return -1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fdatasync(int fd) { return sync_fault(fd) ? -1 : REAL(fdatasync)(fd); }

int fsync(int fd) { return sync_fault(fd) ? -1 : REAL(fsync)(fd); }

ssize_t write(int fd, const void *bytes, size_t length) {
    return write_fault(fd) ? -1 : REAL(write)(fd, bytes, length);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    return write_fault(fd) ? -1 : REAL(pwrite)(fd, bytes, length, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    return write_fault(fd) ? -1 : REAL(pwrite64)(fd, bytes, length, at);
}
