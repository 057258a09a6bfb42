package watch_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/lister"
)

// reader is a mirror that keeps no files. It remembers what it saw of each directory
// together with its stamp, and goes down only where a stamp differs.
type reader struct {
	t     testing.TB
	root  *disk.Dir // of the pass
	known map[string]*listed

	// all has the contents of whole subtrees by the stamp that they were completed with: no
	// stamp of a directory may stand for two contents.
	all map[string]map[mtree.Stamp]map[digest]bool
}

// largeFile is the size from which a reader takes time and size for contents.
const largeFile = 1 << 20

type digest [sha256.Size]byte

type listed struct {
	stamp   mtree.Stamp
	entries map[string]string // name -> what shows
	whole   digest            // of the entries and all below
}

func newReader(t testing.TB) *reader {
	return &reader{t: t, known: map[string]*listed{}, all: map[string]map[mtree.Stamp]map[digest]bool{}}
}

// pass goes down from the root by stamps. It reports false if it could not
// finish: something changed under its feet.
func (r *reader) pass(root *disk.Dir) bool {
	r.root = root // what was moved while it was open is not at its path: as serve, a reader must know
	return r.descend(root, "")
}

func (r *reader) descend(d *disk.Dir, path string) bool {
	info, err := d.Self()
	if err != nil {
		return false
	}
	if have := r.known[path]; have != nil && have.stamp == info.MTime {
		return true
	}
	l := lister.Lister{Root: r.root, Hidden: true, Mounts: true}
	listing, err := l.Read(d, path)
	if err != nil || listing.Hot {
		return false
	}
	now := &listed{stamp: listing.Stamp, entries: map[string]string{}}
	hash, complete := sha256.New(), true
	for _, e := range listing.Entries {
		if now.entries[e.Name], err = r.shows(d, e); err != nil {
			return false
		}
		fmt.Fprintf(hash, "%q %s\n", e.Name, now.entries[e.Name])
		if e.Kind != mtree.Dir {
			continue
		}
		below := mtree.JoinPath(path, e.Name)
		complete = r.child(d, e.Name, below) && complete
		// Complete only if the child has the stamp that was listed for it.
		if have := r.known[below]; have != nil && have.stamp == e.MTime {
			hash.Write(have.whole[:])
		} else {
			complete = false
		}
	}
	hash.Sum(now.whole[:0])
	if complete {
		r.known[path] = now
		r.note(path, now)
	} else {
		delete(r.known, path)
	}
	return complete
}

func (r *reader) child(d *disk.Dir, name, path string) bool {
	child, err := d.OpenDir(name)
	if err != nil {
		return false
	}
	defer child.Close()
	return r.descend(child, path)
}

func (r *reader) note(path string, l *listed) {
	if r.all[path] == nil {
		r.all[path] = map[mtree.Stamp]map[digest]bool{}
	}
	if r.all[path][l.stamp] == nil {
		r.all[path][l.stamp] = map[digest]bool{}
	}
	r.all[path][l.stamp][l.whole] = true
}

// shows is everything that a copy keeps of an entry. The ctime is not among it: it moves
// with another name of a file.
func (r *reader) shows(d *disk.Dir, e mtree.Entry) (string, error) {
	switch {
	case e.Kind == mtree.Dir:
		return fmt.Sprint(e.Kind, " ", e.Mode), nil
	case e.Kind != mtree.File || e.Size > largeFile:
		return fmt.Sprint(e.Kind, " ", e.Mode, " ", e.MTime, " ", e.Size, " ", e.Link), nil
	}
	f, info, err := d.OpenFile(e.Name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%v %v %v %d %.8x", e.Kind, e.Mode, e.MTime, info.Size, hash.Sum(nil)), nil
}

// catchesUp requires that the reader knows what is there after a few passes without changes,
// and that no directory shows a stamp that it had with other contents.
func (r *reader) catchesUp(root *disk.Dir, about string) {
	r.t.Helper()
	for pass := 0; !r.pass(root); pass++ {
		require.Less(r.t, pass, 3, "%s: nothing changes any more, yet the stamps do", about)
	}
	differences, _ := r.differences(root, "")
	require.Empty(r.t, differences, about)
}

// differences compares what the reader knows with what a full descent finds; whole makes the
// digests.
func (r *reader) differences(d *disk.Dir, path string) (all []string, whole digest) {
	have := r.known[path]
	if have == nil {
		return []string{fmt.Sprintf("%q: never seen", path)}, whole
	}
	l := lister.Lister{Hidden: true, Mounts: true}
	listing, err := l.Read(d, path)
	require.NoError(r.t, err)
	seen, hash := map[string]bool{}, sha256.New()
	for _, e := range listing.Entries {
		seen[e.Name] = true
		is, err := r.shows(d, e)
		require.NoError(r.t, err)
		fmt.Fprintf(hash, "%q %s\n", e.Name, is)
		if believed := have.entries[e.Name]; believed != is {
			all = append(all, fmt.Sprintf("%q: believed %q, is %q", mtree.JoinPath(path, e.Name), believed, is))
		}
		if e.Kind != mtree.Dir {
			continue
		}
		child, err := d.OpenDir(e.Name)
		require.NoError(r.t, err)
		below, digest := r.differences(child, mtree.JoinPath(path, e.Name))
		hash.Write(digest[:])
		all = append(all, below...)
		_ = child.Close()
	}
	for name := range have.entries {
		if !seen[name] {
			all = append(all, fmt.Sprintf("%q: believed, is not there", mtree.JoinPath(path, name)))
		}
	}
	hash.Sum(whole[:0])
	for other := range r.all[path][listing.Stamp] {
		if other != whole {
			all = append(all, fmt.Sprintf("%q: the stamp %s stood for other contents before", path, listing.Stamp))
		}
	}
	return all, whole
}
