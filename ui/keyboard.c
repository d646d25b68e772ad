/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "ui/keyboard.h"

#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/xalloc.h"
#include "ui/restore.h"
#include "ui/screen.h"

#define DOUBLE_CLICK_NS 400000000

enum { CTRL_L = 'L' - '@', CTRL_Z = 'Z' - '@', ESCAPE = 27 };

static const struct {
	int code, key;
} codes[] = {
	{KEY_UP, INPUT_UP},
	{KEY_DOWN, INPUT_DOWN},
	{KEY_LEFT, INPUT_LEFT},
	{KEY_RIGHT, INPUT_RIGHT},
	{KEY_SR, INPUT_UP}, /* with Shift */
	{KEY_SF, INPUT_DOWN},
	{KEY_SLEFT, INPUT_LEFT},
	{KEY_SRIGHT, INPUT_RIGHT},
	{KEY_PPAGE, INPUT_PAGE_UP},
	{KEY_NPAGE, INPUT_PAGE_DOWN},
	{KEY_A3, INPUT_PAGE_UP}, /* of the keypad */
	{KEY_C3, INPUT_PAGE_DOWN},
	{KEY_HOME, INPUT_HOME},
	{KEY_FIND, INPUT_HOME},
	{KEY_A1, INPUT_HOME},
	{KEY_END, INPUT_END},
	{KEY_SELECT, INPUT_END},
	{KEY_C1, INPUT_END},
	{KEY_ENTER, INPUT_ENTER},
	{KEY_BTAB, INPUT_BACK_TAB},
	{KEY_BACKSPACE, INPUT_BACKSPACE},
	{KEY_DC, INPUT_DELETE},
	{KEY_F(1), INPUT_F1},
	{KEY_F(2), INPUT_F2},
	{KEY_F(3), INPUT_F3},
	{KEY_F(4), INPUT_F4},
	{KEY_F(5), INPUT_F5},
	{KEY_F(6), INPUT_F6},
	{KEY_F(7), INPUT_F7},
	{KEY_F(8), INPUT_F8},
	{KEY_F(9), INPUT_F9},
	{KEY_F(10), INPUT_F10},
};

/* What terminals send, though the description that TERM names may say something else. */
static const struct {
	const char *sequence;
	int code;
} sequences[] = {
	{"\033[A", KEY_UP},	 {"\033OA", KEY_UP},	  {"\033[B", KEY_DOWN},
	{"\033OB", KEY_DOWN},	 {"\033[C", KEY_RIGHT},	  {"\033OC", KEY_RIGHT},
	{"\033[D", KEY_LEFT},	 {"\033OD", KEY_LEFT},	  {"\033[H", KEY_HOME},
	{"\033OH", KEY_HOME},	 {"\033[1~", KEY_HOME},	  {"\033[7~", KEY_HOME},
	{"\033[F", KEY_END},	 {"\033OF", KEY_END},	  {"\033[4~", KEY_END},
	{"\033[8~", KEY_END},	 {"\033[3~", KEY_DC},	  {"\033[5~", KEY_PPAGE},
	{"\033[6~", KEY_NPAGE},	 {"\033[Z", KEY_BTAB},	  {"\033OM", KEY_ENTER},
	{"\033OP", KEY_F(1)},	 {"\033OQ", KEY_F(2)},	  {"\033OR", KEY_F(3)},
	{"\033OS", KEY_F(4)},	 {"\033[11~", KEY_F(1)},  {"\033[12~", KEY_F(2)},
	{"\033[13~", KEY_F(3)},	 {"\033[14~", KEY_F(4)},  {"\033[[A", KEY_F(1)},
	{"\033[[B", KEY_F(2)},	 {"\033[[C", KEY_F(3)},	  {"\033[[D", KEY_F(4)},
	{"\033[[E", KEY_F(5)},	 {"\033[15~", KEY_F(5)},  {"\033[17~", KEY_F(6)},
	{"\033[18~", KEY_F(7)},	 {"\033[19~", KEY_F(8)},  {"\033[20~", KEY_F(9)},
	{"\033[21~", KEY_F(10)},
};

