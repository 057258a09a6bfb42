package notify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
)

// Bounds of what places keeps.
const (
	maxPlaces  = 1024    // open directories
	maxPaths   = 1 << 20 // bytes of paths kept
	maxOutside = 16384   // directories known to be outside

	maxHandleWait = 50 * time.Millisecond // last of the pauses, each twice the one before
)

// places finds the paths of directories from their file handles. Recently used
// ones stay open, by O_PATH: looking one up anew makes the kernel read the
// directory above it. Paths are kept until a directory of the tree was renamed, and
// what was found outside until one came into the tree. A path that is out of date
// already, its event still to come, does no harm, as it would do none if it had been
// asked for a moment before the rename: that event restamps all that it concerns.
type places struct {
	root    int
	top     string           // the root's path, asked at the beginning of each Take
	climbed map[inode]string // paths that readlink does not give, for one Take
	deep    bool             // there was one in this Take

	mu      sync.Mutex
	mounts  map[string][]mounted // by file system id
	outside map[string]struct{}  // directories that are not in the tree

	held  map[string]*openDir
	clock uint64            // counts uses
	paths map[string]string // by handle
	kept  int               // bytes in paths
}

// inode is a directory while nobody can remove it and make another.
type inode struct{ dev, ino uint64 }

func inodeOf(st *unix.Stat_t) inode { return inode{st.Dev, st.Ino} }

type openDir struct {
	fd   int
	used uint64
}

func newPlaces(root int) *places {
	return &places{root: root, mounts: map[string][]mounted{}, held: map[string]*openDir{}, outside: map[string]struct{}{}, paths: map[string]string{}}
}

