package report

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMedianAndQuantile(t *testing.T) {
	values := []float64{9, 1, 5}
	require.Equal(t, 5.0, Median(values))
	require.Equal(t, []float64{9, 1, 5}, values, "their order is that of time")
	require.Equal(t, 3.0, Median([]float64{4, 1, 2, 100}))
	require.Equal(t, 7.0, Median([]float64{7}))
	require.Zero(t, Median(nil))

	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	require.Equal(t, 100.0, Quantile(hundred, 0.99))
	require.Equal(t, 51.0, Quantile(hundred, 0.5))
	require.Equal(t, 1.0, Quantile(hundred, 0))
	require.Equal(t, 100.0, Quantile(hundred, 1))
	require.Zero(t, Quantile(nil, 0.5))
}

func TestRatios(t *testing.T) {
	c := Case{Rows: []Row{
		{Tool: "rsync", Samples: []float64{8, 2, 4}},
		{Tool: Own, Samples: []float64{1, 3}},
		{Tool: "gone", Failed: "no gone here"},
	}}
	c.Summarize()
	require.Equal(t, Row{Tool: "rsync", Samples: []float64{8, 2, 4}, Median: 4, P99: 8, Least: 2, Most: 8, Ratio: 0.5}, c.Rows[0])
	require.Equal(t, 2.0, c.Rows[1].Median)
	require.Zero(t, c.Rows[1].Ratio, "not compared with itself")
	require.Equal(t, Row{Tool: "gone", Failed: "no gone here"}, c.Rows[2])

	without := Case{Rows: []Row{{Tool: "rsync", Samples: []float64{1}}}}
	without.Summarize()
	require.Zero(t, without.Rows[0].Ratio, "there is nothing to compare with")
}

func TestComparedInWords(t *testing.T) {
	for _, one := range []struct {
		q    Question
		want string
	}{
		{Question{Unit: "s"}, "4.00 × as fast"},
		{Question{Unit: "requests/s", More: true}, "0.250 × as fast"},
		{Question{Unit: "MB"}, "0.250 × its bytes"},
	} {
		require.Equal(t, one.want, one.q.Compared(&Row{Ratio: 0.25}), one.q.Unit)
	}
	require.Empty(t, (&Question{Unit: "s"}).Compared(&Row{Tool: Own}))
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.012345: "0.0123", 1.5: "1.50", 12.345: "12.3", 99.96: "100.0", 234.5: "235",
		12345.6: "12,346", 1234567: "1,234,567", 0.00000012: "0.000000"} {
		require.Equal(t, want, Number(v), "%v", v)
	}
	require.Equal(t, "-1,000", Thousands(-1000))
	require.Equal(t, "-100", Thousands(-100))
}

func TestBriefErrors(t *testing.T) {
	require.Equal(t, "first", Brief(errors.New("first\nsecond")))
	long := Brief(errors.New(strings.Repeat("é", 1000)))
	require.Equal(t, strings.Repeat("é", 160)+"…", long)
}

func TestMerge(t *testing.T) {
	q := func(name string) Question { return Question{Name: name, Unit: "s"} }
	c := func(name string) Case {
		return Case{Name: name, Rows: []Row{{Tool: Own, Samples: []float64{1}}, {Tool: "cp", Samples: []float64{2}}}}
	}
	var all, more Results
	all.Add(q("first-copy"), c("small"))
	more.Add(q("listing"), c("100"))
	more.Add(q("first-copy"), c("large"))
	all.Merge(more)
	require.Len(t, all, 2)
	require.Equal(t, "first-copy", all[0].Name)
	require.Equal(t, []string{"small", "large"}, []string{all[0].Cases[0].Name, all[0].Cases[1].Name})
	require.Equal(t, 0.5, all[1].Cases[0].Rows[1].Ratio)
}

// example is a run with all that a run may have.
func example() *Run {
	c := Case{Name: "10,000 files & <more>", Rows: []Row{
		{Tool: "tar | tar", Samples: []float64{0.4, 0.6, 0.5}},
		{Tool: "syncthing", Samples: []float64{60, 61}, Processor: []float64{70, 72}},
		{Tool: Own, Samples: []float64{1.1, 1.2, 1.0}, Processor: []float64{0.3, 0.4, 0.5}, Memory: 2e7},
		{Tool: "unison", Failed: "no unison here (apt-get install unison)"},
	}}
	c.Summarize()
	return &Run{
		Format: 1, Began: time.Date(2026, 12, 1, 4, 5, 0, 0, time.UTC), Ended: time.Date(2026, 12, 1, 4, 35, 0, 0, time.UTC), Size: "full", Good: true,
		Machine:   Machine{Processor: "A processor", Processors: 2, Memory: 24 << 30, Kernel: "6.18.0", System: "Debian", Trees: "tmpfs"},
		Versions:  map[string]string{Own: "1.2.3", "rsync": "rsync version 3.5"},
		Missing:   []string{"no unison here (apt-get install unison)"},
		Yardstick: []Yard{{At: "before", Processor: []float64{100.5}, Files: []float64{50}, Others: 0.01}, {At: "after", Processor: []float64{101}, Files: []float64{51}}},
		Questions: []Question{{Name: "first-copy", Title: "First copy of a tree", Unit: "s", Cases: []Case{c}}},
	}
}

func TestJSONKeepsAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.json")
	require.NoError(t, Write(path, example()))
	got, err := Read[*Run](path)
	require.NoError(t, err)
	require.Equal(t, example(), got)

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, key := range []string{"format", "began", "ended", "size", "good", "machine", "versions", "missing", "yardstick", "questions", "samples",
		"median", "p99", "least", "most", "ratio", "processor_s", "memory_bytes", "failed"} {
		require.Contains(t, string(text), `"`+key+`": `)
	}
	require.NoError(t, os.WriteFile(path, text[:len(text)/2], 0o644))
	_, err = Read[*Run](path)
	require.ErrorContains(t, err, path)
}

func TestTable(t *testing.T) {
	var b strings.Builder
	require.NoError(t, Table(&b, example().Questions))
	var rows []string
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| ---") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	require.Equal(t, []string{
		`| 10,000 files & <more>, s | median | p99 | least to most | samples | processor | tidemark / it | tidemark is |`,
		`| tar \| tar | 0.500 | 0.600 | 0.400 to 0.600 | 3 |  | 2.20 | 0.455 × as fast |`,
		`| tidemark | 1.10 | 1.20 | 1.00 to 1.20 | 3 | 0.400 s |  |  |`,
		`| syncthing | 60.5 | 61.0 | 60.0 to 61.0 | 2 | 71.0 s | 0.0182 | 55.0 × as fast |`,
		`| unison | not measured: no unison here (apt-get install unison) | | | | | | |`,
	}, rows)
}

func TestTheBestComesFirst(t *testing.T) {
	c := Case{Rows: []Row{{Tool: "failed", Failed: "why"}, {Tool: "a", Median: 1}, {Tool: "b", Median: 3}, {Tool: "c", Median: 2}}}
	names := func(more bool) (all []string) {
		for _, r := range c.sorted(more) {
			all = append(all, r.Tool)
		}
		return all
	}
	require.Equal(t, []string{"a", "c", "b", "failed"}, names(false))
	require.Equal(t, []string{"b", "c", "a", "failed"}, names(true))
}

func TestPublish(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	run := example()
	require.NoError(t, Publish(dir, run))
	run.Began = run.Began.Add(time.Hour)
	require.NoError(t, Publish(dir, run))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	require.Equal(t, []string{"2026-12-01-0405-full.json", "2026-12-01-0505-full.json", "README.md", "first-copy.svg"}, names)

	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	require.NoError(t, err)
	for _, want := range []string{"2026-12-01 05:05", "(first-copy.svg)", "(2026-12-01-0505-full.json)", "2 processors (A processor), 24 GiB, Linux 6.18.0",
		"not measured: no unison here", "rsync version 3.5", "55.0 × as fast"} {
		require.Contains(t, string(page), want)
	}
	require.NotContains(t, string(page), "not good")

	run.Good, run.Failed, run.Noise = false, []string{"large: no room"}, []string{"somebody compiled"}
	require.NoError(t, Publish(dir, run))
	page, err = os.ReadFile(filepath.Join(dir, "README.md"))
	require.NoError(t, err)
	require.Contains(t, string(page), "**This run is not good:**\n\n* large: no room\n* somebody compiled\n")
}

func TestScale(t *testing.T) {
	of := func(samples ...float64) scale {
		return scaleOf(Question{Cases: []Case{{Rows: []Row{{Samples: samples}}}}})
	}
	require.Equal(t, scale{-2, 3}, of(0.05, 999))
	require.Equal(t, scale{1, 2}, of(10), "never empty")
	require.Equal(t, scale{0, 1}, of())
	require.Equal(t, scale{0, 1}, of(0), "nothing has no logarithm")

	s := scale{-1, 2}
	require.Equal(t, float64(left), s.at(0.1))
	require.Equal(t, float64(right), s.at(100))
	require.InDelta(t, left+(right-left)/3.0, s.at(1), 1e-9)
	require.Equal(t, float64(left), s.at(0), "below the axis")
	require.Equal(t, float64(right), s.at(math.Inf(1)))
}
