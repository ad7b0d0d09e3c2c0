#ifndef AGENT_FRAME_H
#define AGENT_FRAME_H

#include <stddef.h>
#include <stdint.h>

/* The protocol's frames: doc/source/contributor/agent-protocol.rst, "Frames". */
#define FRAME_HEADER 12
#define FRAME_MAX_IN (256 * 1024)
#define FRAME_MAX_OUT (64 * 1024)

enum frame_type { FRAME_REQUEST = 1, FRAME_RESPONSE = 2, FRAME_EVENT = 3 };

/* A request as it came; *payload* is not terminated and belongs to the decoder. */
typedef void frame_handler(void *context, uint32_t id, const char *payload, size_t length);

/* Where in the stream of bytes the decoder stands. */
enum decoder_state { DECODER_HEADER, DECODER_PAYLOAD, DECODER_LOST };

struct decoder {
    enum decoder_state state;
    uint8_t header[FRAME_HEADER];
    size_t have; /* bytes of the header or payload under way */
    size_t zeros; /* the run of zero bytes seen while lost */
    uint32_t id;
    uint32_t length;
    char *payload;
    frame_handler *handler;
    void *context;
};

void decoder_init(struct decoder *decoder, frame_handler *handler, void *context);

/* Take *count* bytes as they came; calls the handler for each whole request.  After a wrong
 * header everything is discarded up to the zeros of a resynchronisation. */
void decoder_feed(struct decoder *decoder, const uint8_t *bytes, size_t count);

/* Forget the frame under way. */
void decoder_reset(struct decoder *decoder);

/* Write the header of an outgoing frame. */
void frame_encode_header(uint8_t header[FRAME_HEADER], enum frame_type type, uint32_t id,
                         uint32_t length);

#endif
