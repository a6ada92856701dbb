// A peer on Debian's libxenvchan: an oracle for interoperation.
//   vchan-peer echo     server DOMID PATH LEFT RIGHT    sends back what comes; prints `N bytes, crc32 HEX`
//   vchan-peer exchange client DOMID PATH               sends its input, and prints what comes until it is as much
//   vchan-peer send     client DOMID PATH 0 0 SIZE COUNT    sends so many messages at once each, as the bench programs do, and
//                                                           closes
//   vchan-peer ask      client DOMID PATH 0 0 SIZE COUNT    the same, and wants each back before the next one
//   vchan-peer take     server DOMID PATH LEFT RIGHT        compares what comes with what the bench programs send, to the close
// Every work goes with either role, and prints `N bytes, ...` at the end.
// libraries: xenvchan
#include <time.h>
#include <unistd.h>
#include <libxenvchan.h>
#include "content.h"

static uint32_t crc = 0xffffffff;
static uint64_t received;

static void fail(const char *what)
{
	fprintf(stderr, "vchan-peer: %s\n", what);
	exit(1);
}

static void count(const uint8_t *data, int length)
{
	received += length;
	for (int i = 0; i < length; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
}

static struct libxenvchan *join(int domain, const char *path)
{
	// libxenvchan does not wait for its server.
	for (int tries = 0; tries < 1200; tries++) {
		struct libxenvchan *channel = libxenvchan_client_init(NULL, domain, path);
		if (channel)
			return channel;
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	}
	fail("no server came");
	return NULL;
}

static void echo(struct libxenvchan *channel)
{
	uint8_t data[5000];
	int length;
	channel->blocking = 1;
	while ((length = libxenvchan_read(channel, data, sizeof data)) > 0) {
		count(data, length);
		for (int done = 0; done < length;) {
			int written = libxenvchan_write(channel, data + done, length - done);
			if (written < 0)
				fail("the peer closed before it had everything back");
			done += written;
		}
	}
	printf("%llu bytes, crc32 %08x\n", (unsigned long long)received, ~crc);
}

static void exchange(struct libxenvchan *channel)
{
	uint8_t out[5000], in[5000];
	int filled = 0, done = 0, ended = 0;
	uint64_t sent = 0;
	channel->blocking = 0;
	while (!ended || received < sent) {
		int written = 0, length;
		if (done == filled && !ended) {
			done = 0;
			filled = read(STDIN_FILENO, out, sizeof out);
			if (filled < 0)
				fail("cannot read the input");
			ended = filled == 0;
		}
		if (done < filled) {
			written = libxenvchan_write(channel, out + done, filled - done);
			if (written < 0)
				fail("the peer closed while we sent");
			done += written;
			sent += written;
		}
		length = libxenvchan_read(channel, in, sizeof in);
		if (length < 0)
			fail("the peer closed before we had everything back");
		count(in, length);
		if (length > 0 && write(STDOUT_FILENO, in, length) != length)
			fail("cannot write the output");
		if (written == 0 && length == 0 && !(ended && received == sent))
			libxenvchan_wait(channel);
	}
}

// Messages of the bench programs; each is wanted back if `back` is set.
static void messages(struct libxenvchan *channel, int size, uint64_t count, int back)
{
	static uint8_t data[RUN_MAX];
	uint64_t sent = 0;
	if (size < 1 || size > RUN_MAX)
		fail("SIZE is from 1 to 65536");
	channel->blocking = 1;
	for (; count > 0; count--, sent += size) {
		if (libxenvchan_send(channel, content_at(sent), size) != size)
			fail("the peer closed before it had everything");
		if (!back)
			continue;
		if (libxenvchan_recv(channel, data, size) != size)
			fail("the peer closed before we had everything back");
		check_content(sent, data, size);
	}
	printf("%llu bytes, %s\n", (unsigned long long)sent, back ? "all back" : "sent");
}

static void take(struct libxenvchan *channel)
{
	static uint8_t data[RUN_MAX];
	int length;
	channel->blocking = 1;
	while ((length = libxenvchan_read(channel, data, sizeof data)) > 0) {
		check_content(received, data, length);
		received += length;
	}
	printf("%llu bytes, as they should be\n", (unsigned long long)received);
}

int main(int count, char **word)
{
	if (count < 5)
		fail("vchan-peer echo|exchange|send|ask|take server|client DOMID PATH [LEFT RIGHT [SIZE COUNT]]");
	int server = strcmp(word[2], "server") == 0, domain = atoi(word[3]);
	size_t left = count > 5 ? strtoul(word[5], NULL, 0) : 0;
	size_t right = count > 6 ? strtoul(word[6], NULL, 0) : 0;
	int size = count > 7 ? atoi(word[7]) : 64;
	uint64_t messages_wanted = count > 8 ? strtoull(word[8], NULL, 0) : 1000;
	const char *work = word[1];
	make_content();
	struct libxenvchan *channel = server
		? libxenvchan_server_init(NULL, domain, word[4], left, right)
		: join(domain, word[4]);
	if (!channel)
		fail("cannot offer a channel");
	if (strcmp(work, "echo") == 0)
		echo(channel);
	else if (strcmp(work, "exchange") == 0)
		exchange(channel);
	else if (strcmp(work, "take") == 0)
		take(channel);
	else
		messages(channel, size, messages_wanted, strcmp(work, "ask") == 0);
	libxenvchan_close(channel);
	return 0;
}
