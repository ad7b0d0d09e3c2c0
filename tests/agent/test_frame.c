#include "check.h"
#include "frame.h"

#define ROUNDS 20000
#define RESYNC (FRAME_MAX_IN + FRAME_HEADER)

struct seen {
    size_t count;
    enum frame_type type;
    uint8_t flags;
    uint32_t id;
    size_t length;
    uint64_t sum;
};

static void record(void *context, const struct frame *frame)
{
    struct seen *seen = context;

    seen->count++;
    seen->type = frame->type;
    seen->flags = frame->flags;
    seen->id = frame->id;
    seen->length = frame->length;
    for (size_t i = 0; i < frame->length; i++) {
        seen->sum += (uint8_t)frame->payload[i];
    }
}

static size_t request(uint8_t *bytes, uint32_t id, const char *payload)
{
    size_t length = strlen(payload);

    frame_encode_header(bytes, FRAME_REQUEST, 0, id, (uint32_t)length);
    memcpy(bytes + FRAME_HEADER, payload, length);
    return FRAME_HEADER + length;
}

static void a_request_is_given_whole_however_it_is_cut(void)
{
    uint8_t bytes[64];
    size_t size = request(bytes, 7, "{\"op\":\"hello\"}");

    for (size_t step = 1; step <= size; step++) {
        struct seen seen = {0};
        struct decoder decoder;
        decoder_init(&decoder, record, &seen);
        for (size_t at = 0; at < size; at += step) {
            decoder_feed(&decoder, bytes + at, size - at < step ? size - at : step);
        }
        CHECK(seen.count == 1 && seen.id == 7 && seen.length == 14);
    }
}

static void zeros_between_frames_are_skipped(void)
{
    uint8_t bytes[128] = {0};
    struct seen seen = {0};
    struct decoder decoder;
    size_t size = request(bytes + 5, 1, "{}") + 5;

    size += request(bytes + size + 9, 2, "[]") + 9;
    decoder_init(&decoder, record, &seen);
    decoder_feed(&decoder, bytes, size);
    CHECK(seen.count == 2 && seen.id == 2);
}

static void an_empty_payload_is_a_frame(void)
{
    uint8_t bytes[FRAME_HEADER];
    struct seen seen = {0};
    struct decoder decoder;

    decoder_init(&decoder, record, &seen);
    decoder_feed(&decoder, bytes, request(bytes, 3, ""));
    CHECK(seen.count == 1 && seen.length == 0);
}

static void wrong_headers_lose_the_stream_until_the_zeros(void)
{
    static const struct {
        size_t offset;
        uint8_t value;
    } wrong[] = {{0, 'X'}, {1, 'X'}, {2, FRAME_RESPONSE}, {2, FRAME_EVENT}, {2, 0},
                 {3, 1},   {8, 1},   {9, 5}};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t bytes[64];
        uint8_t zeros[256] = {0};
        struct seen seen = {0};
        struct decoder decoder;
        size_t size = request(bytes, 1, "{}");
        decoder_init(&decoder, record, &seen);
        bytes[wrong[i].offset] = wrong[i].value;
        decoder_feed(&decoder, bytes, size);
        size = request(bytes, 2, "{}");
        decoder_feed(&decoder, bytes, size);
        CHECK(seen.count == 0);
        decoder_feed(&decoder, zeros, sizeof(zeros));
        decoder_feed(&decoder, bytes, size);
        CHECK(seen.count == 1 && seen.id == 2);
        decoder_reset(&decoder);
    }
}

static void the_largest_payload_fits_and_one_byte_more_does_not(void)
{
    uint8_t header[FRAME_HEADER];
    char *payload = malloc(FRAME_MAX_IN);
    struct seen seen = {0};
    struct decoder decoder;

    memset(payload, 'x', FRAME_MAX_IN);
    decoder_init(&decoder, record, &seen);
    frame_encode_header(header, FRAME_REQUEST, 0, 1, FRAME_MAX_IN);
    decoder_feed(&decoder, header, sizeof(header));
    decoder_feed(&decoder, (uint8_t *)payload, FRAME_MAX_IN);
    CHECK(seen.count == 1 && seen.length == FRAME_MAX_IN);
    frame_encode_header(header, FRAME_REQUEST, 0, 1, FRAME_MAX_IN + 1);
    decoder_feed(&decoder, header, sizeof(header));
    CHECK(decoder.state == DECODER_LOST && decoder.payload == NULL);
    free(payload);
}

