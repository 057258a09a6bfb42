package fetch

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/mirror/internal/backup"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// The mode of a file is the one that is listed, else that of the copy's file, else what a new file has.
func TestModeOfAFile(t *testing.T) {
	b := newBench(t)
	b.env.Copy.Replica.Umask = 0o027
	listed, not := &mtree.Entry{Mode: 0o4751, Has: mtree.HasMode}, &mtree.Entry{Mode: 0o751}
	had, link := &mtree.Entry{Kind: mtree.File, Mode: 0o2604}, &mtree.Entry{Kind: mtree.Symlink, Mode: 0o777}
	for _, test := range []struct {
		change mtree.Change
		mode   uint32
	}{
		{mtree.Change{Want: listed}, 0o751},
		{mtree.Change{Want: listed, Have: had}, 0o751},
		{mtree.Change{Want: not, Have: had}, 0o604},
		{mtree.Change{Want: not, Have: link}, 0o640},
		{mtree.Change{Want: not}, 0o640},
	} {
		require.Equal(t, test.mode, b.env.Copy.FileMode(test.change))
	}
}

// owned returns the user and group of a path of the copy.
func (b *bench) owned(path string) [2]uint32 {
	stx, err := b.Shell.Statx(unix.AT_FDCWD, "/copy/"+path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS)
	require.NoError(b.t, err)
	return [2]uint32{stx.Uid, stx.Gid}
}

// A file gets what is asked for, by calls that are needed: its owner, the bits that the umask took, a flush.
func TestAttributesOfAFile(t *testing.T) {
	owned := func(e *mtree.Entry, _ *source.File) { e.UID, e.GID, e.Has = 7, 8, e.Has|mtree.HasOwner }
	for name, test := range map[string]struct {
		edits        []edit
		change       func(w *Writer)
		owner        [2]uint32
		chmod, fsync int
	}{
		"none":              {},
		"an owner":          {edits: []edit{owned}, change: func(w *Writer) { w.Owner = true }, owner: [2]uint32{7, 8}},
		"none is listed":    {edits: []edit{func(e *mtree.Entry, _ *source.File) { e.UID = 7 }}, change: func(w *Writer) { w.Owner = true }},
		"none is asked for": {edits: []edit{owned}},
		"flushed":           {change: func(w *Writer) { w.SyncEach = true }, fsync: 1},
		"the umask":         {change: func(w *Writer) { w.Replica.Umask = 0o044 }, chmod: 1},
		"another umask":     {change: func(w *Writer) { w.Replica.Umask = 0o033 }},
	} {
		b := newBench(t, "d/")
		b.env.Copy.Replica.Umask = 0
		if test.change != nil {
			test.change(&b.env.Copy)
		}
		c := b.gives("d/f", "12345", test.edits...)
		calls := map[string]int{}
		b.Fail = func(call string) error {
			what, _, _ := strings.Cut(call, " ")
			calls[what]++
			return nil
		}
		require.Empty(t, b.fetch("d", c).Failed, name)
		require.Equal(t, test.owner, b.owned("d/f"), name)
		require.EqualValues(t, 0o644, b.has("d/f").Mode, name)
		require.Equal(t, test.chmod, calls["chmod"], name)
		require.Equal(t, test.fsync, calls["fsync"], name)
	}
}

// kept gives the copy a backup directory.
func (b *bench) kept() {
	r := b.env.Copy.Replica
	to, err := backup.Open(&backup.Options{
		Dir: backup.Inside, Dest: "/copy", Root: r.Root, Staging: r.Staging, Log: slog.New(slog.DiscardHandler), Now: machine.Now, Kept: new(atomic.Int64),
	})
	require.NoError(b.t, err)
	r.Backup = to
	require.NoError(b.t, to.Begin(machine.Now()))
}

// inBackup returns how many files the backup has.
func (b *bench) inBackup() (n int) {
	for _, pass := range b.Shell.Names("/copy/" + backup.Inside) {
		for _, dir := range b.Shell.Names("/copy/" + backup.Inside + "/" + pass) {
			n += len(b.Shell.Names("/copy/" + backup.Inside + "/" + pass + "/" + dir))
		}
	}
	return n
}