/* A window of their own: to read keys from stdscr would show it. */
static WINDOW *keys;
/* Handlers wake who waits for input, in whichever thread they run. */
static int wake_fd = -1;
static volatile sig_atomic_t is_resized, is_stopping;
static struct sigaction old_winch, old_tstp;

/* Came with the one before: what is behind an Escape, clicks at once. */
static struct {
	struct input inputs[16];
	unsigned int n, at;
} pending;
static struct {
	int row, col;
	uint64_t t_ns;
} click;

static void on_signal(int number)
{
	uint64_t one = 1;

	if (number == SIGWINCH)
		is_resized = 1;
	else
		is_stopping = 1;
	if (write(wake_fd, &one, sizeof(one)) < 0)
		return; /* it is awake */
}

static int key_of(int code)
{
	for (size_t i = 0; i < COUNT_OF(codes); i++)
		if (codes[i].code == code)
			return codes[i].key;
	return 0;
}

void keyboard_open(bool has_mouse)
{
	struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, now;

	pending.n = pending.at = 0;
	click.t_ns = 0;
	is_resized = is_stopping = 0;
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	keys = newpad(1, 1);
	keypad(keys, TRUE);
	nodelay(keys, TRUE);
	for (size_t i = 0; i < COUNT_OF(sequences); i++)
		if (!key_of(key_defined(sequences[i].sequence)))
			define_key(sequences[i].sequence, sequences[i].code);
	if (has_mouse) {
		mouseinterval(0); /* curses would wait for the second click */
		mousemask(BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED, NULL);
	}
	sigaction(SIGWINCH, &ours, &old_winch);
	/* curses has its own by now, and ignores it only where a shell without jobs did */
	if (!sigaction(SIGTSTP, NULL, &now) && now.sa_handler == SIG_IGN)
		old_tstp = now;
	else
		sigaction(SIGTSTP, &ours, &old_tstp);
}

void keyboard_close(void)
{
	sigaction(SIGWINCH, &old_winch, NULL);
	sigaction(SIGTSTP, &old_tstp, NULL);
	if (keys)
		delwin(keys);
	keys = NULL;
	if (wake_fd >= 0)
		close(wake_fd);
	wake_fd = -1;
}

/* ---- size, and stops ---------------------------------------------------------------- */

static struct input resize(void)
{
	struct winsize size;

	is_resized = 0;
	/* resizeterm() would make a key of it, too */
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row && size.ws_col)
		resize_term(size.ws_row, size.ws_col);
	clearok(curscr, TRUE); /* terminals move what is there, each in its way */
	return (struct input){.key = INPUT_RESIZE, .row = getmaxy(stdscr), .col = getmaxx(stdscr)};
}

static struct input stop(bool group)
{
	is_stopping = 0;
	endwin();
	restore_end();
	restore_stop(group);
	clearok(curscr, TRUE);
	refresh();
	restore_again();
	return resize();
}

/* ---- keys --------------------------------------------------------------------------- */

static bool is_twice(int row, int col)
{
	uint64_t now = clock_now_ns();
	bool twice = click.t_ns && click.row == row && click.col == col &&
		     now - click.t_ns < DOUBLE_CLICK_NS;

	click.row = row;
	click.col = col;
	click.t_ns = twice ? 0 : now; /* a third click is the first of the next two */
	return twice;
}

static void push(const struct input *in)
{
	if (pending.at == pending.n)
		pending.at = pending.n = 0;
	if (pending.n < COUNT_OF(pending.inputs))
		pending.inputs[pending.n++] = *in;
}

static bool pop(struct input *ret)
{
	if (pending.at == pending.n)
		return false;
	*ret = pending.inputs[pending.at++];
	return true;
}

static void push_mouse(const MEVENT *e)
{
	struct input in = {.row = e->y, .col = e->x};

	if (e->bstate & BUTTON4_PRESSED)
		in.key = INPUT_WHEEL_UP;
	else if (e->bstate & BUTTON5_PRESSED)
		in.key = INPUT_WHEEL_DOWN;
	else if (e->bstate & BUTTON1_PRESSED)
		in.key = INPUT_MOUSE;
	else
		return;
	if (in.key == INPUT_MOUSE)
		in.is_double = is_twice(e->y, e->x);
	push(&in);
}

