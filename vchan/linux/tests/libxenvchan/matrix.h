// Messages of every length around a ring's size, each as a stream and as a whole, on libxenvchan. The other end sends and takes
// the same ones. Whoever includes this has included libxenvchan.h, which may be included once only.

static unsigned char matrix_data[1 << 21];
static long matrix_total;

static unsigned char expected(long at)
{
	return at * 2654435761u >> 24;
}

// One message: `whole` for recv and send, else a stream. Message `number` begins at byte `number` of the data.
static int message(struct libxenvchan *channel, int number, long length, int whole, int out)
{
	unsigned char *data = matrix_data;
	long done = 0, now;
	for (long i = 0; out && i < length; i++)
		data[i] = expected(number + i);
	do {
		if (out)
			now = whole ? libxenvchan_send(channel, data, length) : libxenvchan_write(channel, data + done, length - done);
		else
			now = whole ? libxenvchan_recv(channel, data, length) : libxenvchan_read(channel, data + done, length - done);
		if (now < 0 || (whole && now != length))
			return 0;
		done += now;
	} while (done < length);
	for (long i = 0; !out && i < length; i++)
		if (data[i] != expected(number + i))
			return 0;
	matrix_total += length;
	return 1;
}

// All that goes one way; whether it went well.
static int matrix(struct libxenvchan *channel, int out)
{
	long ring = 1l << (out ? channel->write.order : channel->read.order);
	long lengths[] = { 0, 1, ring / 2 - 1, ring / 2, ring / 2 + 1, ring - 1, ring, ring + 1, 2 * ring };
	// Each as a stream, then twice as a whole, if it fits, then as a stream: the other end changes over in the middle.
	for (int number = 0; number < 4 * 9; number++) {
		long length = lengths[number / 4];
		int whole = number % 4 == 1 || number % 4 == 2;
		if ((whole ? length <= ring : length > 0) && !message(channel, number, length, whole, out))
			return 0;
	}
	return 1;
}
