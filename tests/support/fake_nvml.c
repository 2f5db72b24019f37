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
 *   lost 3                   this GPU answers every call with "GPU is lost" [-1]; reset 3: with "reset required"
 *   order 1 0                numbers of the GPUs in the order of their indices [0 1 2 ...]
 *   cuda missing             the driver is too old to tell its CUDA version
 *   use 37, temperature 61, power 210500 (mW), used 2147483648 (bytes), ecc 0: live figures of every GPU [those]
 *   recovery 1               recovery action that every GPU asks for: 1 is "reset" [0; -1: the driver can't tell]
 *   xid 79 3 1               the first event of the machine: Xid 79 on GPU 3; a later one has a higher last number
 *   CALL_error 999           this call answers so: uuid, name, memory, capability, mig, use, temperature, power, ecc,
 *                            events, count, driver; "hang" or "abort": as for init
 *
 * Build: gcc -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o DIR/libnvidia-ml.so.1 fake_nvml.c
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, TIMEOUT = 10, GPU_IS_LOST = 15,
    RESET_REQUIRED = 16
};
enum { MOST_GPUS = 16, MOST_SLICES = 7, LINE_BYTES = 256 };

typedef struct { int gpu, slice; } Device; /* slice -1: the whole GPU */
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Use;
typedef struct { void *device; unsigned long long type, data; unsigned int instance, compute; } Event;
typedef struct {
    unsigned int field, scope;
    long long at, latency;
    int type, answer;
    union { unsigned int number; unsigned long long wide; } value;
} Field;

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

static int told(const char *value) {
    if (!strcmp(value, "hang")) for (;;) pause();
    if (!strcmp(value, "abort")) abort();
    return atoi(value);
}

/* What a call answers: the error set for it, else the device's state. */
static int health(const char *call, const Device *device) {
    char name[LINE_BYTES];
    snprintf(name, sizeof name, "%s_error", call);
    int error = told(setting(name, "0"));
    if (error || !device) return error;
    if (device->gpu == number("lost", "-1")) return GPU_IS_LOST;
    return device->gpu == number("reset", "-1") ? RESET_REQUIRED : SUCCESS;
}

static int pick(int gpu, int slice, void **handle) {
    Device *device = &devices[gpu][slice + 1];
    *device = (Device){gpu, slice};
    *handle = device;
    return health("handle", device);
}

/* The number of the GPU at an index. */
static int ordered(unsigned int index) {
    const char *rest = setting("order", "");
    int gpu = (int)index, width = 0;
    for (unsigned int place = 0; sscanf(rest, "%d%n", &gpu, &width) == 1 && place < index; place++) rest += width;
    return gpu;
}

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    return told(setting("init", "0"));
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) { return code == SUCCESS ? "Success" : "fake error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned int length) {
    snprintf(text, length, "560.35.03");
    return health("driver", NULL);
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = 12060;
    return strcmp(setting("cuda", ""), "missing") ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = (unsigned int)number("count", "0");
    return health("count", NULL);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    if ((int)index >= number("count", "0") || index >= MOST_GPUS) return INVALID;
    return pick(ordered(index), -1, handle);
}

int nvmlDeviceGetName(void *handle, char *text, unsigned int length) {
    const Device *device = handle;
    snprintf(text, length, "%s%s", setting("model", "NVIDIA GeForce RTX 4090"), device->slice < 0 ? "" : " MIG 1g.5gb");
    return health("name", device);
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned int length) {
    const Device *device = handle;
    if (device->slice < 0) snprintf(text, length, "GPU-fake-%d", device->gpu);
    else snprintf(text, length, "MIG-fake-%d-%d", device->gpu, device->slice);
    return health("uuid", device);
}

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    const Device *device = handle;
    const char *value = setting("memory", "25757220864");
    if (device->slice < 0 && !strcmp(value, "unsupported")) return NOT_SUPPORTED;
    if (device->slice < 0 && !strcmp(value, "denied")) return NO_PERMISSION;
    *memory = (Memory){device->slice < 0 ? strtoull(value, NULL, 10) : 5368709120ULL, 0, 0};
    memory->used = strtoull(setting("used", "2147483648"), NULL, 10);
    memory->free = memory->total - memory->used;
    return health("memory", device);
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    *major = 8;
    *minor = 9;
    return health("capability", handle);
}

int nvmlDeviceGetMigMode(void *handle, unsigned int *current, unsigned int *pending) {
    int slices = number("mig", "-1");
    *current = *pending = slices >= 0;
    return slices < 0 ? NOT_SUPPORTED : health("mig", handle);
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned int *count) {
    *count = MOST_SLICES;
    return health("slices", handle);
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned int index, void **slice) {
    const Device *device = handle;
    if (index < 1 || (int)index > number("mig", "-1") || index >= MOST_SLICES) return NOT_FOUND;
    return pick(device->gpu, (int)index, slice);
}

int nvmlDeviceGetUtilizationRates(void *handle, Use *use) {
    if (number("mig", "-1") >= 0) return NOT_SUPPORTED;
    *use = (Use){(unsigned int)number("use", "37"), 0};
    return health("use", handle);
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned int *degrees) {
    (void)sensor;
    *degrees = (unsigned int)number("temperature", "61");
    return health("temperature", handle);
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned int *milliwatts) {
    *milliwatts = (unsigned int)number("power", "210500");
    return health("power", handle);
}

int nvmlDeviceGetTotalEccErrors(void *handle, int error, int counter, unsigned long long *count) {
    if (error != 1 || counter != 0) return INVALID;
    *count = (unsigned long long)number("ecc", "0");
    return health("ecc", handle);
}

int nvmlDeviceGetFieldValues(void *handle, int count, Field *values) {
    int action = number("recovery", "0");
    for (int i = 0; i < count; i++) {
        values[i].answer = action < 0 || values[i].field != 230 ? NOT_SUPPORTED : SUCCESS;
        values[i].type = 1;
        values[i].value.wide = 0;
        values[i].value.number = (unsigned int)action;
    }
    return health("fields", handle);
}

int nvmlEventSetCreate(void **set) {
    *set = devices;
    return health("events", NULL);
}

int nvmlDeviceRegisterEvents(void *handle, unsigned long long types, void *set) {
    (void)types, (void)set;
    return health("events", handle);
}

int nvmlEventSetWait_v2(void *set, Event *event, unsigned int timeout_ms) {
    static int seen;
    int xid = 0, gpu = 0, serial = 0;
    (void)set, (void)timeout_ms;
    if (sscanf(setting("xid", ""), "%d %d %d", &xid, &gpu, &serial) != 3 || serial <= seen) return TIMEOUT;
    seen = serial;
    *event = (Event){&devices[gpu][0], 8, (unsigned long long)xid, 0, 0};
    return SUCCESS;
}

int nvmlEventSetFree(void *set) { return set ? SUCCESS : INVALID; }
