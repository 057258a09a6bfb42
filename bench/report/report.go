// Package report is what a run of the benchmarks found: samples by question and tool, their
// medians and ratios, as JSON, as a Markdown table and as plots. It measures nothing.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Own is the tool that the others are compared with.
const Own = "tidemark"

// Run is one run of all benchmarks, a JSON file.
type Run struct {
	Format    int               `json:"format"` // 1
	Began     time.Time         `json:"began"`
	Ended     time.Time         `json:"ended"`
	Size      string            `json:"size"` // small or full
	Good      bool              `json:"good"` // Noise and Failed are empty
	Noise     []string          `json:"noise,omitempty"`
	Failed    []string          `json:"failed,omitempty"` // steps that were not made, and why
	Machine   Machine           `json:"machine"`
	Versions  map[string]string `json:"versions"`          // by program
	Missing   []string          `json:"missing,omitempty"` // peers that were not measured, and why
	Yardstick []Yard            `json:"yardstick"`
	Questions []Question        `json:"questions"`
}

// Machine is where a run was made.
type Machine struct {
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	Memory     int64  `json:"memory_bytes"`
	Kernel     string `json:"kernel"`
	System     string `json:"system"`
	Trees      string `json:"trees"` // the file systems of trees and copies
}

// Yard is what the yardstick took at one moment of a run. Samples are milliseconds.
type Yard struct {
	At        string    `json:"at"` // before, the name of the step that follows, or after
	Processor []float64 `json:"processor_ms"`
	Files     []float64 `json:"files_ms"`
	Others    float64   `json:"others"` // the share of the processors that others took meanwhile, 0 to 1
}

// Question is one plot: cases that are measured in one unit.
type Question struct {
	Name  string `json:"name"` // of its plot, without .svg
	Title string `json:"title"`
	Unit  string `json:"unit"`           // s, ms, µs, MB, or what is counted, as "requests/s"
	More  bool   `json:"more,omitempty"` // more is better
	Cases []Case `json:"cases"`
}

// Case is a comparison of tools at the same work.
type Case struct {
	Name string `json:"name"`
	Rows []Row  `json:"rows"`
}

// Row is one tool.
type Row struct {
	Tool      string    `json:"tool"`
	Samples   []float64 `json:"samples"` // in the unit of the question, in the order of time
	Processor []float64 `json:"processor_s,omitempty"`
	Memory    float64   `json:"memory_bytes,omitempty"` // the median of the most of each sample
	Failed    string    `json:"failed,omitempty"`       // why it has no samples

	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
	Ratio  float64 `json:"ratio,omitempty"` // median of tidemark / median of this tool; 0: none
}

// Median returns the middle value, or the mean of the two in the middle; 0 of nothing. It
// leaves the order of values as it is.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// Quantile returns the least value that is not below a share q (0 to 1) of all values; 0 of nothing.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// Summarize fills in what follows from the samples.
func (c *Case) Summarize() {
	own := 0.0
	for i := range c.Rows {
		r := &c.Rows[i]
		if len(r.Samples) == 0 {
			continue
		}
		r.Median, r.P99 = Median(r.Samples), Quantile(r.Samples, 0.99)
		r.Least, r.Most = slices.Min(r.Samples), slices.Max(r.Samples)
		if r.Tool == Own {
			own = r.Median
		}
	}
	for i := range c.Rows {
		if r := &c.Rows[i]; r.Tool != Own && r.Median > 0 {
			r.Ratio = own / r.Median
		}
	}
}

// Brief is the first line of an error, not too long for a table.
func Brief(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	if letters := []rune(line); len(letters) > 160 {
		line = string(letters[:160]) + "…"
	}
	return line
}

// Results are the questions that one benchmark answered, to be merged with those of others.
type Results []Question

// Add adds a case to its question, which it takes in if it is new.
func (r *Results) Add(q Question, c Case) {
	c.Summarize()
	for i := range *r {
		if (*r)[i].Name == q.Name {
			(*r)[i].Cases = append((*r)[i].Cases, c)
			return
		}
	}
	q.Cases = []Case{c}
	*r = append(*r, q)
}

// Merge adds all cases of others.
func (r *Results) Merge(others Results) {
	for _, q := range others {
		for _, c := range q.Cases {
			r.Add(q, c)
		}
	}
}

// Write writes what is to be read with Read, or by people: one value a line.
func Write(path string, what any) error {
	text, err := json.MarshalIndent(what, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Read reads what Write wrote.
func Read[T any](path string) (what T, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &what)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return what, err
}
