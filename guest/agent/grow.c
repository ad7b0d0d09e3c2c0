#include "grow.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ext4.h"

/* Of the kernel's fs/ext4/ext4.h, which programs do not get; the argument is in blocks. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

/* How many blocks the file system is to have, 0 where it stays as it is; -1 with errno. */
static int find_blocks(const char *device, uint64_t *blocks)
{
    uint8_t superblock[EXT4_SUPERBLOCK_SIZE];
    uint64_t size;
    int fd = open(device, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return -1;
    }
    int result = ioctl(fd, BLKGETSIZE64, &size);
    if (result == 0) {
        /* The mount has just read it, so this takes no time. */
        ssize_t count = pread(fd, superblock, sizeof(superblock), EXT4_SUPERBLOCK_OFFSET);
        if (count == (ssize_t)sizeof(superblock)) {
            *blocks = ext4_blocks_to_grow_to(superblock, size);
        } else {
            errno = count < 0 ? errno : EIO;
            result = -1;
        }
    }
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

static int resize(const char *directory, uint64_t blocks)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return -1;
    }
    int result = ioctl(fd, EXT4_IOC_RESIZE_FS, &blocks);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

int grow_to_device(const char *device, const char *directory, struct failure *why)
{
    uint64_t blocks = 0;

    if (find_blocks(device, &blocks) < 0 || (blocks > 0 && resize(directory, blocks) < 0)) {
        return failure_set(why, "disk", "the file system on %s cannot take all of its disk: %s",
                           device, strerror(errno));
    }
    return 0;
}
