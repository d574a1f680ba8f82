/* A disk with faults, for LD_PRELOAD. The file named in DISK_FAULT says which, while it exists:
 * `slow`: a sync takes three seconds; `slowish`: 20 ms; `stuck`: as long as it is so;
 * `uncut`: to cut the WAL takes as long as it is so;
 * `failing`: a sync fails; `broken`: a write fails; `full`: a write finds no space;
 * `quota`: a sync finds none; `network`: it is on NFS; `reading`: a read takes 20 ms;
 * `unpublished`: to look at a file's inode takes 20 ms. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
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

static int is_named(int fd, const char *part) {
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, part) != NULL;
}

/* Whether this is the database or its WAL; logs and sockets have no faults. */
static int is_database(int fd) { return is_named(fd, ".db"); }

static int sync_fault(int fd) {
    if (!is_database(fd)) return 0;
    if (told("slow")) sleep(3);
    if (told("slowish")) usleep(20000);
    while (told("stuck")) usleep(10000);
    if (told("failing")) errno = EIO;
    else if (told("quota")) errno = EDQUOT;
    else return 0;
    return -1;
}

static void cut_fault(int fd) {
    while (is_named(fd, ".db-wal") && told("uncut")) usleep(10000);
}

static int write_fault(int fd) {
    if (!is_database(fd)) return 0;
    if (told("full")) errno = ENOSPC;
    else if (told("broken")) errno = EIO;
    else return 0;
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

ssize_t pread64(int fd, void *bytes, size_t length, off64_t at) {
    if (is_database(fd) && told("reading")) usleep(20000);
    return REAL(pread64)(fd, bytes, length, at);
}

int ftruncate(int fd, off_t length) {
    cut_fault(fd);
    return REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    cut_fault(fd);
    return REAL(ftruncate64)(fd, length);
}

static void on_network(__fsword_t *kind) {
    if (told("network")) *kind = 0x6969;
}

int statfs(const char *path, struct statfs *found) {
    int result = REAL(statfs)(path, found);
    if (result == 0) on_network(&found->f_type);
    return result;
}

int statfs64(const char *path, struct statfs64 *found) {
    int result = REAL(statfs64)(path, found);
    if (result == 0) on_network(&found->f_type);
    return result;
}

int statx(int folder, const char *path, int flags, unsigned mask, struct statx *found) {
    if (path && strstr(path, ".db") && told("unpublished")) usleep(20000);
    return REAL(statx)(folder, path, flags, mask, found);
}
