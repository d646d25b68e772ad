#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest: does heaptrail load, and are the stacks that it takes complete?
# Says "stacks <case> <alloc calls> <complete ones> <mode>" for each recording, and
# leaves what it has seen in /out.
ms() { local t; read -r t _ < /proc/uptime; echo "${t/./}0"; }

timed() { # words...: runs them, sets took
	local from; from=$(ms)
	"$@"; local rc=$?
	took=$(($(ms) - from))
	return $rc
}

stacks() { # case recording
	heaptrail info "$2" > "/out/$1.info" 2>&1
	heaptrail report --by stack "$2" > "/out/$1.report" 2>&1 || echo "report of $1 failed"
	# calls that are missing show in events that contradict each other
	heaptrail info "$2" 2>&1 | awk -v what="$1" -v took="$took" '
		function number(s) { gsub(",", "", s); return s + 0 }
		$1 == "stack_mode" { mode = $2 }
		$1 == "stack_mode_reason" { $1 = ""; why = $0 }
		$1 ~ /^(malformed_events|stale_calls|unfinished_reallocs|double_frees|implied_frees)$/ && $2 != 0 {
			odd = odd " " $1 "=" $2 }
		/^Stacks  / { on = 1; next }
		/^$/ { on = 0 }
		on && $1 == "all" { all = number($3) }
		on && $1 == "complete" { complete = number($3) }
		on && $1 != "all" && $1 != "complete" { rest = rest "; " $0 }
		END { gsub(/  +/, " ", rest)
		      print "stacks", what, all + 0, complete + 0, mode, took " ms" rest (odd ? " odd:" odd : "") (why ? " because" why : "") }'
}

launch() { # case status command...
	local what=$1 status=$2; shift 2
	timed timeout 60 heaptrail record -o "/tmp/$what.trail" -- "$@" > "/out/$what.log" 2>&1
	[ $? = "$status" ] || { echo "failed $what"; cat "/out/$what.log"; return; }
	stacks "$what" "/tmp/$what.trail"
}

echo "kernel $(uname -r)"
heaptrail doctor > /out/doctor 2>&1 || { echo "doctor: cannot record"; cat /out/doctor; }
timed heaptrail record -o /tmp/true.trail -- true > /out/true.log 2>&1 || {
	echo "failed true"
	cat /out/true.log
	heaptrail record -v -o /tmp/x.trail -- true > /out/verbose.log 2>&1
	exit 1
}
stacks true /tmp/true.trail
launch true-again 0 true
launch bash 0 bash -c 'for i in 1 2 3; do x=$(echo $i); done; y=(a b c); echo ${y[@]/a/b}'
launch perl 0 perl -e 'my %h; $h{$_} = "x" x $_ for 1 .. 2000; print scalar(keys %h), "\n"'
launch sqlite 0 sqlite3 :memory: 'create table t(a, b); insert into t values (1, 2), (3, 4); select a, count(*) from t group by b order by 1'
for s in throw-deep stack-frames exit-threads; do
	launch $s 3 unwinding $s
done
launch threads 0 threads
for l in /usr/lib/x86_64-linux-gnu/lib{jemalloc.so.2,tcmalloc_minimal.so.4}; do
	[ ! -e $l ] || launch "${l##*/}" 0 env LD_PRELOAD=$l sqlite3 :memory: 'create table t(a, b); insert into t values (1, 2); select a, count(*) from t group by b order by 1'
done
# what is mapped: as many blocks as a target has made, by its own word; and its stacks
timed timeout 60 heaptrail record --mmap -o /tmp/mappings.trail -- mappings storm 1 500 2 > /out/mappings.said 2> /out/mappings.log || {
	echo "failed mappings"; cat /out/mappings.log; }
heaptrail report --layer mmap --by family --json /tmp/mappings.trail > /out/mappings.json 2>&1
awk '/^[0-9]+ map / { maps++ } /^[0-9]+ unmap / { unmaps++ } END { print maps + 0, maps - unmaps }' /out/mappings.said > /out/mappings.own
awk -v RS='}' '/"family": *"mmap anonymous"/ {
	match($0, /"alloc_calls": *[0-9]+/); calls = substr($0, RSTART + 15, RLENGTH - 15)
	match($0, /"live_blocks": *[0-9]+/); live = substr($0, RSTART + 15, RLENGTH - 15)
	print calls + 0, live + 0 }' /out/mappings.json > /out/mappings.recorded
[ "$(cat /out/mappings.own)" = "$(cat /out/mappings.recorded)" ] || echo "failed mappings: $(cat /out/mappings.own), recorded $(cat /out/mappings.recorded)"
stacks mappings /tmp/mappings.trail
bash -c 'while :; do for i in 1 2 3; do x=$x$i; done; x=; read -t 0.02 < <(:); done' 2>/dev/null &
pid=$!
sleep 0.3
timed heaptrail record -d 2s -o /tmp/attach.trail -p $pid > /out/attach.log 2>&1 || { echo "failed attach"; cat /out/attach.log; }
# what is resident adds up, also where the kernel tells less of pages; and the heap can be walked and looked at
shows() { [[ $(< "$1") == *$2* ]]; } # file pattern
heaptrail frag --json --walk-heap --max-pause 5s -d 300ms -o /tmp/frag.trail -p $pid > /out/frag.json 2> /out/frag.log &&
	shows /out/frag.json '"unexplained_bytes": 0[!0-9]' || { echo "failed frag"; cat /out/frag.log /out/frag.json; }
heaptrail info --json /tmp/frag.trail > /out/frag.info 2>&1
shows /out/frag.info '"from_before": {*"error": null' || { echo "failed walk"; cat /out/frag.info; }
heaptrail leaks --reachable --walk-heap --max-pause 5s -d 300ms -p $pid > /out/reachable 2>&1 &&
	shows /out/reachable 'definitely lost' || { echo "failed reachable"; cat /out/reachable; }
kill $pid
stacks attach /tmp/attach.trail
