/* Reference for the ring bench: an SPSC ring of 64-byte records with cached indices, between two pinned processes.
 *
 *   ring_reference CPU_A CPU_B SLICES ROUND_TRIPS RECORDS PAUSE
 *
 * A sends a record and waits for it to come back, ROUND_TRIPS times, and then does that again for each slice; then it streams
 * RECORDS to B as fast as B takes them, and again for each slice. The best slice of each counts.
 * With PAUSE 1 waiting loops hold a pause instruction, with 0 they do not. Both are run, and the better of each counts.
 * Prints: nanoseconds a round trip, nanoseconds a streamed record, sum of the first words that B received in a slice.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 4096
#define WARM_UP 1000

typedef struct {
    int64_t words[8];
} record;

typedef struct {
    alignas(128) _Atomic uint64_t tail;
    uint64_t head_seen;
    alignas(128) _Atomic uint64_t head;
    uint64_t tail_seen;
    alignas(128) record slots[SLOTS];
} ring;

static inline int push(ring *q, const record *source) {
    uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
    if (tail - q->head_seen >= SLOTS) {
        q->head_seen = atomic_load_explicit(&q->head, memory_order_acquire);
        if (tail - q->head_seen >= SLOTS) return 0;
    }
    memcpy(&q->slots[tail & (SLOTS - 1)], source, sizeof *source);
    atomic_store_explicit(&q->tail, tail + 1, memory_order_release);
    return 1;
}

static inline int pop(ring *q, record *target) {
    uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
    if (head == q->tail_seen) {
        q->tail_seen = atomic_load_explicit(&q->tail, memory_order_acquire);
        if (head == q->tail_seen) return 0;
    }
    memcpy(target, &q->slots[head & (SLOTS - 1)], sizeof *target);
    atomic_store_explicit(&q->head, head + 1, memory_order_release);
    return 1;
}

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static ring *new_ring(void) {
    ring *q = mmap(NULL, sizeof *q, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (q == MAP_FAILED) exit(2);
    return q;
}

static inline void wait_a_little(int pause) {
#if defined(__x86_64__)
    if (pause) __builtin_ia32_pause();
#endif
}

typedef struct {
    ring *to, *back;
    record *buffer;
    int64_t slices, round_trips, records;
} work;

/* Inlined into two callers, each with a constant PAUSE, so that neither loop pays for the choice. */
#define INLINE static inline __attribute__((always_inline))

INLINE void take(ring *q, record *target, int pause) {
    while (!pop(q, target)) wait_a_little(pause);
}

INLINE void give(ring *q, const record *source, int pause) {
    while (!push(q, source)) wait_a_little(pause);
}

INLINE void echo(work w, int pause) {
    for (int64_t i = 0; i < w.slices * w.round_trips + WARM_UP; i++) {
        take(w.to, w.buffer, pause);
        give(w.back, w.buffer, pause);
    }
    for (int64_t slice = 0; slice < w.slices; slice++) {
        int64_t sum = 0;
        for (int64_t i = 0; i < w.records; i++) {
            take(w.to, w.buffer, pause);
            sum += w.buffer->words[0];
        }
        w.buffer->words[0] = sum;
        give(w.back, w.buffer, pause);
    }
}

INLINE double round_trips(work w, int64_t count, int pause) {
    double start = now_ns();
    for (int64_t i = 0; i < count; i++) {
        w.buffer->words[0] = i;
        give(w.to, w.buffer, pause);
        take(w.back, w.buffer, pause);
    }
    return (now_ns() - start) / count;
}

INLINE double stream(work w, int pause) {
    double start = now_ns();
    for (int64_t i = 0; i < w.records; i++) {
        w.buffer->words[0] = i;
        give(w.to, w.buffer, pause);
    }
    take(w.back, w.buffer, pause);
    return (now_ns() - start) / w.records;
}

INLINE void drive(work w, int pause) {
    double trip_ns = 1e18, record_ns = 1e18, took_ns;
    round_trips(w, WARM_UP, pause);
    for (int64_t slice = 0; slice < w.slices; slice++)
        if ((took_ns = round_trips(w, w.round_trips, pause)) < trip_ns) trip_ns = took_ns;
    for (int64_t slice = 0; slice < w.slices; slice++)
        if ((took_ns = stream(w, pause)) < record_ns) record_ns = took_ns;
    printf("%.3f %.4f %lld\n", trip_ns, record_ns, (long long)w.buffer->words[0]);
}

static __attribute__((noinline)) void run_pause(work w, int is_peer) {
    if (is_peer) echo(w, 1);
    else drive(w, 1);
}

static __attribute__((noinline)) void run_spin(work w, int is_peer) {
    if (is_peer) echo(w, 0);
    else drive(w, 0);
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    work w = {new_ring(), new_ring(), aligned_alloc(128, 128), atoll(argv[3]), atoll(argv[4]), atoll(argv[5])};
    memset(w.buffer, 0, 128);
    pid_t child = fork();
    if (child < 0) return 2;
    if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(atoi(argv[child == 0 ? 2 : 1]));
    (atoi(argv[6]) ? run_pause : run_spin)(w, child == 0);
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0);
    return 0;
}
