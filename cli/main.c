/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/format.h"
#include "common/xalloc.h"

static const struct command *const commands[] = {
	&command_record, &command_top,	  &command_report, &command_leaks,	&command_frag,
	&command_annotate, &command_view, &command_info,  &command_repair, &command_symbolize,
	&command_doctor, &command_probes,
};

static const char before[] =
	"usage: heaptrail COMMAND [OPTION...] [ARGUMENT...]\n"
	"\n"
	"Shows where the heap memory of a running Linux process goes: attach, no\n"
	"restart, no rebuild, nothing injected; the recording is one SQLite file.\n"
	"\n"
	"Commands:\n";

static const char after[] =
	"\n"
	"  heaptrail COMMAND --help   what a command can do\n"
	"  heaptrail --version        the version\n"
	"\n"
	"Examples:\n"
	"  heaptrail record -- ./server --port 8080   record from the first allocation to exit\n"
	"  heaptrail record -p 4242 -d 30s            attach for 30 seconds\n"
	"  heaptrail report heaptrail.server.4242.trail\n";

static void print_help(void)
{
	fputs(before, stdout);
	for (size_t i = 0; i < COUNT_OF(commands); i++)
		printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fputs(after, stdout);
}

void say(const char *fmt, ...)
{
	va_list ap;

	fputs("heaptrail: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int print_error(const struct err *e)
{
	char text[1200]; /* the message may carry a name from a target or a recording */

	say("%s", format_safe(text, sizeof(text), e->what));
	if (e->hint[0])
		fprintf(stderr, "hint: %s\n", format_safe(text, sizeof(text), e->hint));
	return e->class;
}

int usage_error(const struct command *c, const char *fmt, ...)
{
	va_list ap;

	fputs("heaptrail: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nhint: see `heaptrail %s --help`\n", c->name);
	return ERR_USAGE;
}

int other_option(const struct command *c, int option)
{
	if (option == OPTION_HELP) {
		fputs(c->help, stdout);
		return 0;
	}
	fprintf(stderr, "hint: see `heaptrail %s --help`\n", c->name);
	return ERR_USAGE;
}

/* A full disk or a closed pipe must not look like success. */
static int close_stdout(int status)
{
	if ((fflush(stdout) || ferror(stdout)) && errno != EPIPE) {
		say("cannot write the output: %s", strerror(errno));
		return status ? status : ERR_FAILED;
	}
	return status;
}

/*
 * What is closed must not become the place of another file: then a message would
 * be written into it.  It stays unusable, and closed for a command we launch.
 */
static void keep_standard_files(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", (fd ? O_RDONLY : O_WRONLY) | O_CLOEXEC) < 0)
			_exit(ERR_FAILED);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	keep_standard_files();
	setlocale(LC_CTYPE, "");
	if (!name) {
		print_help();
		return close_stdout(ERR_USAGE);
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		print_help();
		return close_stdout(0);
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V") || !strcmp(name, "version")) {
		puts("heaptrail " PACKAGE_VERSION);
		return close_stdout(0);
	}
	for (size_t i = 0; i < COUNT_OF(commands); i++) {
		char *program = argv[0];
		int status;

		if (strcmp(name, commands[i]->name))
			continue;
		argv[1] = program; /* getopt() begins its messages with it */
		status = commands[i]->run(commands[i], argc - 1, argv + 1);
		return close_stdout(status);
	}
	say("there is no command '%s'", name);
	fprintf(stderr, "hint: see `heaptrail --help`\n");
	return ERR_USAGE;
}
