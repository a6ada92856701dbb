// The probe's `do=matrix` from the other end, on Debian's libxenvchan: vchan-matrix DOMID [all]
//   every pair of ring orders that libxenvchan makes, or those of small rings; both roles; messages
//   of every length around the rings' sizes; and an end by either side, afterwards or in the middle of a stream
// libraries: xenvchan
#include <libxenvchan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../../../vchan/linux/tests/libxenvchan/matrix.h"

static int cases;

static int failed(const char *what, int server, int left, int right)
{
	fprintf(stderr, "vchan-matrix: case %d, %s, rings 2^%d and 2^%d: %s\n", cases, server ? "server" : "client", left, right, what);
	exit(1);
}

static int made(int left, int right)
{
	if (left < 12 && right < 12)
		return left != right;
	return left >= 11 && right >= 11;
}

static struct libxenvchan *join(int domain, const char *path)
{
	// libxenvchan does not wait for its server.
	for (int tries = 0; tries < 12000; tries++) {
		struct libxenvchan *channel = libxenvchan_client_init(NULL, domain, path);
		if (channel)
			return channel;
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	return NULL;
}

static void one(int domain, int server, int left, int right)
{
	char path[64];
	struct libxenvchan *channel;
	if (server)
		snprintf(path, sizeof path, "data/vchan/%d/m%d", domain, cases);
	else
		snprintf(path, sizeof path, "/local/domain/%d/data/vchan/0/m%d", domain, cases);
	channel = server ? libxenvchan_server_init(NULL, domain, path, 1l << left, 1l << right) : join(domain, path);
	if (!channel)
		failed("no channel", server, left, right);
	channel->blocking = 1;
	while (libxenvchan_is_open(channel) == 2)
		libxenvchan_wait(channel);
	if (channel->read.order != (server ? left : right) || channel->write.order != (server ? right : left))
		failed("other rings", server, left, right);
	if (!matrix(channel, 0) || !matrix(channel, 1))
		failed("a message went wrong", server, left, right);
	// Who ends it, and when.
	long some = (1l << channel->read.order) / 3 + cases, now = 0;
	switch (cases % 4) {
	case 0:
		if (libxenvchan_read(channel, matrix_data, 1) != -1)
			failed("no end", server, left, right);
		break;
	case 1:
		break;
	case 2:
		for (; some > 0; some -= now)
			if ((now = libxenvchan_read(channel, matrix_data, some)) <= 0)
				failed("an end too early", server, left, right);
		break;
	default:
		while ((now = libxenvchan_write(channel, matrix_data, 1000)) >= 0)
			;
	}
	libxenvchan_close(channel);
	cases++;
}

int main(int count, char **word)
{
	if (count < 2)
		return 2;
	int all = count > 2 && !strcmp(word[2], "all");
	for (int server = 0; server < 2; server++)
		for (int left = 10; left <= 20; left++)
			for (int right = 10; right <= 20; right++)
				if (made(left, right) && (all || (left == right && left <= 17) || (left <= 13 && right <= 13)))
					one(atoi(word[1]), server, left, right);
	printf("%d channels, %ld bytes\n", cases, matrix_total);
	return 0;
}
