#include "frame.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* JSON has no zero bytes and a header has at most nine in a row, so that such a run can only be
 * a resynchronisation. */
#define RESYNC_RUN 64

uint32_t frame_read_be32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           (uint32_t)bytes[3];
}

void frame_write_be32(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)(value >> 24);
    bytes[1] = (uint8_t)(value >> 16);
    bytes[2] = (uint8_t)(value >> 8);
    bytes[3] = (uint8_t)value;
}

void decoder_init(struct decoder *decoder, frame_handler *handler, void *context)
{
    memset(decoder, 0, sizeof(*decoder));
    decoder->handler = handler;
    decoder->context = context;
}

void decoder_reset(struct decoder *decoder)
{
    free(decoder->payload);
    decoder->payload = NULL;
    decoder->state = DECODER_HEADER;
    decoder->have = 0;
    decoder->zeros = 0;
}

static void lose(struct decoder *decoder)
{
    decoder_reset(decoder);
    decoder->state = DECODER_LOST;
}

static void finish_payload(struct decoder *decoder)
{
    char *payload = decoder->payload;
    struct frame frame = {
        .type = decoder->header[2],
        .flags = decoder->header[3],
        .id = frame_read_be32(decoder->header + 4),
        .payload = payload,
        .length = decoder->length,
    };

    /* The handler may lead to a reset: the decoder must not own the payload any more. */
    decoder->payload = NULL;
    decoder_reset(decoder);
    decoder->handler(decoder->context, &frame);
    free(payload);
}

/* What the host may send: requests, its end's data of a stream, and windows. */
static bool is_expected(uint8_t type, uint8_t flags, uint32_t length)
{
    switch (type) {
    case FRAME_REQUEST:
        return flags == 0 && length <= FRAME_MAX_IN;
    case FRAME_DATA:
        return (flags & ~FRAME_END) == 0 && length <= FRAME_MAX_DATA;
    case FRAME_WINDOW:
        return flags == 0 && length == FRAME_WINDOW_SIZE;
    default:
        return false;
    }
}

static void finish_header(struct decoder *decoder)
{
    const uint8_t *header = decoder->header;
    uint32_t length = frame_read_be32(header + 8);

    if (header[0] != 'H' || header[1] != 'V' || !is_expected(header[2], header[3], length)) {
        lose(decoder);
        return;
    }
    decoder->length = length;
    decoder->have = 0;
    decoder->payload = malloc(length + 1);
    if (decoder->payload == NULL) {
        lose(decoder);
        return;
    }
    decoder->state = DECODER_PAYLOAD;
    if (length == 0) {
        finish_payload(decoder);
    }
}

static size_t feed_header(struct decoder *decoder, const uint8_t *bytes, size_t count)
{
    if (decoder->have == 0 && bytes[0] == 0) {
        return 1;
    }
    size_t take = FRAME_HEADER - decoder->have;
    take = take < count ? take : count;
    memcpy(decoder->header + decoder->have, bytes, take);
    decoder->have += take;
    if (decoder->have == FRAME_HEADER) {
        finish_header(decoder);
    }
    return take;
}

static size_t feed_payload(struct decoder *decoder, const uint8_t *bytes, size_t count)
{
    size_t take = decoder->length - decoder->have;
    take = take < count ? take : count;
    memcpy(decoder->payload + decoder->have, bytes, take);
    decoder->have += take;
    if (decoder->have == decoder->length) {
        finish_payload(decoder);
    }
    return take;
}

static size_t feed_lost(struct decoder *decoder, const uint8_t *bytes)
{
    decoder->zeros = bytes[0] == 0 ? decoder->zeros + 1 : 0;
    if (decoder->zeros == RESYNC_RUN) {
        decoder_reset(decoder);
    }
    return 1;
}

void decoder_feed(struct decoder *decoder, const uint8_t *bytes, size_t count)
{
    while (count > 0) {
        size_t taken;
        switch (decoder->state) {
        case DECODER_HEADER:
            taken = feed_header(decoder, bytes, count);
            break;
        case DECODER_PAYLOAD:
            taken = feed_payload(decoder, bytes, count);
            break;
        default:
            taken = feed_lost(decoder, bytes);
            break;
        }
        bytes += taken;
        count -= taken;
    }
}

void frame_encode_header(uint8_t header[FRAME_HEADER], enum frame_type type, uint8_t flags,
                         uint32_t id, uint32_t length)
{
    header[0] = 'H';
    header[1] = 'V';
    header[2] = (uint8_t)type;
    header[3] = flags;
    frame_write_be32(header + 4, id);
    frame_write_be32(header + 8, length);
}
