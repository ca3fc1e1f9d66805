/* Any bytes are read as they were packed; any bytes that are taken for packed ones end. */
#include "fuzz_json.h"
#include "proto/packed.h"

#define SESSION "01a200dc-dcb4-7db2-9e55-b02b7ca137a0"
#define MOST_A_BYTE 80

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_(buf_done) struct buf text = BUF_NULL, packed = BUF_NULL, read = BUF_NULL;
    buf_put(&text, data, size);
    packed_print(text.data, text.len, SESSION, &packed);
    must_hold(packed_read(packed.data, packed.len, SESSION, &read) == 0);
    must_hold(read.len == text.len && (size == 0 || memcmp(read.data, text.data, size) == 0));
    buf_clear(&read);
    if (packed_read(text.data, text.len, SESSION, &read) == 0)
        must_hold(read.len <= MOST_A_BYTE * size);
    return 0;
}
