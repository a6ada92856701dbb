// The other end of a connection, on Linux's own TCP.
//   tcp-peer server PORT sink|echo SIZE COUNT            waits for a connection
//   tcp-peer client ADDRESS PORT sink|echo SIZE COUNT    makes it
// sink: COUNT messages of SIZE bytes from the client, then a byte back. echo: each message is sent back.
// Prints `N bytes, M per second`.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buffer[65536];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void send_all(int connection, uint64_t left)
{
	while (left > 0) {
		size_t size = left < sizeof buffer ? left : sizeof buffer;
		ssize_t sent = write(connection, buffer, size);
		if (sent <= 0)
			fail("write");
		left -= sent;
	}
}

static void receive_all(int connection, uint64_t left)
{
	while (left > 0) {
		size_t size = left < sizeof buffer ? left : sizeof buffer;
		ssize_t count = read(connection, buffer, size);
		if (count <= 0)
			fail("read");
		left -= count;
	}
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
	// Whoever started us may have been quicker than the other side.
	for (int tries = 0; tries < 600; tries++) {
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
	if (argc != first + 3)
		return fprintf(stderr, "tcp-peer server PORT|client ADDRESS PORT sink|echo SIZE COUNT\n"), 2;
	int is_client = first == 4, is_echo = strcmp(argv[first], "echo") == 0;
	uint64_t size = strtoull(argv[first + 1], NULL, 10), count = strtoull(argv[first + 2], NULL, 10);
	int connection = is_client ? client(argv[2], argv[3]) : server(argv[2]);
	setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	struct timespec start, end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (is_client) {
		for (uint64_t message = 0; message < count; message++) {
			send_all(connection, size);
			if (is_echo)
				receive_all(connection, size);
		}
		if (!is_echo)
			receive_all(connection, 1);
	} else if (is_echo) {
		ssize_t arrived;
		for (uint64_t left = size * count; left > 0; left -= arrived) {
			arrived = read(connection, buffer, sizeof buffer);
			if (arrived <= 0)
				fail("read");
			send_all(connection, arrived);
		}
	} else {
		receive_all(connection, size * count);
		send_all(connection, 1);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	double seconds = end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9;
	printf("%llu bytes, %.0f per second\n", (unsigned long long)(size * count), size * count / seconds);
	shutdown(connection, SHUT_WR);
	return 0;
}
