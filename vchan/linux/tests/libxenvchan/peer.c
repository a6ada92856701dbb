// A peer on unmodified libxenvchan.
//   peer server LEFT RIGHT WORK...     peer client WORK...
//   echo stream PIECE     sends back what comes, up to PIECE bytes at once, until the end; prints `N HASH`
//   echo packet PIECE     the same in messages of PIECE bytes, all or nothing
//   source PIECE BYTES    sends so many bytes, PIECE at once, closes at once, and prints `N HASH`
//   sink BYTES            reads so many, closes, and prints `N HASH`
//   matrix                reads and sends messages of every length around its rings' sizes, each as a stream and as a whole
//   step N                reads once, stops before the Nth instruction of that, prints a dot, goes on after a byte of input,
//                         and reads on to the end; prints `N HASH`, or `over` where it took fewer instructions
//   look                  looks a thousand times for data; prints how often it found none, and whether the peer is there
#define _GNU_SOURCE
#include <libxenvchan.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include "matrix.h"

static struct libxenvchan *channel;
static unsigned char data[1 << 21];
static uint64_t hash = 0xcbf29ce484222325;
static long total;

static void count(int length)
{
	total += length;
	for (int i = 0; i < length; i++)
		hash = (hash ^ data[i]) * 0x100000001b3;
}

static int give(int length)
{
	for (int done = 0, now; done < length; done += now)
		if ((now = libxenvchan_write(channel, data + done, length - done)) < 0)
			return -1;
	return 0;
}

static volatile long steps, chosen;

static void trace(int on)
{
	long flags;
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushf; pop %0; lea 128(%%rsp), %%rsp" : "=r"(flags) : : "memory");
	flags = on ? flags | 0x100 : flags & ~0x100;
	__asm__ volatile("lea -128(%%rsp), %%rsp; push %0; popf; lea 128(%%rsp), %%rsp" : : "r"(flags) : "memory", "cc");
}

static void stepped(int signal, siginfo_t *info, void *context)
{
	char byte = '.';
	(void)signal, (void)info;
	if (steps++ < chosen)
		return;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100;
	if (write(STDOUT_FILENO, &byte, 1) != 1 || read(STDIN_FILENO, &byte, 1) != 1)
		_exit(7);
}

int main(int words, char **word)
{
	int server = words > 1 && !strcmp(word[1], "server"), at = server ? 4 : 2, length;
	if (words < at + 1)
		return 2;
	if (server)
		channel = libxenvchan_server_init(NULL, 1, "data/vchan/1/e", atol(word[2]), atol(word[3]));
	// libxenvchan does not wait for its server.
	for (int tries = 0; !server && !channel && tries < 6000; tries++) {
		channel = libxenvchan_client_init(NULL, 1, "/local/domain/1/data/vchan/2/e");
		if (!channel)
			nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	if (!channel)
		return 3;
	channel->blocking = 1;
	// Nor does a server that writes and closes wait for its client.
	while (libxenvchan_is_open(channel) == 2)
		libxenvchan_wait(channel);
	const char *work = word[at];
	if (!strcmp(work, "echo") && !strcmp(word[at + 1], "stream")) {
		while ((length = libxenvchan_read(channel, data, atoi(word[at + 2]))) > 0) {
			count(length);
			if (give(length))
				return 4;
		}
	} else if (!strcmp(work, "echo")) {
		int piece = atoi(word[at + 2]);
		while ((length = libxenvchan_recv(channel, data, piece)) == piece) {
			count(length);
			if (libxenvchan_send(channel, data, piece) != piece)
				return 4;
		}
	} else if (!strcmp(work, "source")) {
		int piece = atoi(word[at + 1]);
		for (long left = atol(word[at + 2]); left > 0; left -= length) {
			length = left < piece ? left : piece;
			for (int i = 0; i < length; i++)
				data[i] = (total + i) * 2654435761u >> 24;
			count(length);
			if (give(length))
				return 4;
		}
	} else if (!strcmp(work, "matrix")) {
		if (!matrix(channel, 0) || !matrix(channel, 1))
			return 5;
		total = matrix_total;
	} else if (!strcmp(work, "step")) {
		struct sigaction action = { .sa_sigaction = stepped, .sa_flags = SA_SIGINFO };
		sigaction(SIGTRAP, &action, NULL);
		chosen = atol(word[at + 1]);
		channel->blocking = 0;
		trace(1);
		length = libxenvchan_read(channel, data, 100);
		trace(0);
		if (steps <= chosen) {
			puts("over");
			return 0;
		}
		channel->blocking = 1;
		for (; length >= 0; length = libxenvchan_read(channel, data, 100))
			count(length);
	} else if (!strcmp(work, "look")) {
		int none = 0;
		channel->blocking = 0;
		for (int i = 0; i < 1000; i++)
			none += !libxenvchan_data_ready(channel) && !libxenvchan_read(channel, data, 100);
		printf("%d %d\n", none, libxenvchan_is_open(channel));
		return 0;
	} else {
		for (long left = atol(word[at + 1]); left > 0; left -= length) {
			length = libxenvchan_read(channel, data, left < 5000 ? left : 5000);
			if (length <= 0)
				return 4;
			count(length);
		}
	}
	libxenvchan_close(channel);
	printf("%ld %016llx\n", total, (unsigned long long)hash);
	return 0;
}
