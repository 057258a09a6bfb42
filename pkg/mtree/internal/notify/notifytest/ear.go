package notifytest

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
)

// Ear is a Source for a machine in memory that knows which directories are armed, and tells
// nothing.
type Ear struct {
	notify.Source                         // nil: what is missing here is not called
	Arming        func(name string) error // called before each Arm, which fails with its error; nil: none does
	Names         []string                // of the directories that were armed, in order; "": the root
	Asked         int                     // how often a directory was to be known
	OwnEvents     bool                    // as if own writes were heard

	t      testing.TB
	kernel *faultkernel.Kernel
	mu     sync.Mutex      // audits arm beside batches
	armed  map[uint64]bool // by inode
}

// armed is what an Ear knows each directory as.
var armed = notify.Marker

// NewEar returns an Ear. None of its own calls fails.
func NewEar(t testing.TB, kernel *faultkernel.Kernel) *Ear {
	return &Ear{t: t, kernel: kernel, armed: map[uint64]bool{}}
}

func (e *Ear) inode(fd int, name string) uint64 {
	flags := unix.AT_EMPTY_PATH
	if name != "" {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	stx, err := e.kernel.Kernel.Statx(fd, name, flags, unix.STATX_BASIC_STATS)
	e.check(err == nil, name, err)
	return stx.Ino
}

// check ends the test unless it is right.
func (e *Ear) check(is bool, name string, why any) {
	if !is {
		e.t.Helper()
		e.t.Fatalf("%q: %v", name, why)
	}
}

// Known implements notify.Source.
func (e *Ear) Known(fd int) (notify.Ref, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Asked++
	if e.armed[e.inode(fd, "")] {
		return armed, nil
	}
	return notify.Ref{}, nil
}

// Arm implements notify.Source.
func (e *Ear) Arm(parent notify.Ref, parentFD int, name string, fd int) (notify.Ref, bool, error) {
	if e.Arming != nil {
		if err := e.Arming(name); err != nil {
			return notify.Ref{}, false, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	inode := e.inode(fd, "")
	if parent == armed {
		e.check(e.armed[e.inode(parentFD, "")], name, "armed below what is not heard")
		e.check(e.inode(parentFD, name) == inode, name, "armed where it is not")
	}
	fresh := !e.armed[inode]
	e.armed[inode] = true
	e.Names = append(e.Names, name)
	return armed, fresh, nil
}

// Wrote implements notify.Source.
func (e *Ear) Wrote() bool { return e.OwnEvents }

// ArmAll arms everything at and below a path, without a word.
func (e *Ear) ArmAll(path string) { e.setAll(path, true) }

// DisarmAll lets nothing at and below a path be armed.
func (e *Ear) DisarmAll(path string) { e.setAll(path, false) }

func (e *Ear) setAll(path string, to bool) {
	stx, err := e.kernel.Shell.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS)
	e.check(err == nil, path, err)
	e.mu.Lock()
	e.armed[stx.Ino] = to
	e.mu.Unlock()
	for _, name := range e.kernel.Shell.Names(path) {
		e.setAll(path+"/"+name, to)
	}
}