// mount remembers a mount in the tree by a descriptor on it.
func (p *places) mount(fd int, on mount) error {
	id, err := handleOf(fd)
	if err != nil {
		return err
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("dup: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mounts[id[:fanFSID]] = append(p.mounts[id[:fanFSID]], mounted{own, on})
	return nil
}

// begin is called before directories are asked for.
func (p *places) begin() {
	if top, err := readlink(p.root); err == nil {
		p.top = top
	}
	p.climbed, p.deep = map[inode]string{}, false
}

// moved forgets where directories are: one came into the tree, or may have.
func (p *places) moved() {
	p.forget()
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.outside)
}

// forget drops the kept paths: a directory was renamed, or may have been.
func (p *places) forget() {
	clear(p.paths)
	p.kept = 0
}

func (p *places) isOutside(dir []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.outside[string(dir)]
	return ok
}

// open returns an O_PATH descriptor of the directory, which stays p's.
func (p *places) open(dir string) (int, error) {
	p.clock++
	if h := p.held[dir]; h != nil {
		h.used = p.clock
		return h.fd, nil
	}
	if len(p.held) >= maxPlaces {
		p.evict()
	}
	fd, err := p.openHandle(dir, unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	p.held[dir] = &openDir{fd, p.clock}
	return fd, nil
}

// openHandle returns an O_PATH descriptor of what has the handle, by the mount by
// which it is in the tree; if by none, by the last.
func (p *places) openHandle(id string, flags int) (fd int, err error) {
	mounts := p.mountsOf(id)
	last := len(mounts) - 1
	for _, m := range mounts[:last] {
		if fd, err = p.openBy(m.fd, id, flags); err != nil || p.holds(fd, id) {
			return fd, err
		}
		_ = unix.Close(fd)
	}
	return p.openBy(mounts[last].fd, id, flags)
}

// openBy returns an O_PATH descriptor of what has the handle. ext4 reports
// ENOMEM, not ESTALE, while the inode number of a removed directory is being given
// to a new file (iget_locked of an inode in I_CREATING): the next try finds it
// stale. Only where it stays so is memory short.
func (p *places) openBy(mount int, id string, flags int) (fd int, err error) {
	kind := int32(binary.NativeEndian.Uint32([]byte(id[fanFSID+4:])))
	handle := unix.NewFileHandle(kind, []byte(id[fanFSID+fanHandle:]))
	for wait := 50 * time.Microsecond; ; wait *= 2 {
		fd, err = unix.OpenByHandleAt(mount, handle, unix.O_PATH|unix.O_CLOEXEC|flags)
		if !errors.Is(err, unix.ENOMEM) || wait > maxHandleWait {
			return fd, err
		}
		time.Sleep(wait)
	}
}

// evict closes the less recently used half.
func (p *places) evict() {
	uses := make([]uint64, 0, len(p.held))
	for _, h := range p.held {
		uses = append(uses, h.used)
	}
	slices.Sort(uses)
	middle := uses[len(uses)/2]
	for dir, h := range p.held {
		if h.used <= middle {
			p.release(dir, h)
		}
	}
}

func (p *places) release(dir string, h *openDir) {
	_ = unix.Close(h.fd)
	delete(p.held, dir)
}

// path returns where the directory is below the root; false if it is not, or no
// longer is. An error means that it cannot be known.
func (p *places) path(dir string) (path string, ok bool, err error) {
	if path, ok := p.paths[dir]; ok {
		return path, true, nil
	}
	if path, ok, err = p.find(dir); ok && err == nil {
		if p.kept += len(dir) + len(path); p.kept > maxPaths {
			p.forget()
		}
		p.paths[dir] = path
	}
	return path, ok, err
}

func (p *places) find(dir string) (path string, ok bool, err error) {
	fd, err := p.open(dir)
	switch {
	case errors.Is(err, unix.ESTALE):
		return "", false, nil // gone
	case err != nil:
		return "", false, fmt.Errorf("open_by_handle_at: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink == 0 {
		p.release(dir, p.held[dir])
		return "", false, nil
	}
	if path, ok := p.climbed[inodeOf(&st)]; ok {
		return path, true, nil
	}
	if p.deep && p.comesFromOutside(fd) {
		p.leave(dir)
		return "", false, nil
	}
	full, err := readlink(fd)
	if errors.Is(err, unix.ENAMETOOLONG) {
		p.deep = true
		return p.climb(dir, fd)
	}
	if err != nil {
		return "", false, fmt.Errorf("readlink: %w", err)
	}
	path, ok = p.below(full)
	if !ok {
		p.leave(dir)
	}
	return path, ok, nil
}

// comesFromOutside reports whether the directory above is known to be outside: a
// tenth of what readlink costs for one that is too deep.
func (p *places) comesFromOutside(fd int) bool {
	up, err := above(fd, 1)
	if err != nil {
		return false
	}
	defer unix.Close(up)
	id, err := handleOf(up)
	return err == nil && p.isOutside([]byte(id))
}

// leave remembers that directories are outside.
func (p *places) leave(dirs ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, dir := range dirs {
		if h := p.held[dir]; h != nil {
			p.release(dir, h)
		}
		if len(p.outside) >= maxOutside {
			clear(p.outside)
		}
		p.outside[dir] = struct{}{}
	}
}

// below cuts the root off a path; what is in a marker directory is not below.
func (p *places) below(full string) (string, bool) {
	rest, ok := full, true
	switch {
	case full == p.top:
		return "", true
	case p.top == "/":
		rest = full[1:]
	default:
		rest, ok = strings.CutPrefix(full, p.top+"/")
	}
	if !ok || slices.Contains(strings.Split(rest, "/"), mtree.MarkerName) {
		return "", false
	}
	return rest, true
}

// climb finds the path of a directory too deep for readlink, which ends at
// 4,096 bytes: it goes up to one whose path is known or short enough, and looks
// for each on the way in the one above it. What it finds holds for one Take. One
// that is removed or moved on the way is nowhere: its own event is still to
// come.
//
// The names cost a reading of each directory on the way, so they are asked for only
// below the root: anybody may make directories beside it, as deep as he likes.
func (p *places) climb(dir string, fd int) (path string, ok bool, err error) {
	inside, err := p.surface(dir, fd)
	if err == nil && inside {
		path, ok, err = p.climbUp(fd)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) {
		return "", false, nil
	}
	return path, ok, err
}

// wasClimbed reports whether the path is known to this Take.
func (p *places) wasClimbed(fd int) bool {
	var st unix.Stat_t
	if len(p.climbed) == 0 || unix.Fstat(fd, &st) != nil {
		return false
	}
	_, ok := p.climbed[inodeOf(&st)]
	return ok
}

// maxUp is how many levels are gone up at once: "../" each in one path.
const maxUp = 1024

// surface reports whether a directory too deep for readlink is below the root: by
// the nearest one above it that is not too deep, for the root is not. It goes up by
// steps of 1, 2, 4 and so on, until it is too far or knows where it is, and then
// halves the last step. What it passed and found outside it remembers, so that the
// next directory from there is one step from a known one. System calls for n
// levels: 5 for each step, log n + n/1024 and 10 more; three descriptors.
func (p *places) surface(dir string, fd int) (inside bool, err error) {
	passed := []string{dir}
	deep := fd // too deep
	defer func() { closeBut(fd, deep) }()
	for step := 1; ; step = min(2*step, maxUp) {
		up, err := above(deep, step)
		if err != nil {
			return false, err
		}
		if p.wasClimbed(up) {
			_ = unix.Close(up)
			return true, nil
		}
		id, outside, full, err := p.look(up)
		if err == unix.ENAMETOOLONG {
			passed = append(passed, id)
			closeBut(fd, deep)
			deep = up
			continue
		}
		_ = unix.Close(up)
		if err == nil && !outside {
			full, err = shallow(deep, step, full)
			_, inside = p.below(full)
		}
		if err == nil && !inside && len(p.mountsOf(dir)) == 1 { // by another mount they may be inside
			p.leave(passed...)
		}
		return inside, err
	}
}

// look returns what surface asks of a directory: who it is, whether it is known to
// be outside, and if not its path.
func (p *places) look(fd int) (id string, outside bool, full string, err error) {
	if id, err = handleOf(fd); err != nil {
		return "", false, "", err
	}
	if p.isOutside([]byte(id)) {
		return id, true, "", nil
	}
	full, err = readlink(fd)
	return id, false, full, err
}

// shallow returns the path of the nearest directory above deep that readlink tells,
// full being that of the one so many levels up.
func shallow(deep, levels int, full string) (string, error) {
	for tooFew := 0; levels-tooFew > 1; {
		middle := (levels + tooFew) / 2
		up, err := above(deep, middle)
		if err != nil {
			return "", err
		}
		switch path, err := readlink(up); err {
		case nil:
			full, levels = path, middle
		default:
			tooFew = middle
		}
		_ = unix.Close(up)
	}
	return full, nil
}

// above opens the directory so many levels up.
func above(fd, levels int) (int, error) {
	up, err := unix.Open(procFD(fd)+strings.Repeat("/..", levels), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: "..", Err: err}
	}
	return up, nil
}

// closeBut closes a descriptor that is not the one to be kept.
func closeBut(keep, fd int) {
	if fd != keep {
		_ = unix.Close(fd)
	}
}

func (p *places) climbUp(fd int) (string, bool, error) {
	var inodes []inode
	var names []string
	at := procFD(fd)
	var last *os.File // at is by its descriptor
	defer func() { _ = last.Close() }()
	base, inside := "", false
	for {
		var st unix.Stat_t
		if err := unix.Stat(at, &st); err != nil {
			return "", false, fmt.Errorf("stat: %w", err)
		}
		if known, ok := p.climbed[inodeOf(&st)]; ok {
			base, inside = known, true
			break
		}
		buf := make([]byte, unix.PathMax)
		if n, err := unix.Readlink(at, buf); err == nil && len(names) > 0 {
			base, inside = p.below(string(buf[:n]))
			break
		}
		up, err := os.Open(at + "/..")
		if err != nil {
			return "", false, err
		}
		name, err := nameOf(up, st.Ino)
		_ = last.Close()
		last = up
		if err != nil || name == "" {
			return "", false, err
		}
		names, inodes = append(names, name), append(inodes, inodeOf(&st))
		at = procFD(int(up.Fd()))
	}
	if !inside {
		return "", false, nil
	}
	for i := len(names) - 1; i >= 0; i-- {
		base = mtree.JoinPath(base, names[i])
		p.climbed[inodes[i]] = base
	}
	return base, true, nil
}

// nameOf finds an inode in a directory; "" if it is not there, as at the top.
func nameOf(dir *os.File, inode uint64) (string, error) {
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if info, err := e.Info(); err == nil && info.Sys().(*syscall.Stat_t).Ino == inode {
			return e.Name(), nil
		}
	}
	return "", nil
}

func (p *places) close() {
	for dir, h := range p.held {
		p.release(dir, h)
	}
	for _, all := range p.mounts {
		for _, m := range all {
			_ = unix.Close(m.fd)
		}
	}
}

func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func readlink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(procFD(fd), buf)
	return string(buf[:max(n, 0)]), err
}
