/* Takes the power from an ext4 filesystem: what has not been synced is gone. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

/* EXT4_IOC_SHUTDOWN, and the flag that leaves the journal as it is on the disk. */
#define SHUTDOWN _IOR('X', 125, uint32_t)
#define NO_LOG_FLUSH 2

int main(int count, char **arguments) {
    uint32_t flags = NO_LOG_FLUSH;
    int fd = count == 2 ? open(arguments[1], O_RDONLY) : -1;
    if (fd < 0 || ioctl(fd, SHUTDOWN, &flags) != 0) {
        perror("powercut");
        return 1;
    }
    return 0;
}
