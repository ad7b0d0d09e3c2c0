#ifndef AGENT_FRAME_H
#define AGENT_FRAME_H

#include <stddef.h>
#include <stdint.h>

/* The protocol's frames: doc/source/contributor/agent-protocol.rst, "Frames". */
#define FRAME_HEADER 12
#define FRAME_MAX_IN (256 * 1024)
#define FRAME_MAX_OUT (64 * 1024)
#define FRAME_MAX_DATA (32 * 1024) /* in one frame of a stream, both ways */
#define FRAME_WINDOW_SIZE 4

/* The flags of a frame with data: the channel, and whether it ends with this frame. */
#define FRAME_CHANNEL 0x03
#define FRAME_END 0x80

enum frame_type {
    FRAME_REQUEST = 1,
    FRAME_RESPONSE = 2,
    FRAME_EVENT = 3,
    FRAME_DATA = 4,
    FRAME_WINDOW = 5,
};

/* A frame as it came; *payload* is not terminated and belongs to the decoder. */
struct frame {
    enum frame_type type;
    uint8_t flags;
    uint32_t id;
    const char *payload;
    size_t length;
};

typedef void frame_handler(void *context, const struct frame *frame);

/* Where in the stream of bytes the decoder stands. */
enum decoder_state { DECODER_HEADER, DECODER_PAYLOAD, DECODER_LOST };

struct decoder {
    enum decoder_state state;
    uint8_t header[FRAME_HEADER];
    size_t have; /* bytes of the header or payload under way */
    size_t zeros; /* the run of zero bytes seen while lost */
    uint32_t length;
    char *payload;
    frame_handler *handler;
    void *context;
};

void decoder_init(struct decoder *decoder, frame_handler *handler, void *context);

/* Take *count* bytes as they came; calls the handler for each whole frame.  After a wrong header
 * everything is discarded up to the zeros of a resynchronisation. */
void decoder_feed(struct decoder *decoder, const uint8_t *bytes, size_t count);

/* Forget the frame under way. */
void decoder_reset(struct decoder *decoder);

/* Write the header of an outgoing frame. */
void frame_encode_header(uint8_t header[FRAME_HEADER], enum frame_type type, uint8_t flags,
                         uint32_t id, uint32_t length);

/* The big-endian integers of the protocol. */
uint32_t frame_read_be32(const uint8_t *bytes);
void frame_write_be32(uint8_t *bytes, uint32_t value);

#endif
