#include "disk.h"
#include "field.h"
#include "overlay.h"

int overlay_parse(const json_t *request, struct overlay *overlay, struct failure *why)
{
    const json_t *list;

    if (field_list(request, "layers", OVERLAY_MAX_LAYERS, &list, why) < 0) {
        return -1;
    }
    overlay->layer_count = json_array_size(list);
    if (overlay->layer_count == 0) {
        return failure_set(why, "invalid", "a root needs at least one layer");
    }
    for (size_t i = 0; i < overlay->layer_count; i++) {
        overlay->layers[i] = json_string_value(json_array_get(list, i));
        if (overlay->layers[i] == NULL || !field_is_name(overlay->layers[i], DISK_SERIAL_MAX)) {
            return failure_set(why, "invalid", "item %zu of \"layers\" is not a serial number", i);
        }
    }
    return upper_parse(json_object_get(request, "upper"), &overlay->upper, why);
}
