package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"tidemark/bench/rig"
)

// row prints a row of the table. x and y are what the ratio is of; 0: it has none.
func row(what, goal, before, now string, x, y float64) {
	ratio := ""
	if x > 0 && y > 0 {
		ratio = strconv.FormatFloat(y/x, 'g', 2, 64)
	}
	fmt.Printf("| %s | %s | %s | %s | %s |\n", what, goal, before, now, ratio)
}

// medians prints a row with the medians of the two builds, and their ratio.
func medians(what, goal, format string, all [2][]float64) {
	x, y := rig.Quantile(all[0], 0.5), rig.Quantile(all[1], 0.5)
	row(what, goal, fmt.Sprintf(format, x), fmt.Sprintf(format, y), x, y)
}

// latencies prints a row with p50 and p99 of the two builds, and the ratio of p50.
func latencies(what, goal string, all [2][]time.Duration) {
	var text [2]string
	var p50 [2]float64
	for i, took := range all {
		p50[i] = milliseconds(rig.Quantile(took, 0.5))
		text[i] = fmt.Sprintf("%.1f / %.1f ms", p50[i], milliseconds(rig.Quantile(took, 0.99)))
	}
	row(what+", p50 / p99", goal, text[0], text[1], p50[0], p50[1])
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// note tells on stderr how far the run is, since a part takes minutes.
func note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// thousands writes a number with commas.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// slashed joins values with slashes.
func slashed[T any](all [3]T, one func(T) string) string {
	var texts [3]string
	for i := range all {
		texts[i] = one(all[i])
	}
	return strings.Join(texts[:], " / ")
}
