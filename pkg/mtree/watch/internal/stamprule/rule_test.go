package stamprule_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/watch/internal/stamprule"
)

func at(sec int64) mtree.Stamp { return mtree.Unix(sec, 0) }

func TestValue(t *testing.T) {
	r := stamprule.Rule{Floor: at(100), Granule: 1}
	least := mtree.Unix(100, 1)
	for _, c := range []struct {
		name         string
		mtime, ctime mtree.Stamp
		want         mtree.Stamp
	}{
		{"an ordinary write", at(110), at(110), at(110)},
		{"its mtime counts before its ctime", at(105), at(110), at(105)},
		{"dated back", at(5), at(110), at(110)},
		{"dated ahead", at(5000), at(110), at(110)},
		{"at the floor: two changes in one tick", at(100), at(100), least},
		{"moved in from of old", at(5), at(6), least},
		{"everything in the future", at(5000), at(5000), least},
		{"now itself", at(120), at(120), at(120)},
	} {
		require.Equal(t, c.want, r.Value(c.mtime, c.ctime, at(120)), c.name)
	}
}

func TestStamp(t *testing.T) {
	r := stamprule.Rule{Floor: at(100), Granule: 1}
	for _, c := range []struct {
		name         string
		top          mtree.Stamp
		mtime, ctime mtree.Stamp
		want         mtree.Stamp
	}{
		{"above all it shows", at(110), at(90), at(95), at(110)},
		{"the kernel moved its mtime that far", at(110), at(110), at(110), mtree.Unix(110, 1)},
		{"or further", at(110), at(115), at(115), mtree.Unix(115, 1)},
		{"a ctime counts like an mtime", at(110), at(5), at(115), mtree.Unix(115, 1)},
		{"a future mtime does not", at(110), at(5000), at(105), at(110)},
		{"its mtime counts also beside a future ctime", at(110), at(115), at(5000), mtree.Unix(115, 1)},
		{"a future ctime does not", at(110), at(90), at(5000), at(110)},
		{"the later of the two counts", at(110), at(115), at(112), mtree.Unix(115, 1)},
		{"a time of now counts", at(110), at(120), at(95), mtree.Unix(120, 1)},
	} {
		require.Equal(t, c.want, r.Stamp(c.top, at(120), c.mtime, c.ctime), c.name)
	}
}

func TestCoarseStamp(t *testing.T) {
	r := stamprule.Rule{Floor: at(100), Granule: time.Second}
	require.Equal(t, at(101), r.Least())
	require.Equal(t, at(111), r.Stamp(at(110), at(120), at(110), at(110)))
	require.Equal(t, at(110), r.Stamp(mtree.Unix(110, 5), at(120), at(90), at(90)), "what is stored is what was meant")
	require.Equal(t, at(111), r.Stamp(at(110), mtree.Unix(110, 5), at(90), at(90)), "not what a change in this second would show")
}

func TestClockSetBack(t *testing.T) {
	readings := []mtree.Stamp{at(10), at(20), at(15), at(16), at(17)}
	c := stamprule.NewClock(func() mtree.Stamp { r := readings[0]; readings = readings[1:]; return r })
	c.Now()
	require.Equal(t, at(20), c.Now())
	require.False(t, c.SetBack())
	require.Equal(t, at(20), c.Now(), "the highest reading stands")
	require.True(t, c.SetBack())
	require.Equal(t, at(16), c.Restart())
	require.False(t, c.SetBack())
	require.Equal(t, at(17), c.Now())
}

// A time in the future gives way to the other one; a time of now does not.
func TestPast(t *testing.T) {
	require.Equal(t, at(120), stamprule.Past(at(120), at(7), at(120)))
	require.Equal(t, at(7), stamprule.Past(at(121), at(7), at(120)))
}
