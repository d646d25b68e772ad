/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "collector/naming.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Who has waited long enough for names says so as ever; what came before is no such wish. */
static int open_impatience(void)
{
	struct signalfd_siginfo i;
	sigset_t mask;
	int fd;

	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	while (fd >= 0 && read(fd, &i, sizeof(i)) == sizeof(i))
		;
	return fd;
}

void naming_begin(struct call_sites *c, bool linkage_names,
		  void (*on_names)(size_t done, size_t n))
{
	c->on_names = on_names;
	c->linkage_names = linkage_names;
	store_writer_put_text(c->writer, "function_names", linkage_names ? "linkage" : "demangled");
	store_writer_put_number(c->writer, "names_looked_up", 0);
}

bool naming_run(struct call_sites *c)
{
	int stop = open_impatience();
	bool is_whole = stop >= 0 && call_sites_resolve(c, stop);

	if (stop >= 0)
		close(stop);
	store_writer_put_number(c->writer, "names_looked_up", is_whole);
	return is_whole;
}
