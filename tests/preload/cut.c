/* Cuts an ext4 file system off from its disk, as a power cut does: nothing more is written. Uses ext4's
 * shutdown ioctl without a flush of the journal. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define SHUTDOWN _IOR('X', 125, uint32_t)
#define NO_LOG_FLUSH 2

int main(int count, char **arguments) {
    uint32_t flags = NO_LOG_FLUSH;
    int fd = count == 2 ? open(arguments[1], O_RDONLY) : -1;
    if (fd >= 0 && ioctl(fd, SHUTDOWN, &flags) == 0) return 0;
    perror(arguments[count - 1]);
    return 1;
}
