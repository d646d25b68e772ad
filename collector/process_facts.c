/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/process_facts.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/json.h"
#include "common/xalloc.h"
#include "image/process_maps.h"

#define COMMAND_BYTES_MAX 65536

static FILE *open_proc(pid_t pid, const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	return fopen(path, "re");
}

char *process_name(pid_t pid, char *const *argv)
{
	char comm[32] = "";
	const char *slash;
	FILE *f;

	if (argv) {
		slash = strrchr(argv[0], '/');
		return xstrdup(slash && slash[1] ? slash + 1 : argv[0]);
	}
	f = open_proc(pid, "comm");
	if (f) {
		if (fgets(comm, sizeof(comm), f))
			comm[strcspn(comm, "\n")] = '\0';
		fclose(f);
	}
	for (char *c = comm; *c; c++)
		if (*c == '/')
			*c = '_';
	return xstrdup(comm[0] ? comm : "unknown");
}

char *process_output_path(const char *pattern, pid_t pid, char *const *argv)
{
	char *name = process_name(pid, argv), number[16];
	struct buffer b = {0};

	snprintf(number, sizeof(number), "%d", (int)pid);
	for (const char *p = pattern; *p; p++) {
		if (p[0] == '%' && p[1] == 'p')
			buffer_append(&b, number, strlen(number));
		else if (p[0] == '%' && p[1] == 'c')
			buffer_append(&b, name, strlen(name));
		else if (p[0] == '%' && p[1] == '%')
			buffer_append(&b, "%", 1);
		else {
			buffer_append(&b, p, 1);
			continue;
		}
		p++;
	}
	buffer_append(&b, "", 1);
	free(name);
	return (char *)b.data;
}

static void append_command(struct json *j, pid_t pid)
{
	struct buffer args = {0};
	FILE *f = open_proc(pid, "cmdline");
	char block[4096];
	size_t n;

	while (f && args.len < COMMAND_BYTES_MAX && (n = fread(block, 1, sizeof(block), f)) > 0)
		buffer_append(&args, block, n);
	if (f)
		fclose(f);
	buffer_append(&args, "", 1);
	for (size_t i = 0; i + 1 < args.len; i += strlen((char *)args.data + i) + 1)
		json_string(j, NULL, (char *)args.data + i);
	buffer_release(&args);
}

char *process_command(pid_t pid, char *const *argv)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct json j = {.out = out};

	json_begin_array(&j, NULL);
	for (char *const *a = argv; a && *a; a++)
		json_string(&j, NULL, *a);
	if (!argv)
		append_command(&j, pid);
	json_end_array(&j);
	fclose(out);
	return text;
}

char *process_executable(pid_t pid)
{
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return NULL;
	path[n] = '\0';
	return xstrdup(path);
}

uint64_t process_status_bytes(pid_t pid, const char *key)
{
	FILE *f = open_proc(pid, "status");
	uint64_t kib = 0;
	char line[256];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)) &&
		    sscanf(line + strlen(key), ": %" SCNu64, &kib) == 1)
			break;
	fclose(f);
	return kib * 1024;
}

/* /proc/PID/stat from the state on: the name before it may hold anything. */
static const char *read_stat(pid_t pid, char *line, size_t size)
{
	FILE *f = open_proc(pid, "stat");
	size_t n;
	char *p;

	if (!f)
		return NULL;
	n = fread(line, 1, size - 1, f);
	fclose(f);
	line[n] = '\0';
	p = strrchr(line, ')');
	return p && p[1] ? p + 2 : NULL;
}

char process_state(pid_t pid)
{
	char line[1024];
	const char *p = read_stat(pid, line, sizeof(line));

	return p ? *p : '\0';
}

uint64_t process_start_ticks(pid_t pid)
{
	enum { FIELDS_BETWEEN = 19 }; /* from the state to the start time */
	char line[1024];
	const char *p = read_stat(pid, line, sizeof(line));

	for (int i = 0; p && i < FIELDS_BETWEEN; i++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	return p ? strtoull(p, NULL, 10) : 0;
}

uint64_t process_break(pid_t pid)
{
	enum { BREAK_FIELD = 47 };
	char line[1024];
	const char *p;
	struct process_maps maps;
	uint64_t end = 0;

	if (process_maps_read(pid, &maps, NULL))
		return 0;
	for (size_t i = 0; i < maps.n; i++)
		if (!strcmp(maps.maps[i].path, "[heap]"))
			end = maps.maps[i].end;
	process_maps_release(&maps);
	p = end ? NULL : read_stat(pid, line, sizeof(line));
	for (int field = 3; p && field < BREAK_FIELD; field++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	return p ? strtoull(p, NULL, 10) : end;
}

static void read_boot(char *boot, size_t size, uint64_t *ret_namespace)
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	struct stat st;

	boot[0] = '\0';
	if (f) {
		if (fgets(boot, (int)size, f))
			boot[strcspn(boot, "\n")] = '\0';
		fclose(f);
	}
	*ret_namespace = stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

char *process_identity(void)
{
	uint64_t namespace;
	char boot[64];

	read_boot(boot, sizeof(boot), &namespace);
	return xasprintf("%s %" PRIu64 " %d %" PRIu64, boot, namespace, (int)getpid(),
			 process_start_ticks(getpid()));
}

enum process_identity_state process_identity_state(const char *identity)
{
	uint64_t namespace, its_namespace, start;
	char boot[64], its_boot[64];
	int pid;

	if (sscanf(identity, "%63s %" SCNu64 " %d %" SCNu64, its_boot, &its_namespace, &pid,
		   &start) != 4)
		return PROCESS_IS_GONE;
	read_boot(boot, sizeof(boot), &namespace);
	if (strcmp(boot, its_boot) != 0)
		return PROCESS_IS_GONE;
	if (namespace != its_namespace)
		return PROCESS_IS_ELSEWHERE;
	/* there, but not for us to see: /proc may hide it */
	if (!process_start_ticks(pid) && (kill(pid, 0) == 0 || errno == EPERM))
		return PROCESS_IS_ELSEWHERE;
	/* one that is ending has no memory any more */
	return process_start_ticks(pid) == start && process_status_bytes(pid, "VmSize")
		       ? PROCESS_IS_THERE
		       : PROCESS_IS_GONE;
}

void process_put_system(struct store_writer *w)
{
	struct utsname u;

	if (uname(&u))
		return;
	store_writer_put_text(w, "kernel", u.release);
	store_writer_put_text(w, "machine", u.machine);
}
