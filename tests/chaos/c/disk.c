/* Preloaded into a node: makes its syncs slow, or fail, as a file says that is looked at each time.
 *
 * The file has two numbers of 32 bits, in the machine's order: the error to fail with (0: none), and
 * the delay in milliseconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct orders {
    volatile uint32_t error;
    volatile uint32_t delay_ms;
};

static struct orders *orders;

__attribute__((constructor)) static void follow_orders(void) {
    const char *path = getenv("CHAOS_DISK_ORDERS");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *place = mmap(NULL, sizeof(struct orders), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (place != MAP_FAILED)
        orders = place;
}

typedef int (*sync_call)(int);

static int sync_as_ordered(const char *name, int fd) {
    if (orders && orders->delay_ms) {
        uint32_t ms = orders->delay_ms;
        struct timespec delay = {ms / 1000, (long)(ms % 1000) * 1000000};
        nanosleep(&delay, NULL);
    }
    if (orders && orders->error) {
        errno = (int)orders->error;
        return -1;
    }
    sync_call real = (sync_call)dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fsync(int fd) { return sync_as_ordered("fsync", fd); }

int fdatasync(int fd) { return sync_as_ordered("fdatasync", fd); }
