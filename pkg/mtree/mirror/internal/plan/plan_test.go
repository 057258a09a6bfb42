package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// Bytes that were changed up to ten seconds before the directory was completed may
// have been written after they were read: their times are set at the start.
func TestSuspicion(t *testing.T) {
	decided := mtree.Unix(1_000_000_000, 0)
	for age, want := range map[time.Duration]bool{-time.Second: true, time.Second: true, 9 * time.Second: true, 11 * time.Second: false} {
		p := planner{Options: &Options{ByCTime: true, Listed: decided, Slack: CTimeSlack, Verified: func(string, *mtree.Entry) bool { return false }}}
		e := &mtree.Entry{Name: "f", CTime: decided.Add(-age), Has: mtree.HasCTime}
		require.Equal(t, want, p.isSuspicious(e), "%s", age)
		p.Slack, p.Verified = LossSlack, nil
		require.True(t, p.isSuspicious(e), "%s: the source may have lost the bytes since", age)
		p.ByCTime = false
		require.False(t, p.isSuspicious(e), "without a time ctime decides nothing")
		p.CheckAll = true
		require.True(t, p.isSuspicious(e))
	}
}
