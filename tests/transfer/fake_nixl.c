/* A libnixl_capi.so that moves nothing: it notes what it is told of memory, one line each:
 *   register KIND ADDRESS LENGTH DEVICE      a range that peers may read
 *   prepare NAME KIND ADDRESS LENGTH DEVICE  a block of the agent NAME; of this side: "here"
 * A peer's metadata is its name. A read is done at once. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char notes[1 << 16];
static size_t end;

const char *gb_fake_notes(void) { return notes; }

static void note(const char *format, ...) {
    va_list values;
    va_start(values, format);
    int wrote = vsnprintf(notes + end, sizeof notes - end, format, values);
    va_end(values);
    if (wrote < 0 || end + (size_t)wrote >= sizeof notes) {
        abort();
    }
    end += (size_t)wrote;
}

struct list {
    int kind;
    int count;
    uint64_t blocks[64][3];
};

static int made(void **out) {
    *out = &notes;
    return 0;
}

static int new_list(int kind, void **out) {
    struct list *list = calloc(1, sizeof *list);
    list->kind = kind;
    *out = list;
    return 0;
}

static int add(struct list *list, uint64_t address, uint64_t length, uint64_t device) {
    if (list->count == 64) {
        abort();
    }
    uint64_t *block = list->blocks[list->count++];
    block[0] = address;
    block[1] = length;
    block[2] = device;
    return 0;
}

static void note_list(const char *what, const struct list *list) {
    for (int i = 0; i < list->count; i++) {
        const unsigned long long address = list->blocks[i][0], length = list->blocks[i][1];
        const unsigned long long device = list->blocks[i][2];
        note("%s %d %llu %llu %llu\n", what, list->kind, address, length, device);
    }
}

#define API(name) int nixl_capi_##name
#define NOTHING(name) \
    API(name)(void) { return 0; }

API(create_configured_agent)(const char *name, const void *config, void **out) {
    (void)name, (void)config;
    return made(out);
}
API(get_local_md)(void *agent, void **data, size_t *length) {
    (void)agent;
    *data = strdup("fake");
    *length = 4;
    return 0;
}
API(load_remote_md)(void *agent, const void *data, size_t length, char **name) {
    (void)agent;
    *name = strndup(data, length);
    return 0;
}
API(create_params)(void **out) { return made(out); }
API(create_backend)(void *agent, const char *name, void *params, void **out) {
    (void)agent, (void)name, (void)params;
    return made(out);
}
API(create_opt_args)(void **out) { return made(out); }
API(create_reg_dlist)(int kind, void **out) { return new_list(kind, out); }
API(reg_dlist_add_desc)
(void *list, uintptr_t address, size_t length, uint64_t device, const void *more, size_t size) {
    (void)more, (void)size;
    return add(list, address, length, device);
}
API(destroy_reg_dlist)(void *list) {
    free(list);
    return 0;
}
API(register_mem)(void *agent, void *list, void *options) {
    (void)agent, (void)options;
    note_list("register", list);
    return 0;
}
API(create_xfer_dlist)(int kind, void **out) { return new_list(kind, out); }
API(xfer_dlist_add_desc)(void *list, uintptr_t address, size_t length, uint64_t device) {
    return add(list, address, length, device);
}
API(destroy_xfer_dlist)(void *list) {
    free(list);
    return 0;
}
API(prep_xfer_dlist)(void *agent, const char *name, void *list, void **out, void *options) {
    (void)agent, (void)options;
    char what[64];
    snprintf(what, sizeof what, "prepare %s", *name == 0 ? "here" : name);
    note_list(what, list);
    return made(out);
}
API(make_xfer_req)
(void *agent, int operation, void *local, const int *local_numbers, size_t local_count,
 void *remote, const int *remote_numbers, size_t remote_count, void **out, void *options) {
    (void)agent, (void)operation, (void)local, (void)local_numbers, (void)local_count;
    (void)remote, (void)remote_numbers, (void)remote_count, (void)options;
    return made(out);
}
API(get_xfer_telemetry)(void) { return -5; }
API(create_notif_map)(void **out) { return made(out); }
API(notif_map_size)(void *map, size_t *size) {
    (void)map;
    *size = 0;
    return 0;
}
NOTHING(destroy_agent)
NOTHING(invalidate_remote_md)
NOTHING(params_add)
NOTHING(destroy_params)
NOTHING(destroy_backend)
NOTHING(destroy_opt_args)
NOTHING(opt_args_add_backend)
NOTHING(opt_args_set_notif_msg)
NOTHING(opt_args_set_has_notif)
NOTHING(deregister_mem)
NOTHING(release_xfer_dlist_handle)
NOTHING(post_xfer_req)
NOTHING(get_xfer_status)
NOTHING(release_xfer_req)
NOTHING(destroy_xfer_req)
NOTHING(gen_notif)
NOTHING(destroy_notif_map)
NOTHING(get_notifs)
NOTHING(notif_map_get_agent_at)
NOTHING(notif_map_get_notifs_size)
NOTHING(notif_map_get_notif)
