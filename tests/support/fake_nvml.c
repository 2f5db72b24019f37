/* A stand-in for NVIDIA's libnvidia-ml.so.1, with the functions that the agent's NVML child calls.
 *
 * It reads the file named by FAKE_NVML_STATE again on each call, so that a test changes the machine under a running
 * process. One setting a line; what isn't set has the value in [brackets]:
 *
 *   init 18                  nvmlInit answers this error [0]
 *   init hang | init abort   nvmlInit never returns, or ends the process
 *   count 8                  number of GPUs [0]
 *   model NVIDIA L4          name of every GPU [NVIDIA GeForce RTX 4090]
 *   memory 25757220864       bytes of every GPU [that many]
 *   memory unsupported       as unified-memory parts answer; "denied": as a MIG parent in a container does
 *   mig 2                    every GPU is cut into so many slices, the first of them at number 1 [-1: knows no MIG]
 *   lost 3                   this GPU answers every call with "GPU is lost" [-1]
 *   cuda missing             the driver is too old to tell its CUDA version
 *
 * Build: gcc -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o DIR/libnvidia-ml.so.1 fake_nvml.c
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, GPU_IS_LOST = 15 };
enum { MOST_GPUS = 16, MOST_SLICES = 7, LINE_BYTES = 256 };

typedef struct { int gpu, slice; } Device; /* slice -1: the whole GPU */
typedef struct { unsigned long long total, free, used; } Memory;

static Device devices[MOST_GPUS][MOST_SLICES + 1];

/* The value of a setting, copied into a buffer of its own; the default where it isn't set. */
static const char *setting(const char *name, const char *otherwise) {
    static char values[8][LINE_BYTES];
    static int next;
    char line[LINE_BYTES], *value = values[next++ % 8];
    size_t length = strlen(name);
    const char *path = getenv("FAKE_NVML_STATE");
    FILE *file = path ? fopen(path, "r") : NULL;
    snprintf(value, LINE_BYTES, "%s", otherwise);
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, name, length) && line[length] == ' ')
            snprintf(value, LINE_BYTES, "%s", line + length + 1);
    }
    if (file) fclose(file);
    return value;
}

static int number(const char *name, const char *otherwise) { return atoi(setting(name, otherwise)); }

static int health(const Device *device) { return device->gpu == number("lost", "-1") ? GPU_IS_LOST : SUCCESS; }

static int pick(int gpu, int slice, void **handle) {
    Device *device = &devices[gpu][slice + 1];
    *device = (Device){gpu, slice};
    *handle = device;
    return health(device);
}

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    if (!strcmp(setting("init", "0"), "hang")) for (;;) pause();
    if (!strcmp(setting("init", "0"), "abort")) abort();
    return number("init", "0");
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) { return code == SUCCESS ? "Success" : "fake error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned int length) {
    snprintf(text, length, "560.35.03");
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = 12060;
    return strcmp(setting("cuda", ""), "missing") ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = (unsigned int)number("count", "0");
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    if ((int)index >= number("count", "0") || index >= MOST_GPUS) return INVALID;
    return pick((int)index, -1, handle);
}

int nvmlDeviceGetName(void *handle, char *text, unsigned int length) {
    const Device *device = handle;
    snprintf(text, length, "%s%s", setting("model", "NVIDIA GeForce RTX 4090"), device->slice < 0 ? "" : " MIG 1g.5gb");
    return health(device);
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned int length) {
    const Device *device = handle;
    if (device->slice < 0) snprintf(text, length, "GPU-fake-%d", device->gpu);
    else snprintf(text, length, "MIG-fake-%d-%d", device->gpu, device->slice);
    return health(device);
}

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    const Device *device = handle;
    const char *value = setting("memory", "25757220864");
    if (device->slice < 0 && !strcmp(value, "unsupported")) return NOT_SUPPORTED;
    if (device->slice < 0 && !strcmp(value, "denied")) return NO_PERMISSION;
    *memory = (Memory){device->slice < 0 ? strtoull(value, NULL, 10) : 5368709120ULL, 0, 0};
    memory->free = memory->total;
    return health(device);
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    *major = 8;
    *minor = 9;
    return health(handle);
}

int nvmlDeviceGetMigMode(void *handle, unsigned int *current, unsigned int *pending) {
    int slices = number("mig", "-1");
    *current = *pending = slices >= 0;
    return slices < 0 ? NOT_SUPPORTED : health(handle);
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned int *count) {
    *count = MOST_SLICES;
    return health(handle);
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned int index, void **slice) {
    const Device *device = handle;
    if (index < 1 || (int)index > number("mig", "-1") || index >= MOST_SLICES) return NOT_FOUND;
    return pick(device->gpu, (int)index, slice);
}
