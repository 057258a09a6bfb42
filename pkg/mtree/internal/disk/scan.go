package disk

import (
	"encoding/binary"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
)

// direntBuffer is the size of a getdents64 buffer, in bytes. A larger one gains nothing:
// 20,000 names took 8.7 ms with 8 KiB, 7.9 ms with 64 KiB, 8.3 ms with 256 KiB.
const direntBuffer = 64 << 10

var direntBuffers = sync.Pool{New: func() any { return new([direntBuffer]byte) }}

// Scan reads the directory from its start and calls visit for every entry but ".",
// ".." and mtree.MarkerName, in the directory's own order. The name is the one in the
// buffer and is valid during the call only. kind is the type that the directory
// shows, mtree.Other if it shows none. An error of visit ends the scan and is
// returned.
//
// Cost: one lseek and a getdents64 for each 64 KiB of names, nothing per name.
func (d *Dir) Scan(visit func(name []byte, kind mtree.Kind) error) error {
	if _, err := sys.Seek(d.fd, 0, unix.SEEK_SET); err != nil {
		return &fs.PathError{Op: "readdir", Path: d.path, Err: err}
	}
	buf := direntBuffers.Get().(*[direntBuffer]byte)
	defer direntBuffers.Put(buf)
	for {
		n, err := sys.Getdents(d.fd, buf[:])
		if err != nil {
			return &fs.PathError{Op: "readdir", Path: d.path, Err: err}
		}
		if n == 0 {
			return nil
		}
		if err := eachDirent(buf[:n], visit); err != nil {
			return err
		}
	}
}

// eachDirent visits the struct linux_dirent64 records of getdents64(2): inode u64,
// offset u64, length u16, type u8, name ending in NUL.
func eachDirent(buf []byte, visit func(name []byte, kind mtree.Kind) error) error {
	const header = 19
	for len(buf) > header {
		length := int(binary.NativeEndian.Uint16(buf[16:]))
		name := buf[header:length]
		end := 0
		for end < len(name) && name[end] != 0 {
			end++
		}
		kind := direntKind(buf[18])
		if name = name[:end]; !isReserved(name) {
			if err := visit(name, kind); err != nil {
				return err
			}
		}
		buf = buf[length:]
	}
	return nil
}

func isReserved(name []byte) bool {
	return string(name) == "." || string(name) == ".." || string(name) == mtree.MarkerName
}

func direntKind(t byte) mtree.Kind {
	switch t {
	case unix.DT_REG:
		return mtree.File
	case unix.DT_DIR:
		return mtree.Dir
	case unix.DT_LNK:
		return mtree.Symlink
	}
	return mtree.Other
}

// ScanStat is Scan with lstat of every entry. An entry that vanishes meanwhile is left
// out. Cost: Scan and one statx per entry, no allocation.
func (d *Dir) ScanStat(visit func(name []byte, info Info) error) error {
	var pace StatPace
	return d.Scan(func(name []byte, _ mtree.Kind) error {
		// A NUL follows the name in the buffer: no copy is needed.
		info, err := pace.Stat(d, unsafe.SliceData(name))
		runtime.KeepAlive(name)
		if err == unix.ENOENT {
			return nil
		}
		if err != nil {
			return d.PathError("stat", string(name), err)
		}
		return visit(name, info)
	})
}

// StatPace makes the statx calls of one scan. While the kernel answers from memory, the
// scheduler does not learn of each call, which saves a sixth of the time (1.43 instead of
// 1.69 µs). As soon as some calls are so slow that they may have waited for a disk, the
// scheduler learns of them again, because other goroutines must be able to run. The zero
// value is ready, for one goroutine.
type StatPace struct {
	calls int // of this run of statRun
	quick bool
	began time.Time
}

const (
	statRun   = 16
	statQuick = statRun * 15 * time.Microsecond // a run that takes less was answered from memory
)

// Stat is lstat of an entry of d, whose name must end in a NUL. The error is a plain
// errno.
func (p *StatPace) Stat(d *Dir, name *byte) (Info, error) {
	switch p.calls {
	case 0:
		p.began = time.Now()
	case statRun:
		now := time.Now()
		p.quick = now.Sub(p.began) < statQuick
		p.calls, p.began = 0, now
	}
	p.calls++
	return statx(d.fd, name, unix.AT_SYMLINK_NOFOLLOW, p.quick)
}

// Names returns all names in bytewise order. Cost: as Scan.
func (d *Dir) Names() ([]string, error) {
	var names []string
	err := d.Scan(func(name []byte, _ mtree.Kind) error {
		names = append(names, string(name))
		return nil
	})
	slices.Sort(names)
	return names, err
}
