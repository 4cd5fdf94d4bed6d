/* The peer of the tick-to-trade benchmark: sends prepared market-data frames, waits for an order of a known size.
 *
 *   tick_peer send FD FRAMES REPLY_BYTES CORE GAP_NS OUT   send each frame, spin for the reply, write round trips (int64 ns)
 *   tick_peer echo FD FRAME_BYTES REPLY_BYTES CORE         the floor: read a frame, write a reply, nothing in between
 *
 * FD is an open, non-blocking TCP socket. FRAMES is a file: for each frame its length (u32) and its bytes. GAP_NS > 0 paces:
 * frame k is due at start + k * GAP_NS and its round trip counts from when it was due, so a late one hides nothing.
 * Exits with 2 for bad arguments, 3 for what the system refused, 4 when the connection ended before the last reply.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What the program exits with when the connection ends: for `echo` that is how it is told to. */
static int ended = 4;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) exit(3);
}

static void write_all(int fd, const char *data, size_t length) {
    while (length > 0) {
        ssize_t n = send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) { data += n; length -= (size_t)n; }
        else if (n < 0 && errno != EAGAIN) exit(ended);
    }
}

static void read_exactly(int fd, size_t length) {
    static char buffer[65536];
    while (length > 0) {
        ssize_t n = recv(fd, buffer, length < sizeof buffer ? length : sizeof buffer, MSG_DONTWAIT);
        if (n > 0) length -= (size_t)n;
        else if (n == 0 || errno != EAGAIN) exit(ended);
    }
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = atoi(argv[2]);
    pin(atoi(argv[5]));
    if (strcmp(argv[1], "echo") == 0) {
        size_t in = (size_t)atol(argv[3]), out = (size_t)atol(argv[4]);
        char *reply = calloc(1, out);
        ended = 0;
        for (;;) { read_exactly(fd, in); write_all(fd, reply, out); }
    }
    if (argc != 8) return 2;
    int file = open(argv[3], O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0) return 3;
    char *frames = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (frames == MAP_FAILED) return 3;
    size_t reply = (size_t)atol(argv[4]);
    int64_t gap_ns = atoll(argv[6]), count = 0;
    int64_t *trips = malloc((size_t)status.st_size / 8 + 8);
    int64_t due = now_ns() + 1000000;
    for (char *at = frames; at < frames + status.st_size;) {
        uint32_t length;
        memcpy(&length, at, 4);
        int64_t started = now_ns();
        if (gap_ns > 0) {
            while (started < due) started = now_ns();
            started = due;
            due += gap_ns;
        }
        write_all(fd, at + 4, length);
        read_exactly(fd, reply);
        trips[count++] = now_ns() - started;
        at += 4 + length;
    }
    FILE *result = fopen(argv[7], "wb");
    if (!result || fwrite(trips, 8, (size_t)count, result) != (size_t)count) return 3;
    fclose(result);
    shutdown(fd, SHUT_RDWR);
    return 0;
}
