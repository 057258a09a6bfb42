package source

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// opening opens files that fail as a test wants, and counts what is open.
type opening struct {
	demands []Demand
	open    int
	fails   func(try int) (opening, reading error)
}

// body fails with err instead of io.EOF, if there is one.
type body struct {
	io.Reader
	err, failed error
}

func (b *body) Read(buf []byte) (int, error) {
	n, err := b.Reader.Read(buf)
	if err == io.EOF && b.err != nil {
		err, b.failed = b.err, b.err
	}
	return n, err
}

func (o *opening) file(_ context.Context, w *Wanted, d Demand) (Opened, error) {
	o.demands = append(o.demands, d)
	opening, reading := o.fails(len(o.demands))
	if opening != nil {
		return Opened{}, opening
	}
	o.open++
	b := &body{Reader: strings.NewReader(w.Name), err: reading}
	return Opened{File: File{Got: *w.Entry, Body: b}, Failed: &b.failed, Close: func() { o.open-- }}, nil
}

// fetch reads what it is given, and returns the last error of each file, as callers of
// Fetch do, and how often each was yielded.
func fetch(ctx context.Context, o *opening, want []Wanted, done []bool) (errs []error, yields []int, hot bool) {
	errs, yields = make([]error, len(want)), make([]int, len(want))
	EachFile(ctx, want, done, o.file, func(i int, f File) bool {
		yields[i]++
		if errs[i] = f.Err; f.Err == nil {
			_, errs[i] = io.Copy(io.Discard, f.Body)
		}
		hot = hot || f.Got.Hot
		return true
	})
	return errs, yields, hot
}

func wanted(names ...string) (w []Wanted) {
	for _, name := range names {
		w = append(w, Wanted{Entry: &mtree.Entry{Name: name}, Path: name})
	}
	return w
}

// The last time that a file is yielded counts: what failed is tried again in another
// version, until it is taken as it is.
func TestEachFileTriesAgain(t *testing.T) {
	broken := errors.New("broken")
	changing := errors.Join(ErrMoved, ErrChanging)
	for name, tc := range map[string]struct {
		fails   func(try int) (opening, reading error)
		err     error
		yields  int
		demands []Demand
		hot     bool
	}{
		"at once":  {func(int) (error, error) { return nil, nil }, nil, 1, []Demand{AsListed}, false},
		"another":  {func(try int) (error, error) { return map[int]error{1: ErrMoved}[try], nil }, nil, 1, []Demand{AsListed, AsFound}, false},
		"changes":  {func(try int) (error, error) { return nil, map[int]error{1: ErrMoved, 2: ErrMoved}[try] }, nil, 3, []Demand{AsListed, AsFound, AsIs}, true},
		"breaks":   {func(int) (error, error) { return nil, ErrMoved }, ErrMoved, 3, []Demand{AsListed, AsFound, AsIs}, true},
		"moves on": {func(int) (error, error) { return ErrMoved, nil }, ErrMoved, 1, []Demand{AsListed, AsFound, AsIs}, false},
		"is gone":  {func(int) (error, error) { return ErrGone, nil }, ErrGone, 1, []Demand{AsListed}, false},
		"fails":    {func(int) (error, error) { return nil, broken }, broken, 1, []Demand{AsListed}, false},
		"shrinks": {func(int) (error, error) { return nil, changing }, ErrChanging, changingTries,
			[]Demand{AsListed, AsFound, AsIs, AsIs, AsIs, AsIs, AsIs, AsIs, AsIs, AsIs, AsIs, AsIs}, true},
	} {
		o := &opening{fails: tc.fails}
		errs, yields, hot := fetch(t.Context(), o, wanted("f"), nil)
		require.ErrorIs(t, errs[0], tc.err, name)
		require.Equal(t, tc.yields, yields[0], name)
		require.Equal(t, tc.demands, o.demands, name)
		require.Equal(t, tc.hot, hot, name)
		require.Zero(t, o.open, name)
	}
}

// A caller that does not read a file to its end, for its own disk is full, is not asked
// to do it again; one that stops gets no further file; and what is open is closed.
func TestEachFileLeavesNothingOpen(t *testing.T) {
	o := &opening{fails: func(int) (error, error) { return nil, ErrMoved }}
	var got []int
	EachFile(t.Context(), wanted("a", "b", "c", "d"), []bool{false, true, false, false}, o.file, func(i int, f File) bool {
		require.NoError(t, f.Err)
		require.Equal(t, 1, o.open)
		got = append(got, i)
		return i != 2
	})
	require.Equal(t, []int{0, 2}, got)
	require.Zero(t, o.open)
	require.Panics(t, func() {
		EachFile(t.Context(), wanted("a"), nil, o.file, func(int, File) bool { panic("of the caller") })
	})
	require.Zero(t, o.open)
}

// Once the context ends nothing is opened, and each file that is left says so.
func TestEachFileEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := &opening{fails: func(int) (error, error) { cancel(); return nil, nil }}
	errs, yields, _ := fetch(ctx, o, wanted("a", "b", "c"), nil)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], context.Canceled)
	require.ErrorIs(t, errs[2], context.Canceled)
	require.Equal(t, []int{1, 1, 1}, yields)
	require.Len(t, o.demands, 1)
}

// A connection that breaks again and again is no file that changes, as long as more of
// the file arrives each time.
func TestEachFileGoesOnWhileMoreArrives(t *testing.T) {
	kept := int64(0)
	w := wanted("f")
	w[0].Kept = func() int64 { return kept }
	o := &opening{fails: func(try int) (error, error) {
		if try < 10 {
			kept += leastProgress
			return nil, ErrMoved
		}
		return nil, nil
	}}
	errs, yields, hot := fetch(t.Context(), o, w, nil)
	require.NoError(t, errs[0])
	require.Equal(t, 10, yields[0])
	require.False(t, hot)
	require.NotContains(t, o.demands, AsFound)
}

// A proxy cut each answer after its first byte. Each byte counted as progress, so a file of
// 9 MiB was asked for without an end.
func TestAByteIsNoProgress(t *testing.T) {
	kept, opened := int64(0), 0
	w := []Wanted{{Entry: &mtree.Entry{Name: "f", Kind: mtree.File, Size: 9 << 20}, Path: "f", Kept: func() int64 { return kept }}}
	open := func(context.Context, *Wanted, Demand) (Opened, error) {
		opened++
		kept++
		failed := ErrMoved
		return Opened{Failed: &failed, Close: func() {}}, nil
	}
	EachFile(t.Context(), w, nil, open, func(int, File) bool { return opened < 1000 })
	require.Less(t, opened, 20)
}
