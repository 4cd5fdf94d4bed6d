/* The peer of the tick-to-trade benchmark: sends prepared market-data frames, waits for an order of a known size, and answers it.
 *
 *   tick_peer send MARKET ORDERS CORE FRAMES ORDER_BYTES GAP_NS OUT ANSWER ID_AT ID_BYTES ANSWER_AT [CERTIFICATE KEY]
 *       say in one line what the connections speak, wait for a byte on the standard input; then send each frame, spin for the
 *       order, write round trips (int64 ns)
 *   tick_peer echo MARKET ORDERS CORE FRAME_BYTES ORDER_BYTES ANSWER_BYTES ACKS_LATE [AUTHORITY]
 *       the floor: read a frame, write as many bytes as an order has, read the answer, nothing in between; with ACKS_LATE 1 the
 *       kernel acknowledges a frame after the answer to the order, not while the frame is read
 *
 * MARKET and ORDERS are open, non-blocking TCP sockets; of ORDERS there may be several, with commas between: an order may come on any,
 * and is answered there. The floor writes to the first. FRAMES is a file: for each frame its length (u32) and its bytes. ANSWER is a
 * file with what ends an order: at ANSWER_AT it gets the ID_BYTES that the order has at ID_AT, unmasked. The answer leaves
 * once the round trip is over, and the next frame SETTLE_NS after it. GAP_NS > 0 paces instead: frame k is due at start + k * GAP_NS
 * and its round trip counts from when it was due, so a late one hides nothing. An order that has not come after MISSED_NS was not
 * sent; the round trip is -1 then, and the frames after it are due as much later.
 *
 * Compiled with OVER_TLS both connections speak TLS: `send` is their server, with CERTIFICATE and KEY, and `echo` the client, which
 * trusts AUTHORITY; files in PEM. A frame, an order and an answer are each one write.
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
#ifdef OVER_TLS
#include <openssl/ssl.h>
#define FILES 2
#else
#define FILES 0
#endif

/* From an answer to the next frame: time enough for whoever is told of the order's end. */
#define SETTLE_NS 50000
/* From a frame to giving up on its order: more than any order is late on its way. */
#define MISSED_NS 250000000
/* Spins between two looks at the clock. */
#define SPINS 4096
/* Spins on the first connection for orders between two looks at one of the others. */
#define LOOKS 64
#define CONNECTIONS_MAX 16
/* Largest order or answer. */
#define MESSAGE_BYTES_MAX 4096

/* What the program exits with when the connection ends: for `echo` that is how it is told to. */
static int ended = 4;

#ifdef OVER_TLS
struct end { int fd; SSL *ssl; };

/* The bytes that a call moved; 0: nothing can be moved now. */
static size_t moved(struct end *end, int n) {
    if (n > 0) return (size_t)n;
    int why = SSL_get_error(end->ssl, n);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) exit(ended);
    return 0;
}

static size_t give(struct end *end, const char *data, size_t length) { return moved(end, SSL_write(end->ssl, data, (int)length)); }

static size_t take(struct end *end, char *buffer, size_t length) { return moved(end, SSL_read(end->ssl, buffer, (int)length)); }

static SSL_CTX *server(char **files) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context || SSL_CTX_use_certificate_chain_file(context, files[0]) != 1) exit(3);
    if (SSL_CTX_use_PrivateKey_file(context, files[1], SSL_FILETYPE_PEM) != 1) exit(3);
    SSL_CTX_set_num_tickets(context, 0);
    return context;
}

static SSL_CTX *client(char **files) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context || SSL_CTX_load_verify_locations(context, files[0], NULL) != 1) exit(3);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    return context;
}

/* Shake hands. A record is read by one system call, not its header first; so does the engine. */
static struct end open_end(int fd, SSL_CTX *context, int accepts) {
    struct end end = { fd, SSL_new(context) };
    if (!end.ssl || SSL_set_fd(end.ssl, fd) != 1) exit(3);
    SSL_set_read_ahead(end.ssl, 1);
    while (moved(&end, accepts ? SSL_accept(end.ssl) : SSL_connect(end.ssl)) == 0) sched_yield();
    return end;
}

static void say_protocol(struct end *end) {
    printf("%s %s, %s\n", SSL_get_version(end->ssl), SSL_get_cipher_name(end->ssl), OpenSSL_version(OPENSSL_VERSION));
}
#else
struct end { int fd; };
typedef void SSL_CTX;

static size_t moved(ssize_t n) {
    if (n > 0) return (size_t)n;
    if (n == 0 || errno != EAGAIN) exit(ended);
    return 0;
}

static size_t give(struct end *end, const char *data, size_t length) { return moved(send(end->fd, data, length, MSG_DONTWAIT)); }

static size_t take(struct end *end, char *buffer, size_t length) { return moved(recv(end->fd, buffer, length, MSG_DONTWAIT)); }

