package yard

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/bench/report"
)

// at is a measurement whose medians are these.
func at(name string, processor, files, others float64) report.Yard {
	return report.Yard{At: name, Processor: []float64{processor * 3, processor, processor}, Files: []float64{files, files / 9, files}, Others: others}
}

func TestAQuietMachineIsGood(t *testing.T) {
	require.Empty(t, Judge([]report.Yard{at("before", 100, 50, 0.02), at("listing", 109.9, 54.9, 0.10), at("after", 100, 50, 0)}))
}

func TestANoisyMachineIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		yards []report.Yard
		want  []string
	}{
		"slower between": {
			[]report.Yard{at("before", 100, 50, 0), at("listing", 111, 50, 0), at("after", 100, 50, 0)},
			[]string{"the processor loop took 100 ms (before) to 111 ms (listing): 11 % apart, 10 are allowed"},
		},
		"faster afterwards": {
			[]report.Yard{at("before", 100, 60, 0), at("after", 100, 50, 0)},
			[]string{"the small-file loop took 50.0 ms (after) to 60.0 ms (before): 20 % apart, 10 are allowed"},
		},
		"busy all the time": {
			[]report.Yard{at("before", 200, 80, 0.5), at("after", 200, 80, 0.101)},
			[]string{"other programs took 50 % of the processors (before), 10 are allowed", "other programs took 10 % of the processors (after), 10 are allowed"},
		},
	} {
		require.Equal(t, c.want, Judge(c.yards), name)
	}
}

func TestWithoutAYardstickNothingIsGood(t *testing.T) {
	require.NotEmpty(t, Judge(nil))
	require.NotEmpty(t, Judge([]report.Yard{at("before", 100, 50, 0)}))
	require.Len(t, Judge([]report.Yard{{At: "before"}, {At: "after"}}), 2, "no samples")
}

func TestBusyProcessors(t *testing.T) {
	busy, err := parseBusy("cpu  10 20 30 4000 500 6 7 8 9 9\ncpu0 1 2 3\n")
	require.NoError(t, err)
	require.Equal(t, 810*time.Millisecond, busy, "user, nice, system, irq, softirq and steal")
	for _, bad := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8", "cpu 1 2 3 x 5 6 7 8"} {
		_, err := parseBusy(bad)
		require.Error(t, err, bad)
	}
	require.Equal(t, 0.25, share(3*time.Second, 2*time.Second, 2*time.Second, 2))
	require.Zero(t, share(time.Second, 2*time.Second, time.Second, 2), "they count in steps of 10 ms")
}

func TestMeasureLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	y, err := Stick{Dir: dir, Samples: 3, Length: 50}.Measure("here")
	require.NoError(t, err)
	require.Equal(t, "here", y.At)
	require.Len(t, y.Processor, 3)
	require.Len(t, y.Files, 3)
	require.Positive(t, report.Median(y.Files))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)

	_, err = Stick{Dir: dir + "/none", Samples: 1, Length: 5}.Measure("nowhere")
	require.ErrorIs(t, err, os.ErrNotExist)
}
