/* Fails the n-th call of a kind below one folder. Preloaded; steered from Python by ctypes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE, FSYNC, RENAME, OPEN, TRUNCATE, UNLINK, KINDS };

static char folder[PATH_MAX];
static int kind_to_fail = -1, error_to_give, stays, counts[KINDS], failed;
static long number_to_fail;

/* The n-th call of `kind` from now on fails with `error`; with `lasting` all after it, too. */
void disk_arm(const char *place, int kind, long number, int error, int lasting) {
    strncpy(folder, place, sizeof folder - 1);
    memset(counts, 0, sizeof counts);
    number_to_fail = number;
    error_to_give = error;
    stays = lasting;
    failed = 0;
    kind_to_fail = kind;
}

/* All is well again; returns how many calls failed. */
int disk_heal(void) {
    kind_to_fail = -1;
    return failed;
}

static int is_below(const char *path) {
    return path && folder[0] && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_below_fd(int fd) {
    char link[64], path[PATH_MAX];
    if (kind_to_fail < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return is_below(path);
}

static int fails(int kind, int below) {
    if (kind_to_fail != kind || !below) return 0;
    counts[kind]++;
    if (counts[kind] == number_to_fail || (stays && counts[kind] > number_to_fail)) {
        failed++;
        errno = error_to_give;
        return 1;
    }
    return 0;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    if (fails(WRITE, is_below_fd(fd))) return -1;
    return real(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    if (fails(WRITE, is_below_fd(fd))) return -1;
    return real(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    if (fails(WRITE, is_below_fd(fd))) return -1;
    return real(fd, data, size, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    if (fails(WRITE, is_below_fd(fd))) return -1;
    return real(fd, parts, count);
}
int fsync(int fd) {
    REAL(fsync);
    int below = is_below_fd(fd);
    if (fails(FSYNC, below)) return -1;
    return below ? 0 : real(fd); /* the power stays on: no need to wait for the disk */
}
int fdatasync(int fd) {
    REAL(fdatasync);
    int below = is_below_fd(fd);
    if (fails(FSYNC, below)) return -1;
    return below ? 0 : real(fd); /* the power stays on: no need to wait for the disk */
}
int rename(const char *from, const char *to) {
    REAL(rename);
    if (fails(RENAME, is_below(from) || is_below(to))) return -1;
    return real(from, to);
}
int renameat(int a, const char *from, int b, const char *to) {
    REAL(renameat);
    if (fails(RENAME, is_below(from) || is_below(to))) return -1;
    return real(a, from, b, to);
}
int link(const char *from, const char *to) {
    REAL(link);
    if (fails(RENAME, is_below(from) || is_below(to))) return -1;
    return real(from, to);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(linkat);
    if (fails(RENAME, is_below(from) || is_below(to))) return -1;
    return real(a, from, b, to, flags);
}
int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    if (fails(TRUNCATE, is_below_fd(fd))) return -1;
    return real(fd, size);
}
int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    if (fails(TRUNCATE, is_below_fd(fd))) return -1;
    return real(fd, size);
}
int unlink(const char *path) {
    REAL(unlink);
    if (fails(UNLINK, is_below(path))) return -1;
    return real(path);
}

#define MODE(flags, last) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; va_start(rest, last); mode = va_arg(rest, mode_t); va_end(rest); \
    }

int open(const char *path, int flags, ...) {
    REAL(open);
    MODE(flags, flags)
    if (fails(OPEN, is_below(path))) return -1;
    return real(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    REAL(open64);
    MODE(flags, flags)
    if (fails(OPEN, is_below(path))) return -1;
    return real(path, flags, mode);
}
int openat(int at, const char *path, int flags, ...) {
    REAL(openat);
    MODE(flags, flags)
    if (fails(OPEN, is_below(path))) return -1;
    return real(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    REAL(openat64);
    MODE(flags, flags)
    if (fails(OPEN, is_below(path))) return -1;
    return real(at, path, flags, mode);
}
