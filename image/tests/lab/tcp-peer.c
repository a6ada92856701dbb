// The other end of a connection, on Linux's own TCP.
//   tcp-peer server PORT sink|echo SIZE COUNT [check]            waits for a connection
//   tcp-peer client ADDRESS PORT sink|echo SIZE COUNT [check]    makes it
// sink: COUNT messages of SIZE bytes from the client, then a byte back. echo: each message is sent back.
// check: what comes is compared with what a tcp-peer or tcp-bench sends; a byte that differs ends it with 1.
// Prints `N bytes, M per second`.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "content.h"

static unsigned char buffer[RUN_MAX];
static uint64_t sent, received;
static int check;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

// The next `count` bytes of the stream are the first ones in the buffer.
static void compare(size_t count)
{
	if (check)
		check_content(received, buffer, count);
	received += count;
}

static size_t receive_some(int connection, uint64_t most)
{
	ssize_t count = read(connection, buffer, most < RUN_MAX ? most : RUN_MAX);
	if (count < 0)
		fail("read");
	if (count == 0) {
		fprintf(stderr, "the stream ended at byte %llu\n", (unsigned long long)received);
		exit(1);
	}
	return count;
}

static void send_all(int connection, const void *data, size_t left)
{
	while (left > 0) {
		ssize_t count = write(connection, data, left);
		if (count <= 0)
			fail("write");
		data = (const char *)data + count;
		left -= count;
	}
}

// Sends the next `size` bytes of the stream.
static void send_message(int connection, uint64_t size)
{
	for (uint64_t end = sent + size; sent < end;) {
		size_t run = end - sent < RUN_MAX ? end - sent : RUN_MAX;
		send_all(connection, content_at(sent), run);
		sent += run;
	}
}

// Takes the next `size` bytes of the stream.
static void receive_message(int connection, uint64_t size)
{
	for (uint64_t end = received + size; received < end;)
		compare(receive_some(connection, end - received));
}

static int server(const char *port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
	int listener = socket(AF_INET6, SOCK_STREAM, 0), one = 1, zero = 0;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
	if (listener < 0 || bind(listener, (struct sockaddr *)&any, sizeof any) < 0 || listen(listener, 1) < 0)
		fail("listen");
	int connection = accept(listener, NULL, NULL);
	if (connection < 0)
		fail("accept");
	return connection;
}

static int client(const char *address, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST }, *found;
	if (getaddrinfo(address, port, &hints, &found) != 0)
		fail("address");
	// Whoever started us may have been quicker than the other side: a minute, however long an attempt takes.
	for (time_t end = time(NULL) + 60; time(NULL) < end;) {
		int connection = socket(found->ai_family, SOCK_STREAM, 0);
		if (connect(connection, found->ai_addr, found->ai_addrlen) == 0)
			return connection;
		close(connection);
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	}
	fail("connect");
	return -1;
}

int main(int argc, char **argv)
{
	int first = argc > 1 && strcmp(argv[1], "client") == 0 ? 4 : 3, one = 1;
	check = argc == first + 4 && strcmp(argv[first + 3], "check") == 0;
	if (argc != first + 3 + check)
		return fprintf(stderr, "tcp-peer server PORT|client ADDRESS PORT sink|echo SIZE COUNT [check]\n"), 2;
	int is_client = first == 4, is_echo = strcmp(argv[first], "echo") == 0;
	uint64_t size = strtoull(argv[first + 1], NULL, 10), count = strtoull(argv[first + 2], NULL, 10);
	make_content();
	int connection = is_client ? client(argv[2], argv[3]) : server(argv[2]);
	setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	struct timespec start, end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (is_client) {
		for (uint64_t message = 0; message < count; message++) {
			send_message(connection, size);
			if (is_echo)
				receive_message(connection, size);
		}
		if (!is_echo)
			receive_some(connection, 1);
	} else if (is_echo) {
		while (received < size * count) {
			size_t came = receive_some(connection, RUN_MAX);
			compare(came);
			send_all(connection, buffer, came);
		}
	} else {
		receive_message(connection, size * count);
		send_all(connection, &one, 1);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	double seconds = end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9;
	shutdown(connection, SHUT_WR);
	if (check && read(connection, buffer, 1) > 0)
		return fprintf(stderr, "more bytes came than were asked for\n"), 1;
	printf("%llu bytes, %.0f per second\n", (unsigned long long)(size * count), size * count / seconds);
	return 0;
}
