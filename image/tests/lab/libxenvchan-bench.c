// What vchan-bench measures, on Debian's libxenvchan and its blocking calls:
//   libxenvchan-bench role=server|client peer=DOMID path=XENSTORE-PATH mode=sink|echo size=BYTES count=N [ring=BYTES] [api=packet|stream]
//     [check=off|on] [warm-up=N]
// sink: COUNT messages of SIZE bytes from the client. echo: each message is sent back. It is over once all of it is read.
// warm-up: so many messages go before the clock starts, and are all read by then.
// packet: libxenvchan_send and libxenvchan_recv, a message each. stream: libxenvchan_write, and libxenvchan_read of all there is.
// Prints vchan-bench's line of JSON, but for what only that knows; the events are those of the event channel.
// libraries: xenvchan xenevtchn
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <libxenvchan.h>
#include "content.h"

static unsigned char buffer[RUN_MAX];
static uint64_t sent, received, size, count, warm_up, events_sent, events_received, *round_trips;
static struct libxenvchan *channel;
static int stream, check;

static void fail(const char *what)
{
	printf("libxenvchan-bench: %s after %llu bytes sent, %llu received\n", what, (unsigned long long)sent, (unsigned long long)received);
	exit(1);
}

// The library calls these two here, on its way to libxenevtchn.
int xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port)
{
	static int (*real)(xenevtchn_handle *, evtchn_port_t);
	if (!real)
		real = dlsym(RTLD_NEXT, "xenevtchn_notify");
	events_sent++;
	return real(handle, port);
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *handle)
{
	static xenevtchn_port_or_error_t (*real)(xenevtchn_handle *);
	if (!real)
		real = dlsym(RTLD_NEXT, "xenevtchn_pending");
	events_received++;
	return real(handle);
}

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void send_all(const unsigned char *data, size_t length)
{
	if (!stream && libxenvchan_send(channel, data, length) != (int)length)
		fail("cannot send");
	for (size_t done = 0; stream && done < length;) {
		int written = libxenvchan_write(channel, data + done, length - done);
		if (written <= 0)
			fail("cannot write");
		done += written;
	}
}

static size_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

// The next bytes of the stream; more than RUN_MAX go in several parts, as packets of their own.
static void send_message(uint64_t left)
{
	for (; left > 0; left -= least(left, RUN_MAX)) {
		size_t length = least(left, RUN_MAX);
		send_all(content_at(sent), length);
		sent += length;
	}
}

// The next bytes of the stream come into the buffer: a packet of this length, or as many as there are up to it.
static size_t receive_part(size_t most)
{
	int length = stream ? libxenvchan_read(channel, buffer, most) : libxenvchan_recv(channel, buffer, most);
	if (length <= 0)
		fail("cannot receive");
	if (check)
		check_content(received, buffer, length);
	received += length;
	return length;
}

static void client(int echo, uint64_t messages)
{
	for (uint64_t message = 0; message < messages; message++) {
		uint64_t start = echo ? now() : 0;
		send_message(size);
		while (echo && received < sent)
			receive_part(least(sent - received, RUN_MAX));
		if (echo)
			round_trips[message] = now() - start;
	}
}

static void server(int echo, uint64_t messages)
{
	uint64_t end = received + size * messages;
	while (received < end) {
		size_t length = receive_part(stream ? least(echo ? least(size, RUN_MAX) : RUN_MAX, end - received) : least(size, RUN_MAX));
		if (echo) {
			send_all(buffer, length);
			sent += length;
		}
	}
}

// Until the peer has read everything, or has gone.
static void drain(int ring)
{
	while (libxenvchan_buffer_space(channel) < ring && libxenvchan_is_open(channel) == 1)
		libxenvchan_wait(channel);
	if (libxenvchan_buffer_space(channel) < ring)
		fail("the peer went without reading everything");
}

static int by_length(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
	return (left > right) - (left < right);
}

static unsigned long long quantile(uint64_t of, uint64_t whole)
{
	uint64_t rank = (count * of + whole - 1) / whole;
	return round_trips[rank ? rank - 1 : 0];
}

