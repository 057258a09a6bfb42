package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/wire"
)

// Until the pass after it had ended, the status of a mirror that was stopped in a pass said that the
// source could not be read: in a first copy that may be hours.
func TestAStopIsNoTrouble(t *testing.T) {
	require.Empty(t, causeOf(fmt.Errorf("d/f: %w", context.Canceled)))
	require.Equal(t, "the source cannot be read", causeOf(errors.New("d/f: connection refused")))
	full := exit.With(exit.Local, syscall.ENOSPC, "")
	require.Equal(t, "the copy's disk: no space left on device", causeOf(errors.Join(full, context.Canceled)))
}

// What a monitor is told is one line, and everything that is wrong is in it.
func TestWhatIsWrongWithACopy(t *testing.T) {
	at, lag := time.Unix(1_000_000_000, 0).UTC(), 90.0
	late := copyReport{Confirmed: &at, Lag: &lag}
	away := late
	away.Away, away.Error = &at, "the source cannot be read"
	tomorrow := -36_000.0
	ahead := copyReport{Confirmed: &at, Lag: &tomorrow}
	full := late // each pass failed, for the backup directory was a file, and the copy was well until it was late
	full.Error = causeOf(exit.With(exit.Local, syscall.ENOTDIR, ""))
	unflushed := late
	unflushed.Error = causeOf(pass.ErrFlush)
	failed := late
	failed.Failed, failed.Held, failed.HeldDeletions = 2, 3, []heldDeletion{{Why: "--max-delete is 1"}, {Why: "another"}}
	for _, c := range []struct {
		of   copyReport
		age  time.Duration
		want []string
	}{
		{copyReport{}, time.Hour, []string{"never confirmed"}},
		{copyReport{Error: "the source gives no listing"}, time.Hour, []string{`never confirmed, "the source gives no listing"`}},
		{copyReport{State: wire.Filling, Confirmed: &at, Lag: &lag}, time.Hour, []string{"the first copy is not complete yet"}},
		{late, 90 * time.Second, nil},
		{late, 89 * time.Second, []string{"confirmed 1m30s ago, more than 1m29s"}},
		{away, time.Hour, nil}, // it was confirmed within that time
		{away, time.Minute, []string{`confirmed 1m30s ago, more than 1m0s, source unreachable since 2001-09-09T01:46:40Z, "the source cannot be read"`}},
		{full, time.Hour, []string{`the last pass failed: "the copy's disk: not a directory"`}},
		{full, time.Minute, []string{`confirmed 1m30s ago, more than 1m0s, "the copy's disk: not a directory"`}},
		{unflushed, time.Hour, []string{"the last pass failed: " + strconv.Quote(pass.ErrFlush.Error())}},
		{ahead, time.Hour, []string{"confirmed 10h0m0s ahead of this machine's clock"}}, // it was set back: this mirror may be dead since
		{failed, time.Hour, []string{"2 paths failed in the last pass", "deletions of 3 entries are held: --max-delete is 1"}},
		{copyReport{Confirmed: &at, Lag: &lag, Held: 1}, time.Hour, []string{"deletions of 1 entries are held"}},
	} {
		require.Equal(t, c.want, c.of.wrong(c.age))
	}
}

func TestCheck(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "a/g = x", "h = x")
	check := func(age time.Duration) (string, error) {
		var out bytes.Buffer
		err := Check(&out, b.config.Dest, "", age)
		return out.String(), err
	}
	_, err := check(time.Hour)
	require.Equal(t, exit.Local, exit.Of(err), "there is no DEST yet")
	b.config.MaxDelete = "1"
	b.equal(s)
	line, err := check(time.Hour)
	require.NoError(t, err)
	require.Regexp(t, `^ok: confirmed .* ago, 4 entries\n$`, line)
	line, err = check(time.Nanosecond)
	require.Equal(t, exit.Failed, exit.Of(err))
	require.ErrorIs(t, err, exit.ErrTold)
	require.Regexp(t, `^confirmed .* ago, more than 1ns\n$`, line)
	s.remove("a")
	b.requireHeld(3, "--max-delete is 1")
	line, err = check(time.Hour)
	require.Equal(t, exit.Failed, exit.Of(err))
	require.Contains(t, line, "deletions of 3 entries are held: ")
	require.NoError(t, os.RemoveAll(b.config.Dest))
	testtree.Make(t, b.config.Dest, "f = mine")
	_, err = check(time.Hour)
	require.Equal(t, exit.Refused, exit.Of(err), "this is no copy")
}

// Programs read what people read.
func TestStatusAsJSON(t *testing.T) {
	s, b := overHTTP(t, "a%/f = x", "h = x")
	b.config.MaxDelete = "1"
	b.equal(s)
	s.remove("a%")
	b.requireHeld(2, "--max-delete is 1")
	var out bytes.Buffer
	require.NoError(t, EncodeStatus(&out, b.config.Dest, ""))
	var r copyReport
	decoder := json.NewDecoder(&out)
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&r))
	again, err := lookAtCopy(b.config.Dest, "")
	require.NoError(t, err)
	again.Lag = r.Lag // time passes
	require.Equal(t, *again, r)
	require.Equal(t, int64(2), r.Held)
	require.Equal(t, []heldDeletion{{Why: r.HeldDeletions[0].Why, Kind: "directory", Path: "a%25", Entries: 2}}, r.HeldDeletions)
	require.Contains(t, b.printStatus(), `  directory "a%", 2 entries`, "for people it is not escaped")
	require.ErrorContains(t, EncodeStatus(&out, t.TempDir(), ""), "is no copy")
}