/* Curses makes one key of what came at once, and has the newest first. */
static bool mouse(struct input *ret)
{
	MEVENT events[8];
	size_t n = 0;

	while (n < COUNT_OF(events) && getmouse(&events[n]) == OK)
		n++;
	while (n)
		push_mouse(&events[--n]);
	return pop(ret);
}

/* Whatever curses has a name for. */
static bool coded(int code, struct input *ret)
{
	if (code == KEY_MOUSE)
		return mouse(ret);
	if (code == KEY_RESIZE || code == KEY_SUSPEND) { /* Linux's console has that for Ctrl-Z */
		*ret = code == KEY_RESIZE ? resize() : stop(true);
		return true;
	}
	*ret = (struct input){.key = key_of(code)};
	return ret->key != 0;
}

static bool plain(wint_t ch, struct input *ret)
{
	*ret = (struct input){.key = (int)ch};
	if (ch == '\r' || ch == '\n')
		ret->key = INPUT_ENTER;
	else if (ch == '\t')
		ret->key = INPUT_TAB;
	else if (ch == '\b' || ch == 0x7f)
		ret->key = INPUT_BACKSPACE;
	else if (ch == ESCAPE)
		ret->key = INPUT_ESCAPE;
	else if (ch == CTRL_Z)
		*ret = stop(true);
	else if (ch == CTRL_L) /* something else has written on the terminal */
		clearok(curscr, TRUE), refresh();
	else if (ch < ' ' && ch > CTRL_Z)
		return false;
	return ch != 0;
}

/*
 * Behind an Escape.  A sequence that nobody knows (another key, a report that nobody has
 * asked for) is left out: it must not be taken for the letters in it.
 */
static bool escape(struct input *ret)
{
	struct input behind;
	wint_t ch;
	int is = wget_wch(keys, &ch);

	if (is == OK && (ch == '[' || ch == 'O')) {
		bool has_more = ch == '[';

		is = wget_wch(keys, &ch);
		while (has_more && is == OK && ch >= 0x20 && ch < 0x40)
			is = wget_wch(keys, &ch);
		return false;
	}
	if ((is == OK && plain(ch, &behind)) || (is == KEY_CODE_YES && coded((int)ch, &behind)))
		push(&behind);
	*ret = (struct input){.key = INPUT_ESCAPE};
	return true;
}

/* An input that is there already; what is none is passed over. */
static bool read_key(struct input *ret)
{
	wint_t ch;
	int is;

	if (pop(ret))
		return true;
	while ((is = wget_wch(keys, &ch)) != ERR)
		if (is == KEY_CODE_YES  ? coded((int)ch, ret)
		    : ch == ESCAPE	? escape(ret)
					: plain(ch, ret))
			return true;
	return false;
}

/* Can be read, and there is nothing: its other end has been closed. */
static bool is_gone(short events)
{
	int n = 0;

	if (!(events & (POLLIN | POLLHUP | POLLERR | POLLNVAL)))
		return false;
	return ioctl(STDIN_FILENO, FIONREAD, &n) || n == 0;
}

struct input screen_input(int wait_ms, int also_fd)
{
	uint64_t now = clock_now_ns();
	uint64_t end = now + (uint64_t)(wait_ms > 0 ? wait_ms : 0) * 1000000, woken;
	struct input in;

	for (;;) {
		struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
				       {.fd = wake_fd, .events = POLLIN},
				       {.fd = also_fd, .events = POLLIN}};
		/* rounded up: it must not be awake before its time */
		int left = wait_ms < 0 ? -1 : end > now ? (int)((end - now + 999999) / 1000000) : 0;
		int n;

		if (is_stopping)
			return stop(false);
		if (is_resized)
			return resize();
		if (read_key(&in))
			return in;
		n = poll(fds, COUNT_OF(fds), left);
		if (n > 0 && is_gone(fds[0].revents))
			return (struct input){.key = INPUT_EOF};
		if (n > 0 && fds[1].revents && read(wake_fd, &woken, sizeof(woken)) < 0)
			continue;
		if (n == 0 || (n > 0 && fds[2].revents && !fds[0].revents && !fds[1].revents))
			return (struct input){.key = INPUT_NONE};
		now = clock_now_ns();
	}
}
