package handles

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// Bounds of a Resolver.
const (
	maxOpen    = 1024    // open directories
	maxPaths   = 1 << 20 // bytes of paths
	maxOutside = 16384   // directories known to be outside
)

// Resolver finds the paths of directories from their handles. Recently used directories
// stay open, by O_PATH: to look one up again makes the kernel read the directory above
// it. Paths are kept until a directory of the tree is renamed. The directories known to
// be outside are kept until a directory comes into the tree.
//
// One goroutine uses it. Others may call Lock, IsOutside, HasOutside and AddMount.
type Resolver struct {
	root    int
	top     string           // the root's path as of Begin
	climbed map[inode]string // paths that readlink does not give, since Begin
	deep    bool             // there was such a path since Begin
	short   bool             // memory was short for as long as it is worth waiting, since Begin

	openAt func(mount int, handle unix.FileHandle, flags int) (int, error) // unix.OpenByHandleAt; tests

	mu      sync.Mutex
	mounts  map[string][]mounted // by file system id
	outside map[string]struct{}  // directories that are not in the tree

	open      map[string]*openDir
	uses      uint64            // counts them
	paths     map[string]string // by handle
	pathBytes int               // in paths
}

// openDir is a directory that stays open.
type openDir struct {
	fd   int
	used uint64
}

// NewResolver returns a Resolver for the tree at the directory open as root, which stays
// the caller's.
func NewResolver(root int) *Resolver {
	return &Resolver{root: root, openAt: unix.OpenByHandleAt, mounts: map[string][]mounted{}, open: map[string]*openDir{}, outside: map[string]struct{}{}, paths: map[string]string{}}
}

// AddMount remembers a mount in the tree, by a descriptor on it.
func (r *Resolver) AddMount(fd int, on Mount) error {
	id, err := Of(fd)
	if err != nil {
		return err
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("dup: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mounts[id[:FSIDSize]] = append(r.mounts[id[:FSIDSize]], mounted{own, on})
	return nil
}

// mountsOf returns the mounts of the handle's file system, at least one. The slice is
// never written to.
func (r *Resolver) mountsOf(id string) []mounted {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(id) >= FSIDSize && len(r.mounts[id[:FSIDSize]]) > 0 {
		return r.mounts[id[:FSIDSize]]
	}
	return []mounted{{fd: r.root}}
}

// Begin is called before a series of lookups: it looks up the root's path anew.
func (r *Resolver) Begin() {
	if top, err := readlink(r.root); err == nil {
		r.top = top
	}
	r.climbed, r.deep, r.short = map[inode]string{}, false, false
}

// Renamed forgets the kept paths: a directory was renamed, or may have been.
func (r *Resolver) Renamed() {
	clear(r.paths)
	r.pathBytes = 0
}

// Arrived forgets everything that was found: a directory came into the tree, or may have.
func (r *Resolver) Arrived() {
	r.Renamed()
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.outside)
}

// IsOutside reports whether a directory is known to be outside the tree.
func (r *Resolver) IsOutside(id []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.HasOutside(id)
}

// Lock is held for several calls of HasOutside.
func (r *Resolver) Lock() { r.mu.Lock() }

// Unlock ends Lock.
func (r *Resolver) Unlock() { r.mu.Unlock() }

// HasOutside does what IsOutside does. The caller holds the lock.
func (r *Resolver) HasOutside(id []byte) bool {
	_, ok := r.outside[string(id)]
	return ok
}

// CountOutside returns how many directories are known to be outside.
func (r *Resolver) CountOutside() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.outside)
}

// leave remembers that directories are outside.
func (r *Resolver) leave(dirs ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, dir := range dirs {
		if o := r.open[dir]; o != nil {
			r.release(dir, o)
		}
		if len(r.outside) >= maxOutside {
			clear(r.outside)
		}
		r.outside[dir] = struct{}{}
	}
}

// release closes an open directory.
func (r *Resolver) release(dir string, o *openDir) {
	_ = unix.Close(o.fd)
	delete(r.open, dir)
}

// below cuts the root off a path. A path in a marker directory is not below the root.
func (r *Resolver) below(full string) (string, bool) {
	rest, ok := full, true
	switch {
	case full == r.top:
		return "", true
	case r.top == "/":
		rest = full[1:]
	default:
		rest, ok = strings.CutPrefix(full, r.top+"/")
	}
	if !ok || slices.Contains(strings.Split(rest, "/"), mtree.MarkerName) {
		return "", false
	}
	return rest, true
}

// Close closes all descriptors.
func (r *Resolver) Close() {
	for dir, o := range r.open {
		r.release(dir, o)
	}
	for _, all := range r.mounts {
		for _, m := range all {
			_ = unix.Close(m.fd)
		}
	}
}
