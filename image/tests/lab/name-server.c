// A DNS server that knows one name.
//   name-server NAME ADDRESS    answers on port 53 of every address until it is killed
// Any other name does not exist (RCODE 3).
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	if (argc != 3)
		return fprintf(stderr, "name-server NAME ADDRESS\n"), 2;
	// The name as it stands in a question: each part with its length before it.
	uint8_t name[256] = { 0 };
	size_t length = 0;
	for (char *part = strtok(argv[1], "."); part && length + strlen(part) < 200; part = strtok(NULL, ".")) {
		name[length] = strlen(part);
		memcpy(name + length + 1, part, name[length]);
		length += 1 + name[length];
	}
	length++;
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(53) }, from;
	int socket_ = socket(AF_INET, SOCK_DGRAM, 0);
	if (socket_ < 0 || bind(socket_, (struct sockaddr *)&any, sizeof any) < 0)
		return perror("bind"), 1;
	for (;;) {
		uint8_t message[512];
		socklen_t size = sizeof from;
		ssize_t count = recvfrom(socket_, message, 400, 0, (struct sockaddr *)&from, &size);
		if (count < 12 + 5)
			continue;
		int known = (size_t)count >= 12 + length + 4 && memcmp(message + 12, name, length) == 0;
		message[2] |= 0x80;
		message[3] = 0x80 | (known ? 0 : 3);
		if (known) {
			// The name again (a pointer to the question), A, IN, a minute, four bytes.
			static const uint8_t answer[12] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4 };
			count = 12 + length + 4;
			message[7] = 1;
			memcpy(message + count, answer, sizeof answer);
			if (inet_pton(AF_INET, argv[2], message + count + sizeof answer) != 1)
				return fprintf(stderr, "no address\n"), 2;
			count += sizeof answer + 4;
		}
		sendto(socket_, message, count, 0, (struct sockaddr *)&from, size);
	}
}
