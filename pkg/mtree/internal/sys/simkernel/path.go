package simkernel

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// found is where a path leads.
type found struct {
	dir  *inode  // the directory of the last name; nil for the root, "." and descriptors
	name string  // the last name
	at   *dentry // what has that name; nil: nothing
	node *inode  // nil: nothing
	self *handle // a descriptor, by an empty path
}

// find looks for a name in a directory. One that folds may have it in another spelling, which
// it keeps when something is renamed over it, as on ext4.
func (n *inode) find(name string) found {
	at := n.names[name]
	for _, spelled := range n.spellings(name) {
		if at == nil {
			at, name = n.names[spelled], spelled
		}
	}
	return found{dir: n, name: name, at: at}
}

// spellings returns the names in a directory that folds which it takes for this one.
func (n *inode) spellings(name string) []string {
	if !n.folds {
		return nil
	}
	return slices.DeleteFunc(n.sorted(""), func(spelled string) bool { return !strings.EqualFold(spelled, name) })
}

// maxLinks is how many symlinks a path may lead through.
const maxLinks = 40

// lookup follows a path. With follow it follows a symlink at its end, too.
func (p *Process) lookup(dirfd int, path string, follow bool, resolve uint64) (f found, err error) {
	if rest, ok := strings.CutPrefix(path, "/proc/self/fd/"); ok {
		number, rest, _ := strings.Cut(rest, "/")
		fd, _ := strconv.Atoi(number)
		owner := p.k.procs[fd/fdsEach]
		if owner == nil {
			return f, unix.ENOENT
		}
		h, err := owner.handle(fd)
		if err != nil || h.node == nil {
			return f, unix.ENOENT
		}
		if rest != "" && rest != "." {
			return p.walk(h.node, rest, follow, resolve)
		}
		return found{at: h.at, node: h.node, self: h}, nil
	}
	if path == "" {
		return f, unix.ENOENT
	}
	if path[0] == '/' {
		if resolve&unix.RESOLVE_BENEATH != 0 {
			return f, unix.EXDEV
		}
		return p.walk(p.k.root, path, follow, resolve)
	}
	if dirfd == unix.AT_FDCWD {
		return p.walk(p.k.root, path, follow, resolve)
	}
	h, err := p.handle(dirfd)
	if err != nil {
		return f, err
	}
	return p.walk(h.node, path, follow, resolve)
}

// itself is lookup that takes an empty path for the descriptor itself (AT_EMPTY_PATH).
func (p *Process) itself(dirfd int, path string, flags int, follow bool) (found, error) {
	if path == "" && flags&unix.AT_EMPTY_PATH != 0 {
		h, err := p.handle(dirfd)
		if err != nil {
			return found{}, err
		}
		return found{at: h.at, node: h.node, self: h}, nil
	}
	f, err := p.lookup(dirfd, path, follow, 0)
	if err == nil && f.node == nil {
		err = unix.ENOENT
	}
	return f, err
}

func (p *Process) walk(start *inode, path string, follow bool, resolve uint64) (found, error) {
	f := found{at: start.home, node: start}
	links := 0
	todo := strings.Split(path, "/")
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		last := len(todo) == 0
		if f.node == nil {
			return f, unix.ENOENT
		}
		if !f.node.isDir() {
			return f, unix.ENOTDIR
		}
		if name == "" || name == "." {
			f.dir, f.name = nil, ""
			continue
		}
		if err := p.may(f.node, 0o1); err != nil {
			return f, err
		}
		if len(name) > 255 {
			return f, unix.ENAMETOOLONG
		}
		dir := f.node
		if name == ".." {
			if resolve&unix.RESOLVE_BENEATH != 0 && dir == start {
				return f, unix.EXDEV
			}
			if dir.home != nil {
				dir = dir.home.parent
			}
			f = found{at: dir.home, node: dir}
			continue
		}
		if dir.wasRemoved {
			return f, unix.ENOENT
		}
		f = dir.find(name)
		if f.at == nil {
			continue
		}
		f.node = f.at.node
		if f.node.kind() != unix.S_IFLNK || last && !follow {
			continue
		}
		if resolve&unix.RESOLVE_NO_SYMLINKS != 0 {
			return f, unix.ELOOP
		}
		if links++; links > maxLinks {
			return f, unix.ELOOP
		}
		target := string(f.node.data)
		f = found{at: dir.home, node: dir}
		if target[0] == '/' {
			f = found{at: nil, node: p.k.root}
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return f, nil
}
