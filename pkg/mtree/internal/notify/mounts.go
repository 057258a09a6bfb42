package notify

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount tells a mount from others, as long as a descriptor on it is open. A
// subvolume has a device of its own and need not be one.
type mount struct{ id, dev uint64 }

// mounted is a mount in the tree.
type mounted struct {
	fd int
	mount
}

func mountOf(fd int) (mount, error) {
	var stx unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &stx); err != nil {
		return mount{}, fmt.Errorf("statx: %w", err)
	}
	return mount{stx.Mnt_id, unix.Mkdev(stx.Dev_major, stx.Dev_minor)}, nil
}

// mountsOf returns the mounts of the handle's file system, at least one. The slice is
// never written to.
func (p *places) mountsOf(id string) []mounted {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(id) >= fanFSID && len(p.mounts[id[:fanFSID]]) > 0 {
		return p.mounts[id[:fanFSID]]
	}
	return []mounted{{fd: p.root}}
}

// holds reports whether what is open as fd, by one of several mounts of its file
// system, is in the tree by that one.
func (p *places) holds(fd int, id string) bool {
	full, err := readlink(fd)
	if errors.Is(err, unix.ENAMETOOLONG) {
		inside, err := p.surface(id, fd)
		return inside && err == nil
	}
	_, inside := p.below(full)
	return inside && err == nil
}

// remounted forgets all that was found, and lets go of mounts that are gone, or no
// longer in the tree: it returns them. The root's stays.
func (p *places) remounted() (gone []mount) {
	p.begin()
	for dir, h := range p.held {
		p.release(dir, h)
	}
	p.moved()
	ids, err := mountIDs()
	p.mu.Lock()
	defer p.mu.Unlock()
	for fs, all := range p.mounts {
		kept := slices.Clone(all[:0])
		for _, m := range all {
			path, at := readlink(m.fd)
			if _, inside := p.below(path); err != nil || inside && at == nil && ids[m.id] || p.isRoots(m) {
				kept = append(kept, m)
				continue
			}
			_ = unix.Close(m.fd)
			gone = append(gone, m.mount)
		}
		if p.mounts[fs] = kept; len(kept) == 0 {
			delete(p.mounts, fs)
		}
	}
	return gone
}

func (p *places) isRoots(m mounted) bool {
	on, err := mountOf(p.root)
	return err == nil && on == m.mount
}

// mountIDs returns the ids of all mounts there are.
func mountIDs() (map[uint64]bool, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	ids := map[uint64]bool{}
	for line := range strings.Lines(string(text)) {
		number, _, _ := strings.Cut(line, " ")
		if id, err := strconv.ParseUint(number, 10, 64); err == nil {
			ids[id] = true
		}
	}
	return ids, nil
}
