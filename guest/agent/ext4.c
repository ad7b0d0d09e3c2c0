#include "ext4.h"

#include <endian.h>
#include <string.h>

/* struct ext4_super_block, in the kernel's fs/ext4/ext4.h. */
#define BLOCKS_COUNT_LO 0x4
#define LOG_BLOCK_SIZE 0x18
#define MAGIC 0x38
#define FEATURE_INCOMPAT 0x60
#define BLOCKS_COUNT_HI 0x150

#define MAGIC_NUMBER 0xef53
#define INCOMPAT_64BIT 0x80
#define LEAST_BLOCK_SIZE 1024
#define MAX_LOG_BLOCK_SIZE 6

/* The host makes disks larger by whole GiB.  The kernel leaves less than a group of blocks where
 * that has no room for the group's own tables. */
#define WORTH_WHILE (128 * 1024 * 1024)

static uint32_t read32(const uint8_t *superblock, size_t offset)
{
    uint32_t value;

    memcpy(&value, superblock + offset, sizeof(value));
    return le32toh(value);
}

uint64_t ext4_blocks_to_grow_to(const uint8_t superblock[EXT4_SUPERBLOCK_SIZE],
                                uint64_t device_bytes)
{
    uint32_t log_size = read32(superblock, LOG_BLOCK_SIZE);
    uint64_t blocks = read32(superblock, BLOCKS_COUNT_LO);

    if ((read32(superblock, MAGIC) & 0xffff) != MAGIC_NUMBER || log_size > MAX_LOG_BLOCK_SIZE) {
        return 0;
    }
    if ((read32(superblock, FEATURE_INCOMPAT) & INCOMPAT_64BIT) != 0) {
        blocks |= (uint64_t)read32(superblock, BLOCKS_COUNT_HI) << 32;
    }
    uint64_t size = (uint64_t)LEAST_BLOCK_SIZE << log_size;
    uint64_t possible = device_bytes / size;
    return possible >= WORTH_WHILE / size && blocks <= possible - WORTH_WHILE / size ? possible : 0;
}
