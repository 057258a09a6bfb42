package simkernel

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// inode is a file, directory or symlink.
type inode struct {
	ino        uint64
	mode       uint32 // with its type
	nlink      int
	uid, gid   uint32
	atime      unix.Timespec
	mtime      unix.Timespec
	ctime      unix.Timespec
	btime      unix.Timespec
	queried    bool   // somebody looked at ctime since it was set
	data       []byte // of a file; the target of a symlink
	durable    []byte // what is on disk of data
	dirty      bool   // data was written since durable was
	names      map[string]*dentry
	home       *dentry // of a directory: its only name
	xattrs     map[string]string
	immutable  bool
	folds      bool // a directory: names that differ in case are one
	open       int  // descriptors
	dead       bool
	locks      []lock  // OFD locks
	flock      *handle // who has it by flock(2)
	watchedBy  []*watch
	wasRemoved bool // a directory without a name
}

// lock is a lock of an open file description.
type lock struct {
	by        *handle
	from, to  int64 // the first byte, and the one after the last
	exclusive bool
}

// dentry is a name in a directory. It keeps its identity when it is renamed.
type dentry struct {
	parent *inode
	name   string
	node   *inode
	gone   bool // removed
}

func (n *inode) kind() uint32 { return n.mode & unix.S_IFMT }
func (n *inode) isDir() bool  { return n.kind() == unix.S_IFDIR }

// sorted returns the names of a directory that come after last, in order.
func (n *inode) sorted(last string) (names []string) {
	for name := range n.names {
		if name > last {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// The times that ext4 stores.
const (
	firstSecond = -1 << 31
	lastSecond  = 1<<34 - 1<<31 - 1
)

// stored returns how the file system keeps a time.
func (k *Kernel) stored(t unix.Timespec) unix.Timespec {
	t.Sec = min(max(t.Sec, firstSecond), lastSecond)
	if k.First != 0 && t.Sec <= k.First {
		t = unix.Timespec{Sec: k.First}
	}
	granule := int64(k.Options.Granule)
	if granule >= int64(time.Second) {
		t.Nsec = 0
		t.Sec -= ((t.Sec % (granule / 1e9)) + granule/1e9) % (granule / 1e9)
	} else if granule > 1 {
		t.Nsec -= t.Nsec % granule
	}
	return t
}

// stamp returns the time of a change of n, as the kernel gives it: by the tick, and finer if
// somebody looked at the last one since (multigrain timestamps), unless the kernel is old.
func (k *Kernel) stamp(n *inode) unix.Timespec {
	now := k.now()
	coarse := now
	if tick := k.Options.Tick; tick > 0 {
		coarse = now.Truncate(tick)
		if !k.Options.OldTimes && coarse.Before(k.fine) && !k.fine.After(now) {
			coarse = k.fine
		}
	}
	t := k.stored(unix.NsecToTimespec(coarse.UnixNano()))
	if n.queried && !k.Options.OldTimes && !before(n.ctime, t) {
		k.fine = now
		t = k.stored(unix.NsecToTimespec(now.UnixNano()))
	}
	return t
}

func before(a, b unix.Timespec) bool { return a.Sec < b.Sec || a.Sec == b.Sec && a.Nsec < b.Nsec }

// changed sets ctime, and mtime with contents.
func (k *Kernel) changed(n *inode, contents bool) {
	t := k.stamp(n)
	n.ctime, n.queried = t, false
	if contents {
		n.mtime = t
	}
}

// make returns a new inode without a name.
func (k *Kernel) make(mode uint32, uid uint32) *inode {
	k.lastIno++
	n := &inode{ino: k.lastIno, mode: mode, uid: uid, gid: uid}
	if n.isDir() {
		n.names = map[string]*dentry{}
	}
	t := k.stamp(n)
	n.atime, n.mtime, n.ctime, n.btime = t, t, t, t
	return n
}

// enter gives n a name.
func (k *Kernel) enter(parent *inode, name string, n *inode) *dentry {
	d := &dentry{parent: parent, name: name, node: n}
	k.attach(d)
	n.nlink++
	return d
}

func (k *Kernel) attach(d *dentry) {
	d.parent.names[d.name] = d
	if d.node.isDir() {
		d.node.home = d
	}
	k.changed(d.parent, true)
}

// remove takes a name away. What has none and is not open ends.
func (k *Kernel) remove(d *dentry) {
	delete(d.parent.names, d.name)
	d.gone = true
	k.changed(d.parent, true)
	k.unlinked(d.node)
}

func (k *Kernel) unlinked(n *inode) {
	n.nlink--
	k.changed(n, false)
	n.wasRemoved = n.isDir()
}

// release ends an inode that nobody can reach any more.
func (k *Kernel) release(n *inode) {
	if n.nlink == 0 && n.open == 0 && !n.dead {
		n.dead = true
		k.inodeGone(n)
	}
}

// path returns the path of a directory, as /proc shows it.
func (n *inode) path() string {
	if n.home == nil {
		return "/"
	}
	path := ""
	for ; n.home != nil; n = n.home.parent {
		path = "/" + n.home.name + path
		if n.home.gone {
			return path + " (deleted)"
		}
	}
	return path
}
