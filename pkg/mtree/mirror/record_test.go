package mirror

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/filetime"
	"tidemark/pkg/mtree/internal/records"
)

// Complete is a directory whose record has exactly the stamp, be it later or
// earlier, and whose time is that one as far as it can be stored.
func TestComplete(t *testing.T) {
	d := &dest{times: filetime.Range{Min: mtree.MinStamp, Max: mtree.MaxStamp, Granule: time.Second}}
	stamp := mtree.Unix(1_000_000_000, 500)
	info := disk.Info{MTime: mtree.Unix(1_000_000_000, 0)}
	require.True(t, d.complete(records.Record{Stamp: stamp}, info, stamp))
	require.False(t, d.complete(records.Record{Stamp: stamp.Add(1)}, info, stamp), "another one within the second")
	require.False(t, d.complete(records.Record{Stamp: stamp.Add(-1)}, info, stamp))
	require.False(t, d.complete(records.Record{Stamp: stamp}, disk.Info{MTime: info.MTime.Add(time.Second)}, stamp), "touched")
}

// A directory below which nothing is trusted stays so, whatever else is begun in
// it: a release, a repair, a visit that does not know.
func TestBeginKeepsDistrust(t *testing.T) {
	s, b := overHTTP(t, "a/f = x")
	b.equal(s)
	d, err := openDest(&b.config)
	require.NoError(t, err)
	defer d.close()
	for _, step := range []struct {
		doubts doubts
		want   mtree.Stamp
	}{{0, unfinished}, {doubtBelow, distrusted}, {0, distrusted}, {doubtBytes, (doubtBelow | doubtBytes).stamp()}, {doubtBelow, (doubtBelow | doubtBytes).stamp()}} {
		require.NoError(t, d.begin(d.root, "", records.Record{}, step.doubts))
		record, ok := d.record(d.root, "")
		require.True(t, ok)
		require.Equal(t, step.want, record.Stamp)
		require.NotEmpty(t, record.ID)
	}
}

// liar is a source that gives fewer or more bytes than it says.
type liar struct {
	source
	body string
}

func (l *liar) fetch(_ context.Context, want []wanted, put putFunc) []error {
	errs := make([]error, len(want))
	for i := range want {
		errs[i] = put(i, opened{got: *want[i].Entry, body: strings.NewReader(l.body)})
	}
	return errs
}

// Whatever a source hands over, a file of another length does not get its name.
func TestTheLengthIsAlwaysChecked(t *testing.T) {
	for _, body := range []string{"", "ab", "abcd"} {
		s := watched(t, "f = abc")
		b := newBench(t, s.root)
		m, err := open(b.config)
		require.NoError(t, err)
		defer m.close()
		m.source = &liar{m.source, body}
		p, err := m.once(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, p.failed)
		require.NoFileExists(t, b.path("f"))
	}
}
