// Stand-ins for libxengnttab, libxenevtchn and libxenstore, so that libxenvchan runs without Xen: what it asks of them is
// done with the platform between processes of `vchan_linux::local`. One channel for each process. `$VCHAN_SOCKET` is where
// the ends meet.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

enum { PAGE = 4096, RUNS = 3, SERVER_PORT = 7, CLIENT_PORT = 8 };

// The message of `hello.rs`.
static struct { uint64_t magic; uint32_t busy, ring_ref, port, count, runs[RUNS][2]; } hello;
static int files[RUNS], epoll = -1, line = -1, listener = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct sockaddr_un address(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	strncpy(at.sun_path, getenv("VCHAN_SOCKET"), sizeof at.sun_path - 1);
	return at;
}

static void bound(int socket)
{
	struct epoll_event event = { .events = EPOLLIN };
	pthread_mutex_lock(&lock);
	line = socket;
	pthread_mutex_unlock(&lock);
	epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event);
}

// Sends or receives the message with its files.
static ssize_t exchange(int socket, int send)
{
	char control[CMSG_SPACE(sizeof files)] = { 0 };
	struct iovec data = { &hello, send ? 24 + 8 * hello.count : sizeof hello };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control };
	message.msg_controllen = send ? CMSG_SPACE(hello.count * sizeof(int)) : sizeof control;
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	if (send) {
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(hello.count * sizeof(int));
		memcpy(CMSG_DATA(head), files, hello.count * sizeof(int));
		return sendmsg(socket, &message, MSG_NOSIGNAL);
	}
	ssize_t length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	if (length > 0 && (head = CMSG_FIRSTHDR(&message)))
		memcpy(files, CMSG_DATA(head), head->cmsg_len - CMSG_LEN(0));
	return length;
}

static void *door(void *unused)
{
	int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (socket >= 0) {
		bound(socket);
		exchange(socket, 1);
	}
	return unused;
}

// Grants of a server: a sealed memfd for each run of pages.
static void *share(int count, uint32_t *refs)
{
	int file = memfd_create("libxenvchan", MFD_CLOEXEC | MFD_ALLOW_SEALING), run = hello.count++;
	uint32_t first = run ? hello.runs[run - 1][0] + hello.runs[run - 1][1] : 1;
	if (ftruncate(file, (off_t)count * PAGE) || fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK))
		abort();
	files[run] = file;
	hello.runs[run][0] = first;
	hello.runs[run][1] = count;
	for (int page = 0; page < count; page++)
		refs[page] = first + page;
	return mmap(NULL, (size_t)count * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}

// Mappings of a client: one run of pages, in their order.
static void *map(uint32_t count, const uint32_t *refs, int prot)
{
	for (uint32_t run = 0; run < hello.count; run++) {
		uint32_t first = hello.runs[run][0], pages = hello.runs[run][1];
		if (refs[0] >= first && refs[count - 1] < first + pages && refs[count - 1] - refs[0] == count - 1) {
			void *at = mmap(NULL, (size_t)count * PAGE, prot, MAP_SHARED, files[run], (off_t)(refs[0] - first) * PAGE);
			return at == MAP_FAILED ? NULL : at;
		}
	}
	return NULL;
}