static void data_and_windows_come_with_flags_and_stream(void)
{
    static const uint8_t data[] = "HV\x04\x80\x01\x02\x03\x04\0\0\0\x03" "abc";
    static const uint8_t window[] = "HV\x05\0\0\0\0\x09\0\0\0\x04" "\0\x01\0\0";
    struct seen seen = {0};
    struct decoder decoder;

    decoder_init(&decoder, record, &seen);
    decoder_feed(&decoder, data, sizeof(data) - 1);
    CHECK(seen.type == FRAME_DATA && seen.flags == FRAME_END && seen.id == 0x01020304);
    CHECK(seen.length == 3 && seen.sum == 'a' + 'b' + 'c');
    decoder_feed(&decoder, window, sizeof(window) - 1);
    CHECK(seen.count == 2 && seen.type == FRAME_WINDOW && seen.id == 9 && seen.length == 4);
}

static void what_a_host_may_not_send_of_a_stream_loses_it(void)
{
    static const struct {
        uint8_t type, flags;
        uint32_t length;
    } wrong[] = {
        {FRAME_DATA, 1, 0},
        {FRAME_DATA, 0x40, 0},
        {FRAME_DATA, 0, FRAME_MAX_DATA + 1},
        {FRAME_WINDOW, FRAME_END, FRAME_WINDOW_SIZE},
        {FRAME_WINDOW, 0, FRAME_WINDOW_SIZE - 1},
        {FRAME_REQUEST, FRAME_END, 2},
        {FRAME_WINDOW + 1, 0, 0},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t header[FRAME_HEADER];
        struct seen seen = {0};
        struct decoder decoder;
        decoder_init(&decoder, record, &seen);
        frame_encode_header(header, wrong[i].type, wrong[i].flags, 1, wrong[i].length);
        decoder_feed(&decoder, header, sizeof(header));
        CHECK(decoder.state == DECODER_LOST && seen.count == 0);
    }
}

/* Whatever went before, a resynchronisation leads to the request after it. */
static void random_bytes_never_harm_and_a_resynchronisation_always_helps(void)
{
    static const uint8_t zeros[RESYNC];
    uint64_t state = 0x9e3779b97f4a7c15;
    uint8_t bytes[600];
    uint8_t hello[64];
    size_t hello_size = request(hello, 0xabcdef01, "{\"op\":\"hello\"}");

    for (int round = 0; round < ROUNDS; round++) {
        struct seen seen = {0};
        struct decoder decoder;
        size_t size = random_next(&state) % 300;
        decoder_init(&decoder, record, &seen);
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (uint8_t)random_next(&state);
        }
        if (round % 2 == 0) {
            /* A proper header with a random length, at a random place. */
            uint32_t length = (uint32_t)(random_next(&state) % (FRAME_MAX_IN + 100));
            frame_encode_header(bytes + size / 2, FRAME_REQUEST, 0, 1, length);
            memset(bytes, 0, size / 2);
            size += FRAME_HEADER;
        }
        for (size_t at = 0; at < size;) {
            size_t chunk = random_next(&state) % 40 + 1;
            chunk = chunk < size - at ? chunk : size - at;
            decoder_feed(&decoder, bytes + at, chunk);
            at += chunk;
        }
        if (round % 20 == 0) {
            decoder_feed(&decoder, zeros, sizeof(zeros));
            seen.count = 0;
            decoder_feed(&decoder, hello, hello_size);
            CHECK(seen.count == 1 && seen.id == 0xabcdef01 && seen.length == 14);
        }
        decoder_reset(&decoder);
    }
}

int main(void)
{
    RUN(a_request_is_given_whole_however_it_is_cut);
    RUN(zeros_between_frames_are_skipped);
    RUN(an_empty_payload_is_a_frame);
    RUN(wrong_headers_lose_the_stream_until_the_zeros);
    RUN(the_largest_payload_fits_and_one_byte_more_does_not);
    RUN(data_and_windows_come_with_flags_and_stream);
    RUN(what_a_host_may_not_send_of_a_stream_loses_it);
    RUN(random_bytes_never_harm_and_a_resynchronisation_always_helps);
    return 0;
}
