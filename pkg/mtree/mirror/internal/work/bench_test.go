package work

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/mirror/internal/overlap"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
	"tidemark/pkg/mtree/wire"
)

// Times by the source's clock. The files of a bench are from long ago.
var (
	longAgo = mtree.Unix(900_000_000, 5)
	before  = mtree.Unix(1_000_000_000, 0) // when the directory was listed and completed
	now     = before.Add(time.Hour)        // when it is listed
)

const (
	ours   = "00000000000000aa" // the id of the directory
	theirs = "00000000000000bb"
)

var errAway = errors.New("the source does not answer")

// bench is a copy in memory, with the directory d, and what a source lists of that.
type bench struct {
	*faultkernel.Kernel
	t       *testing.T
	listing source.Dir
	part    *mtree.Listing      // comes first, and once; nil: none does
	anew    func(l *source.Dir) // what is read anew, and comes from no cache
	err     error               // the source's
	asked   []string            // what it was asked for
	env     Env
	changes int // how often a change was announced
	log     bytes.Buffer
}

// newBench returns a bench on which mirror runs as that user. The copy of d is complete with
// the listing: it has the paths, those with a slash at the end as directories.
func newBench(t *testing.T, uid uint32, paths string) *bench { return newBenchOn(t, uid, paths, false) }

// newBenchOn is newBench on a disk that may hold no attributes.
func newBenchOn(t *testing.T, uid uint32, paths string, noXattrs bool) *bench {
	b := &bench{Kernel: faultkernel.New(t, uid), t: t}
	b.Machine.NoXattrs = noXattrs
	require.NoError(t, b.Shell.Mkdir("/copy", 0o755))
	require.NoError(t, b.Shell.Chown("/copy", int(uid)))
	log := slog.New(slog.NewTextHandler(&b.log, nil))
	r := b.open(log)
	tree := state.Tree{ID: state.NewTreeID(), Role: state.Copy, Epoch: 5}
	tree.Bind(r.Self)
	require.NoError(t, r.SetTree(tree))
	b.env = Env{
		Source: b, Root: &source.Root{State: wire.Watched}, Replica: r, Overlap: &overlap.Guard{Source: b, Replica: r},
		Verified: &VerifiedFiles{}, Wholes: &Wholes{}, Log: log, BeforeChange: func() { b.changes++ },
	}
	b.env.Root.Tree, b.env.Root.Fingerprint = source.Tree{ID: tree.ID, Epoch: 5}, "e"
	require.NoError(t, b.Shell.Mkdir("/copy/d", 0o755))
	b.make("d", paths)
	b.listing = source.Dir{Tree: b.env.Root.Tree, Fingerprint: "e"}
	b.listing.Stamp, b.listing.Now, b.listing.HasNow, b.listing.ID = now, now, true, ours
	b.listing.Entries = b.has()
	for i := range b.listing.Entries {
		b.listing.Entries[i].Has &^= mtree.HasCTime | mtree.HasOwner
	}
	require.NoError(t, b.Shell.Chown("/copy/d", int(uid)))
	b.record(records.Record{Stamp: before, Now: before, ID: ours})
	b.Calls = nil
	return b
}

// open opens the copy.
func (b *bench) open(log *slog.Logger) *replica.Replica {
	b.t.Helper()
	r, err := replica.Open(&replica.Options{Path: "/copy", Log: log, Now: func() mtree.Stamp { return now }})
	require.NoError(b.t, err)
	b.t.Cleanup(r.Close)
	return r
}

// make makes paths in a directory of the copy.
func (b *bench) make(dir, paths string) {
	b.t.Helper()
	for path := range strings.FieldsSeq(paths) {
		at := "/copy/" + dir + "/" + strings.TrimSuffix(path, "/")
		if strings.HasSuffix(path, "/") {
			require.NoError(b.t, b.Shell.Mkdir(at, 0o755), path)
		} else {
			require.NoError(b.t, b.Shell.Write(at, path), path)
		}
		sec, nsec := longAgo.Unix()
		require.NoError(b.t, b.Shell.Touch(at, time.Unix(sec, int64(nsec)), false))
	}
}

// has returns the entries of the copy.
func (b *bench) has() []mtree.Entry {
	dir, err := b.env.Replica.Dir("d")
	require.NoError(b.t, err)
	defer dir.Close()
	have, _, _, err := b.env.present(dir, "d", &mtree.Listing{})
	require.NoError(b.t, err)
	return have
}

// record gives d a record, and its stamp as time.
func (b *bench) record(r records.Record) { b.recordAt("d", r) }

func (b *bench) recordAt(path string, r records.Record) {
	b.t.Helper()
	dir, err := b.env.Replica.Dir(path)
	require.NoError(b.t, err)
	defer dir.Close()
	require.NoError(b.t, b.env.Replica.SetRecord(dir, path, r))
	require.NoError(b.t, dir.SetTime(r.Stamp))
}