// So many bytes were sent and received before.
static void report(uint64_t took, int has_round_trips, uint64_t sent_before, uint64_t received_before)
{
	double seconds = took / 1e9;
	printf("{\"bench\":\"vchan\",\"size\":%llu,\"count\":%llu,\"warm_up\":%llu,\"seconds\":%.9f,\"bytes_per_s\":%.0f,\"messages_per_s\":%.0f,",
		(unsigned long long)size, (unsigned long long)count, (unsigned long long)warm_up, seconds, size * count / seconds, count / seconds);
	if (has_round_trips) {
		qsort(round_trips, count, sizeof *round_trips, by_length);
		printf("\"rtt_ns\":{\"p50\":%llu,\"p99\":%llu,\"p999\":%llu,\"max\":%llu},",
			quantile(50, 100), quantile(99, 100), quantile(999, 1000), quantile(1, 1));
	} else {
		printf("\"rtt_ns\":null,");
	}
	printf("\"events_sent\":%llu,\"events_received\":%llu,\"hypercalls\":null,\"role\":\"%s\",\"api\":\"%s\","
		"\"bytes_sent\":%llu,\"bytes_received\":%llu,\"checked\":%s}\n",
		(unsigned long long)events_sent, (unsigned long long)events_received, channel->is_server ? "server" : "client",
		stream ? "stream" : "packet", (unsigned long long)(sent - sent_before), (unsigned long long)(received - received_before), check ? "true" : "false");
}

int main(int words, char **word)
{
	const char *keys[] = { "role", "peer", "path", "mode", "size", "count", "ring", "api", "check", "warm-up" };
	const char *value[] = { "", "", "", "sink", "64", "1000", "65536", "packet", "off", "0" };
	enum { ROLE, PEER, PATH, MODE, SIZE, COUNT, RING, API, CHECK, WARM_UP, KEYS };
	for (int index = 1; index < words; index++) {
		int key = 0;
		size_t length = strcspn(word[index], "=");
		while (key < KEYS && (strlen(keys[key]) != length || strncmp(word[index], keys[key], length) != 0))
			key++;
		if (key == KEYS || word[index][length] == 0)
			fail(word[index]);
		value[key] = word[index] + length + 1;
	}
	int is_server = strcmp(value[ROLE], "server") == 0, echo = strcmp(value[MODE], "echo") == 0, peer = atoi(value[PEER]);
	size_t ring = strtoul(value[RING], NULL, 0);
	size = strtoull(value[SIZE], NULL, 0);
	count = strtoull(value[COUNT], NULL, 0);
	stream = strcmp(value[API], "stream") == 0;
	check = strcmp(value[CHECK], "on") == 0;
	warm_up = strtoull(value[WARM_UP], NULL, 0);
	round_trips = calloc(count > warm_up ? count : warm_up, sizeof *round_trips);
	if (size == 0 || (size > RUN_MAX && size % RUN_MAX != 0) || count == 0 || !round_trips)
		fail("size and count");
	make_content();
	if (is_server)
		channel = libxenvchan_server_init(NULL, peer, value[PATH], ring, ring);
	// libxenvchan does not wait for its server.
	for (int tries = 0; !is_server && !channel && tries < 600; tries++) {
		channel = libxenvchan_client_init(NULL, peer, value[PATH]);
		if (!channel)
			nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	}
	if (!channel)
		fail("no channel");
	int room = libxenvchan_buffer_space(channel);
	channel->blocking = 1;
	if (warm_up) {
		if (is_server)
			server(echo, warm_up);
		else
			client(echo, warm_up);
		drain(room);
	}
	// A server's time begins with the first byte.
	while (is_server && libxenvchan_data_ready(channel) == 0 && libxenvchan_is_open(channel) != 0)
		libxenvchan_wait(channel);
	events_sent = events_received = 0;
	uint64_t sent_before = sent, received_before = received, start = now();
	if (is_server)
		server(echo, count);
	else
		client(echo, count);
	drain(room);
	report(now() - start, echo && !is_server, sent_before, received_before);
	// The client knows first that all is done.
	if (is_server && libxenvchan_read(channel, buffer, 1) > 0)
		fail("more bytes came than were asked for");
	libxenvchan_close(channel);
	return 0;
}
