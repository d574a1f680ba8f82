/* Disk with faults, for LD_PRELOAD. The file named in DISK_FAULT holds the name of the current fault; without
 * the file there is none. The faults apply to the database and its WAL:
 *
 * `slow`              a sync takes 3 s
 * `sync-20ms`         a sync takes 20 ms
 * `stuck`             a sync blocks until the fault is removed
 * `failing`           a sync fails with EIO
 * `quota`             a sync fails with EDQUOT
 * `broken`            a write fails with EIO
 * `full`              a write fails with ENOSPC
 * `truncate-blocked`  a truncation of the WAL blocks until the fault is removed
 * `slow-read`         a read takes 20 ms
 * `slow-statx`        a statx call takes 20 ms
 * `network`           every file system reports that it is NFS
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

static int has_fault(const char *fault) {
    char text[32] = "";
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

/* Whether this is the database or its WAL. */
static int is_database(int fd) { return is_named(fd, ".db"); }

static int sync_fault(int fd) {
    if (!is_database(fd)) return 0;
    if (has_fault("slow")) sleep(3);
    if (has_fault("sync-20ms")) usleep(20000);
    while (has_fault("stuck")) usleep(10000);
    if (has_fault("failing")) errno = EIO;
    else if (has_fault("quota")) errno = EDQUOT;
    else return 0;
    return -1;
}

static void truncate_fault(int fd) {
    while (is_named(fd, ".db-wal") && has_fault("truncate-blocked")) usleep(10000);
}

static int write_fault(int fd) {
    if (!is_database(fd)) return 0;
    if (has_fault("full")) errno = ENOSPC;
    else if (has_fault("broken")) errno = EIO;
    else return 0;
    return -1;
}

#define NFS_SUPER_MAGIC 0x6969

/* The libc's own function of this name. */
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
    if (is_database(fd) && has_fault("slow-read")) usleep(20000);
    return REAL(pread64)(fd, bytes, length, at);
}

int ftruncate(int fd, off_t length) {
    truncate_fault(fd);
    return REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    truncate_fault(fd);
    return REAL(ftruncate64)(fd, length);
}

static void network_fault(__fsword_t *type) {
    if (has_fault("network")) *type = NFS_SUPER_MAGIC;
}

int statfs(const char *path, struct statfs *result) {
    int error = REAL(statfs)(path, result);
    if (error == 0) network_fault(&result->f_type);
    return error;
}

int statfs64(const char *path, struct statfs64 *result) {
    int error = REAL(statfs64)(path, result);
    if (error == 0) network_fault(&result->f_type);
    return error;
}

int statx(int folder, const char *path, int flags, unsigned mask, struct statx *result) {
    if (path && strstr(path, ".db") && has_fault("slow-statx")) usleep(20000);
    return REAL(statx)(folder, path, flags, mask, result);
}
