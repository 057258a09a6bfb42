package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// readCounts sums what proof.Count has written. A part that counts nothing has no file.
func readCounts(name string) (map[string]int, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	sums := map[string]int{}
	for line := range strings.Lines(string(text)) {
		number, what, ok := strings.Cut(strings.TrimSpace(line), "\t")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			return nil, fmt.Errorf("%s: %q is not a count", name, line)
		}
		sums[what] += n
	}
	return sums, nil
}

// report prints the table. It is an error if a part failed.
func report(w io.Writer, results []result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\npart\ttime\tresult\ttried")
	var failed []string
	for _, r := range results {
		outcome := "ok"
		if r.err != nil {
			outcome = "FAILED, see " + r.log
			failed = append(failed, r.part.name)
		}
		tried := "-"
		for i, what := range slices.Sorted(maps.Keys(r.counts)) {
			text := fmt.Sprintf("%d %s", r.counts[what], what)
			if i == 0 {
				tried = text
			} else {
				tried += ", " + text
			}
		}
		fmt.Fprintf(table, "%s\t%v\t%s\t%s\n", r.part.name, r.took.Round(time.Second), outcome, tried)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}