// forget removes the record of d.
func (b *bench) forget() {
	b.t.Helper()
	dir, err := b.env.Replica.Dir("d")
	require.NoError(b.t, err)
	defer dir.Close()
	require.NoError(b.t, b.Kernel.Fremovexattr(dir.FD(), records.XattrName))
}

// complete publishes that the copy is complete.
func (b *bench) complete() {
	b.t.Helper()
	require.NoError(b.t, b.env.Replica.Publish(&replica.Outcome{Complete: true, SourceState: wire.Watched}))
}

// recorded returns the record of a directory.
func (b *bench) recorded(path string) records.Record {
	b.t.Helper()
	dir, err := b.env.Replica.Dir(path)
	require.NoError(b.t, err)
	defer dir.Close()
	record, _, _ := b.env.Replica.Record(dir, path)
	return record
}

// list adds entries to the listing, and takes out those with a minus before their names.
func (b *bench) list(entries ...mtree.Entry) {
	for _, e := range entries {
		name, minus := strings.CutPrefix(e.Name, "-")
		b.listing.Entries = slices.DeleteFunc(b.listing.Entries, func(was mtree.Entry) bool { return was.Name == name })
		if !minus {
			b.listing.Entries = append(b.listing.Entries, e)
		}
	}
	slices.SortFunc(b.listing.Entries, func(x, y mtree.Entry) int { return strings.Compare(x.Name, y.Name) })
}

// entry returns an entry of a listing.
func entry(kind mtree.Kind, name string) mtree.Entry {
	e := mtree.Entry{Name: name, Kind: kind, MTime: longAgo, Mode: 0o644, Has: mtree.HasMode}
	switch kind {
	case mtree.Dir:
		e.Mode, e.MTime = 0o755, now
	case mtree.Symlink:
		e.Link, e.Mode = "to", 0o777
	}
	return e
}

func file(name string) mtree.Entry { return entry(mtree.File, name) }
func dir(name string) mtree.Entry  { return entry(mtree.Dir, name) }
func gone(name string) mtree.Entry { return mtree.Entry{Name: "-" + name} }

// touched lists a file of the copy with a ctime.
func (b *bench) touched(name string, ctime mtree.Stamp) {
	for i := range b.listing.Entries {
		if e := &b.listing.Entries[i]; e.Name == name {
			e.CTime, e.Has = ctime, e.Has|mtree.HasCTime
		}
	}
}

// visit visits d.
func (b *bench) visit() *VisitResult {
	b.t.Helper()
	v := b.try(Target{Path: "d", Listed: now})
	require.NoError(b.t, v.Err)
	return v
}

// try visits a target.
func (b *bench) try(target Target) *VisitResult { return b.env.Visit(b.t.Context(), target, nil) }

// List implements Source.
func (b *bench) List(_ context.Context, path string, least mtree.Stamp) (source.Dir, error) {
	b.asked = append(b.asked, path+" "+least.String())
	if b.err != nil {
		return source.Dir{}, b.err
	}
	l := b.listing
	if b.part != nil {
		l.Listing, b.part = *b.part, nil
		return l, nil
	}
	l.Entries = slices.Clone(l.Entries)
	if least == source.Fresh && b.anew != nil {
		l.Direct = true
		b.anew(&l)
	}
	return l, nil
}

// Fetch and Sums implement Source: a visit needs neither.
func (b *bench) Fetch(context.Context, []source.Wanted) iter.Seq2[int, source.File] { return nil }
func (b *bench) Sums(context.Context, []string) (map[string]source.Sum, error)      { return nil, nil }
func (b *bench) Part(context.Context, string, mtree.Stamp) (source.Dir, error) {
	return source.Dir{}, source.ErrNoPart
}

// Serves implements overlap.Source.
func (b *bench) Serves(context.Context, string, []byte) bool { return false }

// count reports how many calls since the last Made begin so.
func (b *bench) count(begin string) (n int) {
	for _, call := range b.Calls {
		if strings.HasPrefix(call, begin) {
			n++
		}
	}
	return n
}

// untyped is a file system whose directories do not show what their entries are.
type untyped struct{ *faultkernel.Kernel }

func (u untyped) Getdents(fd, room int) ([]byte, error) {
	buf, err := u.Kernel.Getdents(fd, room)
	for at := 0; at < len(buf); at += int(binary.NativeEndian.Uint16(buf[at+16:])) {
		buf[at+18] = 0
	}
	return buf, err
}

// namesOf returns the names of changes.
func namesOf(changes []mtree.Change) string {
	var all []string
	for _, c := range changes {
		all = append(all, c.Want.Name)
	}
	return strings.Join(all, " ")
}

// goes returns the names of deletions, with their reasons in parentheses.
func (v *VisitResult) goes() string {
	var all []string
	for i := range v.Deletions {
		d := &v.Deletions[i]
		switch d.Why {
		case "":
			all = append(all, d.Name())
		case replica.WhyTree:
			all = append(all, d.Name()+"(tree)")
		default:
			all = append(all, d.Name()+"(emptied)")
		}
	}
	return strings.Join(all, " ")
}
