package pass

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/work"
)

// Which result is an error though nothing failed: what is held comes before what waits, and
// paths that failed have errors of their own.
func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		r          Result
		code       exit.Code
		verdict    string
		unfinished bool
	}{
		"complete":         {r: Result{Complete: true}},
		"held":             {r: Result{Held: 2, HeldWhy: "a reason", Failed: 1, Moved: 1, Past: work.ErrPast}, code: exit.Held, verdict: "2 deletions held: a reason"},
		"waiting":          {r: Result{Moved: 1, Past: work.ErrPast}, code: exit.Failed, verdict: "its clock was set back"},
		"waiting, failed":  {r: Result{Failed: 1, Past: work.ErrPast}},
		"moved":            {r: Result{Moved: 3}, code: exit.Failed, verdict: "3 entries changed or vanished"},
		"moved, failed":    {r: Result{Moved: 3, Failed: 1}},
		"incomplete":       {r: Result{}, unfinished: true},
		"kept as read":     {r: Result{Unsettled: 1}},
		"complete, though": {r: Result{Complete: true, Held: 1}, code: exit.Held, verdict: "1 deletions held: "},
	} {
		err := c.r.Verdict()
		require.Equal(t, c.verdict != "", err != nil, name)
		if err != nil {
			require.ErrorContains(t, err, c.verdict, name)
			require.Equal(t, c.code, exit.Of(err), name)
		}
		err = c.r.Unfinished()
		require.Equal(t, c.unfinished, err != nil, name)
		if err != nil {
			require.Equal(t, exit.Failed, exit.Of(err))
		}
	}
}

// Files that did not fit may fit if something was deleted.
func TestMadeRoom(t *testing.T) {
	full := errors.New("full")
	for _, c := range []struct {
		r    Result
		want bool
	}{{Result{}, false}, {Result{Deleted: 1}, false}, {Result{NoRoom: full}, false}, {Result{NoRoom: full, Deleted: 1}, true}} {
		require.Equal(t, c.want, c.r.MadeRoom())
	}
}

// Of several passes, what they did is added up; what describes a state is that of the last.
func TestPassesAreAddedUp(t *testing.T) {
	r := Result{Took: time.Second, Listed: 1, Fetched: 2, Bytes: 3, Made: 4, Deleted: 5, Held: 6, Skipped: 7, Failed: 8, Incomplete: 9, Complete: false, Root: mtree.Unix(1, 0)}
	r.Add(&Result{Took: time.Minute, Listed: 10, Fetched: 20, Bytes: 30, Made: 40, Deleted: 50, Held: 60, Skipped: 70, Failed: 80, Incomplete: 90, Complete: true, Root: mtree.Unix(2, 0)})
	require.Equal(t, Result{
		Took: time.Minute + time.Second, Listed: 11, Fetched: 22, Bytes: 33, Made: 40, Deleted: 55, Held: 60, Skipped: 77, Failed: 80, Incomplete: 90,
		Complete: true, Root: mtree.Unix(2, 0),
	}, r)
	require.Equal(t, "listed 11 directories, fetched 22 files (33 bytes), deleted 55, held 60, skipped 77, failed 80, in 1m1s; root "+mtree.Unix(2, 0).String()+"\n", r.Line())
}
