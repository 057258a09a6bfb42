package mirror

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// numbers returns what the metrics of b say, by name, and the state.
func (b *bench) numbers() (by map[string]int64, state string) {
	by = map[string]int64{}
	b.config.Stats.Each(func(name, help string, value int64) {
		require.NotEmpty(b.t, help)
		by[name] = value
	})
	b.config.Stats.States(func(_, _, now string, all []string) {
		require.Contains(b.t, all, now)
		state = now
	})
	return by, state
}

// A mirror that is started while its source is away said that the copy was never complete, and nothing
// about its age: an alert on either was wrong, or never came.
func TestWhatMetricsSayAfterARestart(t *testing.T) {
	s, b := overHTTP(t, "a/f = 1", "a/g = 2", "b = 3")
	by, state := b.numbers()
	require.Equal(t, "filling", state)
	require.NotContains(t, by, "lag_seconds", "nothing is known")
	b.equal(s)
	before, _ := b.numbers()
	b.config.MaxDelete = "0"
	s.remove("b")
	require.Error(t, b.once())

	b.config.Stats = &Stats{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, Run(ctx, b.config))
	after, state := b.numbers()
	require.Equal(t, "mirrored", state)
	require.EqualValues(t, 1, after["held"])
	require.EqualValues(t, 0, after["source_up"])
	require.Contains(t, after, "lag_seconds")
	require.GreaterOrEqual(t, after["last_success_timestamp_seconds"], before["last_success_timestamp_seconds"])
	require.Positive(t, after["root_stamp_seconds"])
}

// Before the first pass of a run the metrics said that the last one had ended in 1970, and so the root's stamp of a
// copy that was never complete.
func TestNoMomentIsTheYear1970(t *testing.T) {
	s, b := overHTTP(t, "a = 1")
	by, _ := b.numbers()
	for name, value := range by {
		if strings.HasSuffix(name, "_seconds") {
			require.NotZero(t, value, name)
		}
	}
	b.equal(s)
	by, _ = b.numbers()
	require.Positive(t, by["last_pass_seconds"])
	require.Positive(t, by["root_stamp_seconds"])
}

// What failed in the last pass is a number of its own: failed_total grows in healthy mirrors, too.
func TestFailingGoes(t *testing.T) {
	s, b := overHTTP(t, "a/f = 1")
	b.equal(s)
	var broken atomic.Bool
	broken.Store(true)
	b.server.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/g" || !broken.Load() {
			return false
		}
		http.Error(w, "broken", http.StatusInternalServerError)
		return true
	})
	s.change("a/g = 2")
	require.Error(t, b.once())
	by, _ := b.numbers()
	require.EqualValues(t, 1, by["failing"])
	broken.Store(false)
	b.equal(s)
	by, _ = b.numbers()
	require.Zero(t, by["failing"])
	require.EqualValues(t, 1, by["failed_total"])
}
