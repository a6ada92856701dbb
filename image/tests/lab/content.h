// The stream that bench programs send: a block of noise over and over, of a length that no two places which could be taken for
// one another are apart (see apps/bench/src/content.rs). The block, and as much of it again as a run that begins at its end needs.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PERIOD = 65537, RUN_MAX = 65536 };
static unsigned char content[PERIOD + RUN_MAX];

static void make_content(void)
{
	uint64_t state = 0x2545f4914f6cdd1d;
	for (size_t index = 0; index < PERIOD; index++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		content[index] = state >> 56;
	}
	memcpy(content + PERIOD, content, RUN_MAX);
}

// What the stream holds from `position` on, RUN_MAX bytes at least.
static const unsigned char *content_at(uint64_t position)
{
	return content + position % PERIOD;
}

// Ends the program if these bytes, no more than RUN_MAX, are not what the stream holds from `position` on.
static void check_content(uint64_t position, const unsigned char *data, size_t count)
{
	const unsigned char *wanted = content_at(position);
	if (memcmp(data, wanted, count) != 0) {
		size_t at = 0;
		while (data[at] == wanted[at])
			at++;
		fprintf(stderr, "byte %llu of the stream is 0x%02x and not 0x%02x\n", (unsigned long long)(position + at), data[at], wanted[at]);
		exit(1);
	}
}
