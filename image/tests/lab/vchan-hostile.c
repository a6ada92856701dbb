// A peer that does not keep to the protocol: a libxenvchan program that writes into the control page what it is told to.
//   vchan-hostile server DOMID PATH LEFT RIGHT STEP...
//   vchan-hostile client DOMID PATH STEP...
// Steps, in their order; the first is said to be done by a line `ready` once all steps before the first `met` are done:
//   poke OFFSET SIZE VALUE    stores VALUE, of SIZE bytes (1, 2 or 4), at OFFSET of the control page
//   copy OFFSET FROM          stores the 4 bytes that stand at FROM
//   met                       waits until the peer is connected
//   event COUNT               sends so many events
//   storm                     sends events without end, until the peer has gone or for 60 s
//   mute COUNT                writes so many bytes into the ring without an event, and publishes them
//   consumed                  waits until the peer has read all of it, for 60 s at most
//   echo                      sends back what comes, to the end
//   stay                      waits until the peer has closed, for 60 s at most, and says `closed` or `open`
//   hold SECONDS              keeps everything mapped for so long, whatever the peer does
//   die                       ends without a close, the pages mapped to the last
// libraries: xenvchan xenevtchn
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <libxenvchan.h>

static struct libxenvchan *channel;

static void fail(const char *what)
{
	fprintf(stderr, "vchan-hostile: %s\n", what);
	_exit(1);
}

static void nap(void) { nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL); }

static struct libxenvchan *join(int domain, const char *path)
{
	for (int tries = 0; tries < 3000; tries++, nap()) {
		struct libxenvchan *joined = libxenvchan_client_init(NULL, domain, path);
		if (joined)
			return joined;
	}
	fail("no server came");
	return NULL;
}

static volatile uint8_t *page(void) { return (volatile uint8_t *)channel->ring; }
static volatile uint8_t *peer_live(void) { return page() + (channel->is_server ? 20 : 21); }
static void event(void) { xenevtchn_notify(channel->event, channel->event_port); }

static void mute(unsigned count)
{
	// libxenvchan keeps its own index in the shared page.
	volatile uint32_t *prod = (volatile uint32_t *)(page() + (channel->is_server ? 12 : 4));
	uint8_t *ring = channel->write.buffer;
	for (unsigned i = 0; i < count; i++)
		ring[(*prod + i) % (1u << channel->write.order)] = 'm';
	__sync_synchronize();
	*prod += count;
}

static void echo(void)
{
	uint8_t data[5000];
	int length;
	channel->blocking = 1;
	while ((length = libxenvchan_read(channel, data, sizeof data)) > 0)
		for (int done = 0, written; done < length; done += written)
			if ((written = libxenvchan_write(channel, data + done, length - done)) < 0)
				fail("the peer closed before it had everything back");
}

static char **word;
static const char *next(void) { return *word ? *word++ : (fail("a word is missing"), NULL); }
static unsigned long number(void) { return strtoul(next(), NULL, 0); }

int main(int count, char **words)
{
	(void)count;
	word = words + 1;
	int server = strcmp(next(), "server") == 0, domain = number();
	const char *path = next();
	if (server) {
		size_t left = number(), right = number();
		channel = libxenvchan_server_init(NULL, domain, path, left, right);
	} else {
		channel = join(domain, path);
	}
	if (!channel)
		fail("cannot offer a channel");
	int said = 0;
	while (*word) {
		const char *step = next();
		if (!said && strcmp(step, "poke") && strcmp(step, "copy")) {
			printf("ready\n");
			fflush(stdout);
			said = 1;
		}
		if (strcmp(step, "poke") == 0) {
			volatile uint8_t *at = page() + number();
			unsigned long size = number();
			uint32_t value = number();
			if (size == 1)
				*at = value;
			else if (size == 2)
				*(volatile uint16_t *)at = value;
			else
				*(volatile uint32_t *)at = value;
		} else if (strcmp(step, "copy") == 0) {
			volatile uint32_t *at = (volatile uint32_t *)(page() + number());
			*at = *(volatile uint32_t *)(page() + number());
		} else if (strcmp(step, "met") == 0) {
			for (int tries = 0; *peer_live() != 1; tries++, nap())
				if (tries == 3000)
					fail("the peer did not come");
		} else if (strcmp(step, "event") == 0) {
			for (unsigned long left = number(); left > 0; left--)
				event();
		} else if (strcmp(step, "storm") == 0) {
			unsigned long sent = 0;
			for (time_t end = time(NULL) + 60; *peer_live() == 1 && time(NULL) < end;)
				for (int i = 0; i < 1000; i++, sent++)
					event();
			printf("%lu events\n", sent);
		} else if (strcmp(step, "mute") == 0) {
			mute(number());
		} else if (strcmp(step, "consumed") == 0) {
			volatile uint32_t *index = (volatile uint32_t *)(page() + (channel->is_server ? 8 : 0));
			for (int tries = 0; index[0] != index[1]; tries++, nap())
				if (tries == 3000)
					fail("the peer has not read it");
		} else if (strcmp(step, "stay") == 0) {
			int tries = 0;
			for (; *peer_live() == 1 && tries < 3000; tries++)
				nap();
			printf("%s\n", *peer_live() == 1 ? "open" : "closed");
			fflush(stdout);
		} else if (strcmp(step, "echo") == 0) {
			echo();
		} else if (strcmp(step, "hold") == 0) {
			for (unsigned long left = number() * 50; left > 0; left--)
				nap();
		} else if (strcmp(step, "die") == 0) {
			_exit(0);
		} else {
			fail(step);
		}
	}
	if (!said)
		printf("ready\n");
	libxenvchan_close(channel);
	return 0;
}