#define ANY ((void *)&hello)
#define UNUSED(...) ((void)sizeof((int[]){ __VA_ARGS__ }))
xengntshr_handle *xengntshr_open(struct xentoollog_logger *log, unsigned flags) { UNUSED(log != NULL, flags); return ANY; }
int xengntshr_close(xengntshr_handle *handle) { UNUSED(handle != NULL); return 0; }
xengnttab_handle *xengnttab_open(struct xentoollog_logger *log, unsigned flags) { UNUSED(log != NULL, flags); return ANY; }
int xengnttab_close(xengnttab_handle *handle) { UNUSED(handle != NULL); return 0; }
void *xengntshr_share_pages(xengntshr_handle *handle, uint32_t domid, int count, uint32_t *refs, int writable)
{
	UNUSED(handle != NULL, domid, writable);
	return share(count, refs);
}
void *xengntshr_share_page_notify(xengntshr_handle *handle, uint32_t domid, uint32_t *ref, int writable, uint32_t offset,
                                  evtchn_port_t port)
{
	UNUSED(handle != NULL, domid, writable, offset, port);
	return share(1, ref);
}
int xengntshr_unshare(xengntshr_handle *handle, void *start, uint32_t count)
{
	UNUSED(handle != NULL);
	return munmap(start, (size_t)count * PAGE);
}
void *xengnttab_map_domain_grant_refs(xengnttab_handle *handle, uint32_t count, uint32_t domid, uint32_t *refs, int prot)
{
	UNUSED(handle != NULL, domid);
	return map(count, refs, prot);
}
void *xengnttab_map_grant_ref_notify(xengnttab_handle *handle, uint32_t domid, uint32_t ref, int prot, uint32_t offset,
                                     evtchn_port_t port)
{
	UNUSED(handle != NULL, domid, offset, port);
	return map(1, &ref, prot);
}
int xengnttab_unmap(xengnttab_handle *handle, void *start, uint32_t count)
{
	UNUSED(handle != NULL);
	return munmap(start, (size_t)count * PAGE);
}

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *log, unsigned flags)
{
	UNUSED(log != NULL, flags);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	return ANY;
}
int xenevtchn_close(xenevtchn_handle *handle)
{
	UNUSED(handle != NULL);
	shutdown(line, SHUT_RDWR);
	return close(epoll);
}
int xenevtchn_fd(xenevtchn_handle *handle) { UNUSED(handle != NULL); return epoll; }
int xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port)
{
	UNUSED(handle != NULL, port);
	pthread_mutex_lock(&lock);
	int socket = line;
	pthread_mutex_unlock(&lock);
	// A full queue holds events enough.
	send(socket, "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	return 0;
}
xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *handle)
{
	struct epoll_event event;
	char byte[8];
	ssize_t length;
	UNUSED(handle != NULL);
	while (epoll_wait(epoll, &event, 1, -1) < 0 && errno == EINTR)
		;
	while ((length = recv(line, byte, sizeof byte, MSG_DONTWAIT)) > 0)
		;
	// Its end: whoever waits finds the live byte cleared, or waits no more.
	if (length == 0 && epoll_ctl(epoll, EPOLL_CTL_DEL, line, NULL))
		return -1;
	return 1;
}
int xenevtchn_unmask(xenevtchn_handle *handle, evtchn_port_t port) { UNUSED(handle != NULL, port); return 0; }
int xenevtchn_unbind(xenevtchn_handle *handle, evtchn_port_t port) { UNUSED(handle != NULL, port); return 0; }
xenevtchn_port_or_error_t xenevtchn_bind_unbound_port(xenevtchn_handle *handle, uint32_t domid)
{
	UNUSED(handle != NULL, domid);
	return SERVER_PORT;
}
xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *handle, uint32_t domid, evtchn_port_t port)
{
	UNUSED(handle != NULL, domid);
	if (port != hello.port)
		return -1;
	bound(listener);
	return CLIENT_PORT;
}

struct xs_handle *xs_open(unsigned long flags) { UNUSED(flags != 0); return ANY; }
void xs_close(struct xs_handle *handle) { UNUSED(handle != NULL); }
xs_transaction_t xs_transaction_start(struct xs_handle *handle) { UNUSED(handle != NULL); return 1; }
bool xs_set_permissions(struct xs_handle *handle, xs_transaction_t t, const char *path, struct xs_permissions *perms,
                        unsigned count)
{
	UNUSED(handle != NULL, t != 0, path != NULL, perms != NULL, count);
	return true;
}
bool xs_write(struct xs_handle *handle, xs_transaction_t t, const char *path, const void *data, unsigned length)
{
	char value[16] = { 0 };
	UNUSED(handle != NULL, t != 0);
	memcpy(value, data, length < sizeof value ? length : sizeof value - 1);
	*(strstr(path, "/ring-ref") ? &hello.ring_ref : &hello.port) = atoi(value);
	return true;
}
// Both keys are there: the door opens, under the folder's lock, as `folder.rs` has it.
bool xs_transaction_end(struct xs_handle *handle, xs_transaction_t t, bool abandon)
{
	struct sockaddr_un at = address();
	pthread_t thread;
	UNUSED(handle != NULL, t != 0, abandon);
	memcpy(&hello.magic, "vchan\0\0\1", 8);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	char *folder = strdup(at.sun_path);
	int held = open(dirname(folder), O_RDONLY | O_CLOEXEC);
	flock(held, LOCK_EX);
	bool ready = !bind(listener, (struct sockaddr *)&at, sizeof at) && !listen(listener, 1);
	close(held);
	free(folder);
	return ready && !pthread_create(&thread, NULL, door, NULL) && !pthread_detach(thread);
}
void *xs_read(struct xs_handle *handle, xs_transaction_t t, const char *path, unsigned *length)
{
	struct sockaddr_un at = address();
	char value[16] = "1";
	UNUSED(handle != NULL, t != 0);
	if (!hello.magic && strstr(path, "/ring-ref")) {
		listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		if (connect(listener, (struct sockaddr *)&at, sizeof at) || exchange(listener, 0) <= 0) {
			close(listener);
			return NULL;
		}
	}
	if (strcmp(path, "domid"))
		snprintf(value, sizeof value, "%u", strstr(path, "/ring-ref") ? hello.ring_ref : hello.port);
	if (length)
		*length = strlen(value);
	return strdup(value);
}
bool xs_rm(struct xs_handle *handle, xs_transaction_t t, const char *path)
{
	UNUSED(handle != NULL, t != 0, path != NULL);
	return !unlink(getenv("VCHAN_SOCKET"));
}
