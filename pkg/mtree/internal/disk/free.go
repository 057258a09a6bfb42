package disk

import (
	"math"

	"golang.org/x/sys/unix"
)

// Free returns how many bytes this process may still write to the file system of
// d, as far as it tells: a quota may allow less, compression make more of it. Where
// it does not tell, all there could be.
func (d *Dir) Free() int64 {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil || st.Bavail > math.MaxInt64/uint64(max(st.Bsize, 1)) {
		return math.MaxInt64
	}
	return int64(st.Bavail) * st.Bsize
}
