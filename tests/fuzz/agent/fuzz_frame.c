/* The decoder of frames: whatever it is fed, in whatever pieces, it gives what the protocol allows,
 * and finds the request after a resynchronisation. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"

#define HELLO_ID 0xabcdef01
#define RESYNC (FRAME_MAX_IN + FRAME_HEADER)

static size_t hellos;

static void require(int condition)
{
    if (!condition) {
        abort();
    }
}

static void take(void *context, const struct frame *frame)
{
    (void)context;
    switch (frame->type) {
    case FRAME_REQUEST:
        require(frame->flags == 0 && frame->length <= FRAME_MAX_IN);
        break;
    case FRAME_DATA:
        require(frame->length <= FRAME_MAX_DATA);
        break;
    case FRAME_WINDOW:
        require(frame->length == FRAME_WINDOW_SIZE);
        break;
    default:
        abort();
    }
    /* Read all of it, for the sanitizer. */
    size_t sum = 0;
    for (size_t i = 0; i < frame->length; i++) {
        sum += (unsigned char)frame->payload[i];
    }
    hellos += frame->id == HELLO_ID && frame->length == 2 && sum == '{' + '}';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t zeros[RESYNC];
    struct decoder decoder;

    decoder_init(&decoder, take, NULL);
    /* The first byte says how the rest is cut. */
    size_t step = size > 0 ? data[0] % 64 + 1 : 1;
    for (size_t at = size > 0; at < size; at += step) {
        decoder_feed(&decoder, data + at, size - at < step ? size - at : step);
    }
    /* The zeros take longer than all else: some inputs get them. */
    if (size == 0 || (data[0] & 0xfc) != 0) {
        decoder_reset(&decoder);
        return 0;
    }
    uint8_t hello[FRAME_HEADER + 2];
    frame_encode_header(hello, FRAME_REQUEST, 0, HELLO_ID, 2);
    memcpy(hello + FRAME_HEADER, "{}", 2);
    decoder_feed(&decoder, zeros, sizeof(zeros));
    hellos = 0;
    decoder_feed(&decoder, hello, sizeof(hello));
    require(hellos == 1);
    decoder_reset(&decoder);
    return 0;
}
