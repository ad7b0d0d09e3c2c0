#ifndef AGENT_EXT4_H
#define AGENT_EXT4_H

#include <stdint.h>

#define EXT4_SUPERBLOCK_OFFSET 1024
#define EXT4_SUPERBLOCK_SIZE 1024

/* How many blocks an ext4 file system with this superblock can have on a device of *device_bytes*,
 * where that is enough more than it has to be worth while; 0 where it is not, or where the
 * superblock is none of ext4. */
uint64_t ext4_blocks_to_grow_to(const uint8_t superblock[EXT4_SUPERBLOCK_SIZE],
                                uint64_t device_bytes);

#endif