// A copy of a file has its bytes and what is listed, or it gets no name.
func TestPlaceCopy(t *testing.T) {
	errFinish := errors.New("not finished")
	for name, test := range map[string]struct {
		over   bool
		what   mtree.Differs
		body   io.Reader
		finish error
		call   string // fails
		err    error
		backup int
	}{
		"new":                {what: mtree.Absent},
		"over a file":        {over: true, what: mtree.Content, backup: 1},
		"over another kind":  {over: true, what: mtree.Type, backup: 1},
		"with another mode":  {over: true, what: mtree.Mode},
		"short":              {what: mtree.Absent, body: strings.NewReader("1234"), err: source.ErrMoved},
		"long":               {what: mtree.Absent, body: strings.NewReader("123456"), err: source.ErrMoved},
		"broke off":          {what: mtree.Absent, body: io.MultiReader(strings.NewReader("1"), iotest.ErrReader(errAway)), err: errAway},
		"not finished":       {over: true, what: mtree.Content, finish: errFinish, err: errFinish},
		"it has no time":     {what: mtree.Absent, call: "utimes d", err: unix.EIO},
		"it gets no name":    {what: mtree.Absent, call: "link f", err: unix.EIO},
		"it replaces none":   {over: true, what: mtree.Mode, call: "rename f", err: unix.EIO},
		"nothing is kept":    {over: true, what: mtree.Content, call: "link f", err: unix.EIO},
		"it cannot be begun": {what: mtree.Absent, call: "open d", err: unix.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "d/")
			if test.over {
				b.Make(t, "/copy/d/f")
			}
			b.kept()
			was, c := b.text("d/f"), b.gives("d/f", "12345")
			c.What = test.what
			body := test.body
			if body == nil {
				body = strings.NewReader("12345")
			}
			dir, err := b.env.Copy.Replica.Dir("d")
			require.NoError(t, err)
			defer dir.Close()
			b.Refuse(test.call, unix.EIO, 1)
			finished := false
			err = b.env.Copy.PlaceCopy(dir, "d/f", c, body, func(temp *disk.TempFile) error {
				require.Equal(t, !test.over, temp.IsForFreeName())
				finished = true
				return test.finish
			})
			require.ErrorIs(t, err, test.err)
			require.Empty(t, b.staging())
			require.Equal(t, test.backup, b.inBackup())
			if test.err != nil {
				require.Equal(t, was, b.text("d/f"))
				return
			}
			require.True(t, finished)
			require.Equal(t, "12345", b.text("d/f"))
			require.Equal(t, longAgo, b.has("d/f").MTime)
		})
	}
}

// Without --sparse zeros are written. With it, a body that breaks off is that error, also if its zeros
// cannot be written.
func TestZerosOfABody(t *testing.T) {
	for _, sparse := range []bool{false, true} {
		b := newBench(t)
		b.env.Copy.Sparse = sparse
		temp, err := b.env.Copy.Replica.Staging.Create(b.env.Copy.Replica.Root, "f", true, 0o644)
		require.NoError(t, err)
		defer temp.Discard()
		b.Made("")
		size, err := b.env.Copy.copyBody(temp, strings.NewReader(strings.Repeat("\x00", leastHole)))
		require.NoError(t, err)
		require.EqualValues(t, leastHole, size)
		require.Equal(t, map[bool]int{true: 1}[sparse], b.Made("truncate"))
	}
	b := newBench(t)
	b.env.Copy.Sparse = true
	temp, err := b.env.Copy.Replica.Staging.Create(b.env.Copy.Replica.Root, "f", true, 0o644)
	require.NoError(t, err)
	defer temp.Discard()
	b.Refuse("truncate copy", unix.EFBIG, 1)
	_, err = b.env.Copy.copyBody(temp, io.MultiReader(strings.NewReader(strings.Repeat("\x00", leastHole)), iotest.ErrReader(errAway)))
	require.ErrorIs(t, err, errAway)
}
