package wire

import "time"

// Bounds that both ends agree on.
const (
	// MaxWait is the longest that serve holds a request. It is below what proxies
	// allow (haproxy's default in Debian: 50 s).
	MaxWait = 45 * time.Second

	// MaxBulkFile is the size of the largest file in an answer to POST ?tar, in
	// bytes. Larger files are asked for one by one.
	MaxBulkFile = 1 << 20

	// MaxPaths is how many paths one POST may list.
	MaxPaths = 10_000
)

// ClockLag is how much earlier than the clock the time may be that a kernel writes to a
// file: file systems take times from a clock that moves with the tick, 10 ms at
// HZ=100, and a reading just before that may be one tick older.
const ClockLag = 20 * time.Millisecond
