-- The recording, format version 2.  The only DDL of the project; described for
-- users in heaptrail-recording(5).  Times are CLOCK_MONOTONIC nanoseconds, sizes
-- are bytes, ids count from 1 (0 = none) unless said otherwise.

CREATE TABLE recording (	-- facts about the whole, one a row
	key	TEXT PRIMARY KEY,
	value
) WITHOUT ROWID;

CREATE TABLE process (
	id	INTEGER PRIMARY KEY,
	pid	INTEGER NOT NULL,
	command	TEXT,		-- JSON array
	start_ns INTEGER,	-- when the recording began to see it
	end_ns	INTEGER,
	exit_status INTEGER,	-- NULL: not seen, or ended by a signal
	exit_signal INTEGER
);

CREATE TABLE space (		-- an address space: a process between two execs
	id	INTEGER PRIMARY KEY,
	process	INTEGER NOT NULL,
	exec_count INTEGER NOT NULL,
	executable TEXT,
	start_ns INTEGER,
	end_ns	INTEGER,
	end	TEXT,		-- 'exit', 'exec', 'detach'; NULL: the recording was cut off
	parent	INTEGER,	-- whose live set it began with, if any
	inherited INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE thread (
	id	INTEGER PRIMARY KEY,
	process	INTEGER NOT NULL,
	tid	INTEGER NOT NULL,	-- of the kernel; reused by later threads
	name	TEXT,
	start_ns INTEGER,
	end_ns	INTEGER
);

CREATE TABLE family (		-- the allocator that made a block
	id	INTEGER PRIMARY KEY,
	name	TEXT NOT NULL,
	layer	TEXT NOT NULL
);

CREATE TABLE module (		-- a file with code
	id	INTEGER PRIMARY KEY,
	path	TEXT NOT NULL,
	build_id TEXT		-- lower-case hex
);

CREATE TABLE mapping (
	id	INTEGER PRIMARY KEY,
	space	INTEGER NOT NULL,
	module	INTEGER NOT NULL,
	start	INTEGER NOT NULL,	-- addresses, stored as signed 64-bit
	end	INTEGER NOT NULL,
	bias	INTEGER NOT NULL,	-- address in the process - address in the module
	first_ns INTEGER NOT NULL
);

CREATE TABLE frame (
	id	INTEGER PRIMARY KEY,
	module	INTEGER NOT NULL,	-- 0: in no known file
	offset	INTEGER NOT NULL	-- the return address, in the module's own addresses
);

CREATE TABLE stack (		-- a tree: a stack is its innermost frame and its callers
	id	INTEGER PRIMARY KEY,
	parent	INTEGER NOT NULL,	-- the stack of the caller; 0: none recorded
	frame	INTEGER NOT NULL,
	end	INTEGER NOT NULL	-- why there is no further caller; 0: the stack is complete
);

CREATE TABLE symbol (
	frame	INTEGER NOT NULL,
	depth	INTEGER NOT NULL,	-- 0: the innermost of the functions inlined there
	function TEXT,
	file	TEXT,
	line	INTEGER,
	PRIMARY KEY (frame, depth)
) WITHOUT ROWID;

CREATE TABLE loss (		-- what is missing or was set right, and how often
	kind	TEXT PRIMARY KEY,
	count	INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE rss (
	time_ns	INTEGER NOT NULL,
	space	INTEGER NOT NULL,
	bytes	INTEGER NOT NULL
);

CREATE TABLE timeline (		-- the heap over time; rewritten when the width doubles
	bucket	INTEGER PRIMARY KEY,	-- covers start + bucket * width (see recording)
	allocs	INTEGER NOT NULL,
	frees	INTEGER NOT NULL,
	allocated_bytes INTEGER NOT NULL,
	live_bytes INTEGER NOT NULL,	-- at the bucket's end
	max_live_bytes INTEGER NOT NULL
);

CREATE TABLE chunk (		-- the events, up to 65,536 a row
	id	INTEGER PRIMARY KEY,
	space	INTEGER NOT NULL,
	events	INTEGER NOT NULL,
	allocs	INTEGER NOT NULL,	-- alloc calls
	frees	INTEGER NOT NULL,	-- free calls
	first_ns INTEGER NOT NULL,
	last_ns	INTEGER NOT NULL,
	min_size INTEGER, max_size INTEGER,
	min_address INTEGER, max_address INTEGER,
	families INTEGER NOT NULL,	-- bit set of family ids
	codec	INTEGER NOT NULL,	-- 3: columns, each a zstd frame or as it is
	crc	INTEGER NOT NULL,	-- CRC-32 of the numbers above and of data
	data	BLOB NOT NULL
);

CREATE TABLE checkpoint (	-- the state after a chunk, so that reading can begin there
	chunk	INTEGER NOT NULL,
	kind	INTEGER NOT NULL,	-- 1: totals, 2: the live blocks
	time_ns	INTEGER NOT NULL,	-- of the chunk's last event
	bytes	INTEGER NOT NULL,	-- of what data is when it is unpacked
	crc	INTEGER NOT NULL,	-- CRC-32 of the numbers above and of data
	data	BLOB NOT NULL,		-- a zstd frame
	PRIMARY KEY (chunk, kind)
);

CREATE TABLE reachability (	-- who points to the live blocks, at a moment when all stood still
	space	INTEGER NOT NULL,
	time_ns	INTEGER NOT NULL,
	held_ns	INTEGER NOT NULL,	-- how long it stood still
	read_bytes INTEGER NOT NULL,	-- of its memory
	flags	INTEGER NOT NULL,	-- 1: cautious, 2: at its exit
	blocks	INTEGER NOT NULL,
	codec	INTEGER NOT NULL,	-- 1: addresses, then kinds
	bytes	INTEGER NOT NULL,	-- of what data is when it is unpacked
	crc	INTEGER NOT NULL,	-- CRC-32 of the numbers above, without codec, and of data
	data	BLOB NOT NULL,		-- a zstd frame
	PRIMARY KEY (space, time_ns)
);

CREATE TABLE snapshot (		-- the process's memory at a moment: what was resident
	id	INTEGER PRIMARY KEY,
	space	INTEGER NOT NULL,
	time_ns	INTEGER NOT NULL,
	reason	TEXT NOT NULL,		-- why: 'exit', 'end', 'every', 'peak', 'asked'
	held_ns	INTEGER NOT NULL,	-- for how long the process stood still
	rss_bytes INTEGER NOT NULL,	-- as the kernel counts them
	heap_bytes INTEGER NOT NULL,	-- of them what is an allocator's
	live_bytes INTEGER NOT NULL,	-- requested and not freed until then
	bytes	INTEGER NOT NULL,	-- of what data is when it is unpacked
	crc	INTEGER NOT NULL,	-- CRC-32 of the numbers above, but the id, and of data
	data	BLOB NOT NULL		-- a zstd frame: regions, and runs of pages
);

CREATE TABLE site (		-- after a stop: totals by allocating stack, in the heap layer
	stack	INTEGER PRIMARY KEY,
	frame	INTEGER NOT NULL,	-- whose the stack is: the own function is at that frame, …
	depth	INTEGER NOT NULL,	-- … at that depth of table symbol
	alloc_calls INTEGER NOT NULL,
	allocated_bytes INTEGER NOT NULL,
	live_blocks INTEGER NOT NULL,
	live_bytes INTEGER NOT NULL,
	peak_blocks INTEGER NOT NULL,	-- at the moment of the whole heap's peak
	peak_bytes INTEGER NOT NULL,
	temporary_allocs INTEGER NOT NULL
);

-- Views, for who asks by SQL: heaptrail itself reads none.

CREATE VIEW own AS		-- the sites, with whose they are
	SELECT	stack,
		coalesce(symbol.function, substr(path, length(rtrim(path, replace(path, '/', '')))
			+ 1) || printf('+0x%x', offset), printf('0x%x', offset)) AS function,
		symbol.file AS file,
		symbol.line AS line,
		module.path AS module,
		ifnull(frame.module, 0) AS module_id,
		alloc_calls, allocated_bytes, live_blocks, live_bytes, peak_blocks, peak_bytes,
		temporary_allocs
	FROM site
	LEFT JOIN symbol ON symbol.frame = site.frame AND symbol.depth = site.depth
	LEFT JOIN frame ON frame.id = site.frame
	LEFT JOIN module ON module.id = frame.module;

CREATE VIEW file AS		-- by source file; where that is not known, by module
	SELECT	file,
		CASE WHEN min(module_id) = max(module_id) THEN module END AS module, -- or several
		sum(alloc_calls) AS alloc_calls,
		sum(allocated_bytes) AS allocated_bytes,
		sum(live_blocks) AS live_blocks,
		sum(live_bytes) AS live_bytes,
		sum(peak_blocks) AS peak_blocks,
		sum(peak_bytes) AS peak_bytes,
		sum(temporary_allocs) AS temporary_allocs
	FROM own GROUP BY own.file, CASE WHEN own.file IS NULL THEN module_id END;

CREATE VIEW function AS		-- by function and module
	SELECT	function,
		CASE WHEN min(ifnull(file, '')) = max(ifnull(file, '')) THEN file END AS file,
		module,
		sum(alloc_calls) AS alloc_calls,
		sum(allocated_bytes) AS allocated_bytes,
		sum(live_blocks) AS live_blocks,
		sum(live_bytes) AS live_bytes,
		sum(peak_blocks) AS peak_blocks,
		sum(peak_bytes) AS peak_bytes,
		sum(temporary_allocs) AS temporary_allocs
	FROM own GROUP BY module_id, own.function;

CREATE VIEW leak AS		-- what was not freed, by function and line, the most first
	SELECT	function, file, line, module,
		sum(live_bytes) AS bytes,
		sum(live_blocks) AS blocks
	FROM own WHERE live_blocks > 0
	GROUP BY module_id, own.function, own.file, own.line
	ORDER BY bytes DESC, blocks DESC;