static SSL_CTX *server(char **files) { (void)files; return NULL; }

static SSL_CTX *client(char **files) { (void)files; return NULL; }

static struct end open_end(int fd, SSL_CTX *context, int accepts) {
    (void)context, (void)accepts;
    return (struct end){ fd };
}

static void say_protocol(struct end *end) { (void)end; printf("TCP\n"); }
#endif

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

static void write_all(struct end *end, const char *data, size_t length) {
    while (length > 0) {
        size_t n = give(end, data, length);
        data += n;
        length -= n;
    }
}

static void read_exactly(struct end *end, char *buffer, size_t room, size_t length) {
    size_t at = 0;
    while (length > 0) {
        if (at == room) at = 0;
        size_t n = take(end, buffer + at, room - at < length ? room - at : length);
        length -= n;
        at += n;
    }
}

struct ends { struct end of[CONNECTIONS_MAX]; unsigned count; };

static struct ends open_all(char *fds, SSL_CTX *context, int accepts) {
    struct ends ends = { .count = 0 };
    for (char *fd = strtok(fds, ","); fd && ends.count < CONNECTIONS_MAX; fd = strtok(NULL, ","))
        ends.of[ends.count++] = open_end(atoi(fd), context, accepts);
    if (ends.count == 0) exit(2);
    return ends;
}

/* Read an order; the connection that it came on, or NULL if nothing of it has come by the deadline. */
static struct end *read_order(struct ends *orders, char *buffer, size_t length, int64_t deadline_ns) {
    for (unsigned spins = 1;; spins++) {
        struct end *end = &orders->of[spins % LOOKS == 0 ? spins / LOOKS % orders->count : 0];
        size_t n = take(end, buffer, length);
        if (n > 0) {
            read_exactly(end, buffer + n, length - n, length - n);
            return end;
        }
        if (spins % SPINS == 0 && now_ns() > deadline_ns) return NULL;
    }
}

/* Acknowledge what was read, and have the kernel not do so by itself when the next bytes are read. */
static void acknowledge(int fd) {
    for (int quick = 1; quick >= 0; quick--)
        if (setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &quick, sizeof quick) != 0) exit(ended);
}

static void echo(struct end market, struct end orders, size_t frame, size_t order, size_t answer, int acks_late) {
    static char in[65536], out[MESSAGE_BYTES_MAX];
    ended = 0;
    for (;;) {
        if (acks_late) acknowledge(market.fd);
        read_exactly(&market, in, sizeof in, frame);
        write_all(&orders, out, order);
        read_exactly(&orders, in, sizeof in, answer);
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
    signal(SIGPIPE, SIG_IGN);
    pin(atoi(argv[4]));
    if (strcmp(argv[1], "echo") == 0 && argc == 9 + FILES / 2) {
        SSL_CTX *context = client(argv + 9);
        struct end market = open_end(atoi(argv[2]), context, 0);
        echo(market, open_all(argv[3], context, 0).of[0], (size_t)atol(argv[5]), (size_t)atol(argv[6]), (size_t)atol(argv[7]), atoi(argv[8]));
    }
    if (argc != 13 + FILES) return 2;
    static char order[MESSAGE_BYTES_MAX];
    size_t size, answer_bytes, order_bytes = (size_t)atol(argv[6]);
    char *frames = map(argv[5], &size), *answer = map(argv[9], &answer_bytes), go;
    size_t id_at = (size_t)atol(argv[10]), id_bytes = (size_t)atol(argv[11]), answer_at = (size_t)atol(argv[12]);
    if (order_bytes > sizeof order || id_at + id_bytes > order_bytes || answer_at + id_bytes > answer_bytes) return 2;
    SSL_CTX *context = server(argv + 13);
    struct end market = open_end(atoi(argv[2]), context, 1), *asked;
    struct ends orders = open_all(argv[3], context, 1);
    say_protocol(&market);
    fflush(stdout);
    if (read(STDIN_FILENO, &go, 1) != 1) return 4;
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
        write_all(&market, at + 4, length);
        at += 4 + length;
        if (!(asked = read_order(&orders, order, order_bytes, now_ns() + MISSED_NS))) {
            trips[count++] = -1;
            due = now_ns() + gap_ns;
            continue;
        }
        int64_t done = now_ns();
        trips[count++] = done - started;
        copy_id(answer + answer_at, order, id_at, id_bytes);
        write_all(asked, answer, answer_bytes);
        if (gap_ns <= 0) due = done + SETTLE_NS;
    }
    FILE *result = fopen(argv[8], "wb");
    if (!result || fwrite(trips, 8, (size_t)count, result) != (size_t)count) return 3;
    fclose(result);
    shutdown(market.fd, SHUT_RDWR);
    for (unsigned k = 0; k < orders.count; k++) shutdown(orders.of[k].fd, SHUT_RDWR);
    return 0;
}
