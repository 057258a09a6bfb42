package fetch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/sys/faultkernel"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// bench is a fetch into a copy in memory, /copy, from a source that has what a test gives it.
type bench struct {
	*faultkernel.Kernel
	t     *testing.T
	env   Env
	log   bytes.Buffer
	files map[string]source.File // by path; each comes once
	whole error                  // why the copy's version is of no use
	order []int                  // in which files come; nil: as they are wanted
	part  source.Dir             // what the source tells later
	want  []source.Wanted        // what it was asked for
	sums  bool                   // it asks for the sums of the copy's versions
	begun int                    // how often a directory was made ready
}

// newBench returns a bench whose copy has these paths.
func newBench(t *testing.T, paths ...string) *bench {
	to, k := newFaultyCopy(t)
	b := &bench{Kernel: k, t: t, files: map[string]source.File{}}
	for _, path := range paths {
		k.Make(t, "/copy/"+path)
	}
	to.BeforeChange = func() { b.begun++ }
	b.env = Env{Source: b, Root: &source.Root{}, Copy: to, Log: slog.New(slog.NewTextHandler(&b.log, nil))}
	return b
}

// Fetch implements Source.
func (b *bench) Fetch(ctx context.Context, want []source.Wanted) iter.Seq2[int, source.File] {
	b.want = want
	return func(yield func(int, source.File) bool) {
		order := b.order
		for i := range want {
			want[i].Whole = b.whole
			if b.order == nil {
				order = append(order, i)
			}
		}
		for _, i := range order {
			if b.sums && want[i].Old != nil {
				_, err := want[i].Old.Sums(ctx, 64<<10)
				require.NoError(b.t, err)
			}
			if f, ok := b.files[want[i].Path]; ok && !yield(i, f) {
				return
			}
		}
	}
}

// Part implements Source.
func (b *bench) Part(context.Context, string, mtree.Stamp) (source.Dir, error) { return b.part, nil }

// gives lets the source have a file as it is listed, but for what edit changes of the listing and of what
// comes. It returns the change that a visit finds.
func (b *bench) gives(path, text string, edit ...func(listed *mtree.Entry, f *source.File)) mtree.Change {
	e := file(mtree.BaseName(path))
	e.Size, e.CTime, e.Has = int64(len(text)), longAgo, mtree.HasMode|mtree.HasCTime
	f := source.File{Got: e, Body: strings.NewReader(text)}
	for _, change := range edit {
		change(&e, &f)
	}
	b.files[path] = f
	c := mtree.Change{What: mtree.Absent, Have: b.has(path), Want: &e}
	if c.Have != nil {
		c.What = mtree.Content
	}
	return c
}

// has returns an entry of the copy; nil if there is none.
func (b *bench) has(path string) *mtree.Entry {
	dir, err := b.env.Copy.Replica.Dir(mtree.ParentPath(path))
	require.NoError(b.t, err)
	defer dir.Close()
	info, err := dir.Stat(mtree.BaseName(path))
	if err != nil {
		return nil
	}
	e := &mtree.Entry{Name: mtree.BaseName(path), Kind: info.Kind, MTime: info.MTime, Mode: info.Mode & 0o7777, Has: mtree.HasMode}
	if info.Kind == mtree.File {
		e.Size = info.Size
	}
	return e
}

// text returns what a file of the copy holds; "-" if there is none.
func (b *bench) text(path string) string {
	text, err := b.Shell.Read("/copy/" + path)
	if err != nil {
		return "-"
	}
	return text
}

// staging returns what is in the staging directory.
func (b *bench) staging() []string { return b.Shell.Names("/copy/.tidemark/tmp") }

// target returns a directory as a visit leaves it.
func target(dir string) Target {
	return Target{Path: dir, Begun: records.Record{Stamp: now, ID: ours}}
}

// group returns files of a directory to fetch.
func group(dir string, changes ...mtree.Change) Group {
	return Group{Target: target(dir), Changes: changes, Completes: true}
}

// fetch fetches files of a directory. No descriptor stays open.
func (b *bench) fetch(dir string, changes ...mtree.Change) *Result {
	return &b.fetchAll(group(dir, changes...))[0]
}

func (b *bench) fetchAll(groups ...Group) []Result {
	open := len(b.Open)
	results := b.env.Fetch(b.t.Context(), groups)
	require.Len(b.t, b.Open, open)
	return results
}

// failed returns the one error of a result that brought nothing.
func (b *bench) failed(h *Result) error {
	b.t.Helper()
	require.Len(b.t, h.Failed, 1)
	require.Empty(b.t, h.Names)
	return h.Failed[0].Err
}

// counted counts what is read.
type counted struct {
	io.Reader
	bytes int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bytes += n
	return n, err
}

// said returns what a result says, in words.
func said(h *Result) string {
	var words []string
	for _, n := range []struct {
		word  string
		count int64
	}{
		{"bytes", h.Bytes}, {"copied", h.Copied}, {"made", h.Made}, {"denied", h.Denied}, {"gone", h.Gone}, {"refused", h.Refused}, {"older", h.Older},
		{"moved", h.Moved}, {"unsettled", h.Unsettled}, {"deletions", int64(len(h.Deletions))}, {"failed", int64(len(h.Failed))}, {"changed", int64(len(h.changed))},
	} {
		if n.count != 0 {
			words = append(words, fmt.Sprint(n.word, " ", n.count))
		}
	}
	for word, names := range map[string][]string{"came": h.Names, "over": h.Updated, "unread": h.Unread} {
		for _, name := range names {
			words = append(words, word+" "+name)
		}
	}
	for _, e := range h.Verified {
		words = append(words, "verified "+e.Name)
	}
	if h.Replaced {
		words = append(words, "replaced")
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}
