// A peer on Debian's libxenvchan: an oracle for interoperation.
//   vchan-peer echo     server DOMID PATH LEFT RIGHT    sends back what comes; prints `N bytes, crc32 HEX`
//   vchan-peer exchange client DOMID PATH               sends its input, and prints what comes until it is as much
// Either work goes with either role.
// libraries: xenvchan
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <libxenvchan.h>

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

int main(int count, char **word)
{
	if (count < 5)
		fail("vchan-peer echo|exchange server|client DOMID PATH [LEFT RIGHT]");
	int server = strcmp(word[2], "server") == 0, domain = atoi(word[3]);
	size_t left = count > 5 ? strtoul(word[5], NULL, 0) : 0;
	size_t right = count > 6 ? strtoul(word[6], NULL, 0) : 0;
	struct libxenvchan *channel = server
		? libxenvchan_server_init(NULL, domain, word[4], left, right)
		: join(domain, word[4]);
	if (!channel)
		fail("cannot offer a channel");
	if (strcmp(word[1], "echo") == 0)
		echo(channel);
	else
		exchange(channel);
	libxenvchan_close(channel);
	return 0;
}
