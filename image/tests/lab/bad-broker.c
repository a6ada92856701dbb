// A server that takes MQTT 5 connections and treats each in the next of these ways, then ends:
//   bad-broker PORT WAY...
// silent   says nothing, until the client goes
// close    closes once the client has said something
// reset    the same, with a reset
// garbage  sends what no broker sends
// http     answers as a web server would
// refuse   lets nobody in: server busy
// leave    lets the client in, and ends the connection: server shutting down
// drop     lets the client in, and closes at its first message
// wrong    acknowledges what it was not sent, and nothing else, until the client goes
// pad      begins a packet that is longer than the client takes, and goes on
// Prints a line for each connection.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static char said[4096];

// Reads something; 0 if the client has gone.
static ssize_t hear(int connection) { return read(connection, said, sizeof said); }

// Takes all that the client says until it goes.
static void hear_out(int connection)
{
	while (hear(connection) > 0)
		;
}

// A client that has gone already takes no more; that is its right.
static void say(int connection, const char *bytes, size_t count)
{
	if (send(connection, bytes, count, MSG_NOSIGNAL) < 0)
		perror("send");
}
#define SAY(connection, text) say(connection, text, sizeof text - 1)

// CONNACK, a success without properties.
#define WELCOME "\x20\x03\x00\x00\x00"

static void treat(int connection, const char *way)
{
	if (hear(connection) <= 0)
		return;
	if (strcmp(way, "silent") == 0) {
		hear_out(connection);
	} else if (strcmp(way, "reset") == 0) {
		struct linger none = { .l_onoff = 1, .l_linger = 0 };
		setsockopt(connection, SOL_SOCKET, SO_LINGER, &none, sizeof none);
	} else if (strcmp(way, "garbage") == 0) {
		SAY(connection, "\xF3\xFF\xFF\xFF\xFF\xFF\xFF\x00\x01\x02");
		hear_out(connection);
	} else if (strcmp(way, "http") == 0) {
		SAY(connection, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
		hear_out(connection);
	} else if (strcmp(way, "refuse") == 0) {
		SAY(connection, "\x20\x03\x00\x89\x00");
		hear_out(connection);
	} else if (strcmp(way, "leave") == 0) {
		SAY(connection, WELCOME "\xE0\x01\x8B");
		hear_out(connection);
	} else if (strcmp(way, "drop") == 0) {
		SAY(connection, WELCOME);
		hear(connection);
	} else if (strcmp(way, "wrong") == 0) {
		SAY(connection, WELCOME "\x40\x02\x12\x34");
		hear_out(connection);
	} else if (strcmp(way, "pad") == 0) {
		static const char endless[4096] = "\x20\xFF\xFF\xFF\x7F";
		while (send(connection, endless, sizeof endless, MSG_NOSIGNAL) > 0)
			;
	} else if (strcmp(way, "close") != 0) {
		fprintf(stderr, "no such way: %s\n", way);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return fprintf(stderr, "bad-broker PORT WAY...\n"), 2;
	setlinebuf(stdout);
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (listener < 0 || bind(listener, (struct sockaddr *)&any, sizeof any) < 0 || listen(listener, 1) < 0)
		fail("listen");
	for (int way = 2; way < argc; way++) {
		int connection = accept(listener, NULL, NULL);
		if (connection < 0)
			fail("accept");
		printf("connection %d: %s\n", way - 1, argv[way]);
		treat(connection, argv[way]);
		close(connection);
	}
	return 0;
}
