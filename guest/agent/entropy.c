#include "entropy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base64.h"
#include "field.h"
#include "request.h"

#define MAX_BYTES 512

/* struct rand_pool_info with room for the bytes. */
struct pool {
    int entropy_count; /* bits */
    int size; /* bytes */
    uint8_t bytes[MAX_BYTES];
};

int entropy_take(const json_t *object, struct failure *why)
{
    const char *text;
    struct pool pool;
    size_t count;

    if (field_string(object, "entropy", BASE64_LENGTH(MAX_BYTES), NULL, &text, why) < 0) {
        return -1;
    }
    if (base64_decode(text, pool.bytes, sizeof(pool.bytes), &count) < 0 || count == 0) {
        return failure_set(why, "invalid", "the field \"entropy\" must be base64 of 1 to %d bytes",
                           MAX_BYTES);
    }
    pool.entropy_count = (int)count * 8;
    pool.size = (int)count;
    int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
    int result = fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0;
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    explicit_bzero(&pool, sizeof(pool));
    if (result != 0) {
        return failure_set(why, "internal", "the entropy cannot be added: %s", strerror(error));
    }
    return 0;
}

enum outcome entropy_add(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    (void)id;
    (void)fields;
    return entropy_take(request, why) < 0 ? OUTCOME_FAILED : OUTCOME_DONE;
}
