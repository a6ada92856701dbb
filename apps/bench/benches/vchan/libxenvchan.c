// One end of a measurement of unmodified libxenvchan; the other end is this program in the other role.
//   libxenvchan server|client poll|block stream|echo SIZE COUNT CPU
// The client sends COUNT messages of SIZE bytes, and waits for one byte back once all are read, or for each as a whole. It
// prints how many nanoseconds that took; both print how many events they sent, and last the nanoseconds that half of the round
// trips stayed below.
#define _GNU_SOURCE
#include <libxenvchan.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xenevtchn.h>

enum { RING = 65536 };

static struct libxenvchan *channel;
static unsigned char data[1 << 20];
static long events;

int __real_xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port);
int __wrap_xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port)
{
	events++;
	return __real_xenevtchn_notify(handle, port);
}

static void give(int length)
{
	for (int done = 0, now; done < length; done += now)
		if ((now = libxenvchan_write(channel, data + done, length - done)) < 0)
			exit(4);
}

static void take(int length)
{
	for (int done = 0, now; done < length; done += now)
		if ((now = libxenvchan_read(channel, data + done, length - done)) < 0)
			exit(4);
}

static long nanoseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000 + now.tv_nsec;
}

static int by_length(const void *a, const void *b)
{
	long left = *(const long *)a, right = *(const long *)b;
	return (left > right) - (left < right);
}

int main(int words, char **word)
{
	if (words != 7)
		return 2;
	int server = !strcmp(word[1], "server"), echo = !strcmp(word[3], "echo");
	int size = atoi(word[4]);
	long number = atol(word[5]);
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	CPU_SET(atoi(word[6]), &cpus);
	if (sched_setaffinity(0, sizeof cpus, &cpus))
		return 2;
	if (server)
		channel = libxenvchan_server_init(NULL, 1, "data/vchan/1/e", RING, RING);
	for (int tries = 0; !server && !channel && tries < 6000; tries++) {
		channel = libxenvchan_client_init(NULL, 1, "/local/domain/1/data/vchan/2/e");
		if (!channel)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	long *laps = calloc(number + 1, sizeof *laps);
	if (!channel || !laps)
		return 3;
	while (libxenvchan_is_open(channel) == 2)
		libxenvchan_wait(channel);
	channel->blocking = !strcmp(word[2], "block");
	// Both are there.
	if (server) {
		give(1);
		take(1);
	} else {
		take(1);
		give(1);
	}
	events = 0;
	long start = nanoseconds(), lap = start;
	for (long i = 0; i < number; i++) {
		if (server)
			take(size);
		else
			give(size);
		if (echo && server)
			give(size);
		else if (echo) {
			take(size);
			long end = nanoseconds();
			laps[i] = end - lap;
			lap = end;
		}
	}
	if (!echo && server)
		give(1);
	else if (!echo)
		take(1);
	long took = nanoseconds() - start;
	qsort(laps, number, sizeof *laps, by_length);
	printf("%ld %ld %ld\n", server ? 0 : took, events, laps[(number - 1) / 2]);
	// Its reader may lose what stands in the ring at a close, so the server, which has the last word, closes second.
	while (server && libxenvchan_is_open(channel))
		sched_yield();
	libxenvchan_close(channel);
	return 0;
}
