/* The peer of the tick-to-trade benchmark: sends prepared market-data frames, waits for an order of a known size, and answers it.
 *
 *   tick_peer send MARKET ORDERS CORE FRAMES ORDER_BYTES GAP_NS OUT ANSWER ID_AT ID_BYTES ANSWER_AT
 *       send each frame, spin for the order, write round trips (int64 ns)
 *   tick_peer echo MARKET ORDERS CORE FRAME_BYTES ORDER_BYTES ANSWER_BYTES ACKS_LATE
 *       the floor: read a frame, write as many bytes as an order has, read the answer, nothing in between; with ACKS_LATE 1 the
 *       kernel acknowledges a frame after the answer to the order, not while the frame is read
 *
 * MARKET and ORDERS are open, non-blocking TCP sockets. FRAMES is a file: for each frame its length (u32) and its bytes. ANSWER is a
 * file with the frame that ends an order: at ANSWER_AT it gets the ID_BYTES that the order has at ID_AT, unmasked. The answer leaves
 * once the round trip is over, and the next frame SETTLE_NS after it. GAP_NS > 0 paces instead: frame k is due at start + k * GAP_NS
 * and its round trip counts from when it was due, so a late one hides nothing.
 * Exits with 2 for bad arguments, 3 for what the system refused, 4 when the connection ended before the last reply.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

/* From an answer to the next frame: time enough for whoever is told of the order's end. */
#define SETTLE_NS 50000
/* Largest order or answer. */
#define MESSAGE_BYTES_MAX 4096

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

static void read_exactly(int fd, char *buffer, size_t room, size_t length) {
    size_t at = 0;
    while (length > 0) {
        if (at == room) at = 0;
        size_t most = room - at < length ? room - at : length;
        ssize_t n = recv(fd, buffer + at, most, MSG_DONTWAIT);
        if (n > 0) { length -= (size_t)n; at += (size_t)n; }
        else if (n == 0 || errno != EAGAIN) exit(ended);
    }
}

/* Acknowledge what was read, and have the kernel not do so by itself when the next bytes are read. */
static void acknowledge(int fd) {
    for (int quick = 1; quick >= 0; quick--)
        if (setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &quick, sizeof quick) != 0) exit(ended);
}

static void echo(int market, int orders, size_t frame, size_t order, size_t answer, int acks_late) {
    static char in[65536], out[MESSAGE_BYTES_MAX];
    ended = 0;
    for (;;) {
        if (acks_late) acknowledge(market);
        read_exactly(market, in, sizeof in, frame);
        write_all(orders, out, order);
        read_exactly(orders, in, sizeof in, answer);
    }
}

/* Give the answer the order's id. A client's frame has its mask's four bytes before the payload: behind two or four of header. */
static void copy_id(char *answer, const char *order, size_t id_at, size_t id_bytes) {
    size_t payload = ((unsigned char)order[1] & 0x7f) < 126 ? 6 : 8;
    const char *mask = order + payload - 4;
    for (size_t i = 0; i < id_bytes; i++) answer[i] = order[id_at + i] ^ mask[(id_at + i - payload) & 3];
}

static char *map(const char *path, size_t *size) {
    struct stat status;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &status) != 0) exit(3);
    char *data = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (data == MAP_FAILED) exit(3);
    close(file);
    *size = (size_t)status.st_size;
    return data;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int market = atoi(argv[2]), orders = atoi(argv[3]);
    pin(atoi(argv[4]));
    if (strcmp(argv[1], "echo") == 0 && argc == 9)
        echo(market, orders, (size_t)atol(argv[5]), (size_t)atol(argv[6]), (size_t)atol(argv[7]), atoi(argv[8]));
    if (argc != 13) return 2;
    static char order[MESSAGE_BYTES_MAX];
    size_t size, answer_bytes, order_bytes = (size_t)atol(argv[6]);
    char *frames = map(argv[5], &size), *answer = map(argv[9], &answer_bytes);
    size_t id_at = (size_t)atol(argv[10]), id_bytes = (size_t)atol(argv[11]), answer_at = (size_t)atol(argv[12]);
    if (order_bytes > sizeof order || id_at + id_bytes > order_bytes || answer_at + id_bytes > answer_bytes) return 2;
    int64_t gap_ns = atoll(argv[7]), count = 0;
    int64_t *trips = malloc(size / 8 + 8);
    int64_t due = now_ns() + 1000000;
    for (char *at = frames; at < frames + size;) {
        uint32_t length;
        memcpy(&length, at, 4);
        int64_t started = now_ns();
        while (started < due) started = now_ns();
        if (gap_ns > 0) {
            started = due;
            due += gap_ns;
        }
        write_all(market, at + 4, length);
        read_exactly(orders, order, sizeof order, order_bytes);
        int64_t done = now_ns();
        trips[count++] = done - started;
        copy_id(answer + answer_at, order, id_at, id_bytes);
        write_all(orders, answer, answer_bytes);
        if (gap_ns <= 0) due = done + SETTLE_NS;
        at += 4 + length;
    }
    FILE *result = fopen(argv[8], "wb");
    if (!result || fwrite(trips, 8, (size_t)count, result) != (size_t)count) return 3;
    fclose(result);
    shutdown(market, SHUT_RDWR);
    shutdown(orders, SHUT_RDWR);
    return 0;
}
