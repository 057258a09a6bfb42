package replica

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
)

// stay is a time in which a disk loses nothing that was written, flushed or not. Zero stands for
// one that is not known.
type stay uint32

// A stamp of an unfinished directory is the least one, plus nanoseconds: the doubts, and from
// the bit stayShift on the stay, which has stayBits.
const (
	stayShift = 8
	stayBits  = records.UnfinishedBits - stayShift
)

// stayOf returns the stay that a text stands for.
func stayOf(text string) stay {
	sum := sha256.Sum256([]byte(text))
	return max(stay(binary.BigEndian.Uint32(sum[:])>>(32-stayBits)), 1)
}

// String returns the stay as the log has it.
func (s stay) String() string { return strconv.FormatUint(uint64(s), 10) }

// presentStay is another text after the disk of root may have lost what was not flushed. Where
// the boot is not known, as without /proc, it is another one each time.
func presentStay(root *disk.Dir) string {
	boot := machine.BootID()
	if boot == "" { // guard: TestStayOfAnUnknownBoot
		boot = rand.Text()
	}
	return boot + machine.Stay(root.FD())
}
