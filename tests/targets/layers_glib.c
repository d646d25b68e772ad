/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects of GLib that are handed round; one is forgotten by keep_it(). */
#include <glib-object.h>

__attribute__((noinline)) void use(GObject *o)
{
	g_object_ref(o);
	g_object_set_data(o, "used", o);
	g_object_unref(o);
}

__attribute__((noinline)) void keep_it(GObject *o)
{
	g_object_ref(o);
	__asm__ volatile("" ::: "memory");
}

int main(void)
{
	for (int i = 0; i < 20; i++) {
		GObject *o = g_object_new(G_TYPE_OBJECT, NULL);

		use(o);
		use(o);
		if (i == 7)
			keep_it(o);
		g_object_unref(o);
	}
	return 0;
}
