package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Number formats a value with three digits that count, and the thousands apart: 0.0123, 12.3, 12,345.
func Number(v float64) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Sprint(v)
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	if digits > 0 {
		return fmt.Sprintf("%.*f", min(digits, 6), v)
	}
	return Thousands(int(math.Round(v)))
}

// Thousands formats an integer with a comma between each three digits.
func Thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Compared says how tidemark's median compares with that of the row: "12.0 × as fast", or, where bytes are counted,
// "1.90 × its bytes"; nothing for tidemark itself.
func (q *Question) Compared(r *Row) string {
	switch {
	case r.Ratio == 0:
		return ""
	case strings.HasSuffix(q.Unit, "MB"):
		return Number(r.Ratio) + " × its bytes"
	case q.More:
		return Number(r.Ratio) + " × as fast"
	}
	return Number(1/r.Ratio) + " × as fast"
}

// Table writes the Markdown tables of all questions.
func Table(w io.Writer, questions []Question) error {
	var b strings.Builder
	for _, q := range questions {
		fmt.Fprintf(&b, "\n### %s\n\n", q.Title)
		for i, c := range q.Cases {
			if i > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "| %s, %s | median | p99 | least to most | samples | processor | tidemark / it | tidemark is |\n", cell(c.Name), q.Unit)
			b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n")
			for _, r := range c.sorted(q.More) {
				q.write(&b, &r)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (q *Question) write(b *strings.Builder, r *Row) {
	if r.Failed != "" {
		fmt.Fprintf(b, "| %s | not measured: %s | | | | | | |\n", cell(r.Tool), cell(r.Failed))
		return
	}
	processor, ratio := "", ""
	if len(r.Processor) > 0 {
		processor = Number(Median(r.Processor)) + " s"
	}
	if r.Ratio > 0 {
		ratio = Number(r.Ratio)
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s to %s | %d | %s | %s | %s |\n", cell(r.Tool), Number(r.Median), Number(r.P99),
		Number(r.Least), Number(r.Most), len(r.Samples), processor, ratio, q.Compared(r))
}

// cell makes text fit into one cell of a table.
func cell(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "|", `\|`)), " ")
}

// sorted returns the rows, the best first, and behind them those that failed.
func (c *Case) sorted(more bool) []Row {
	rows := slices.Clone(c.Rows)
	slices.SortStableFunc(rows, func(a, b Row) int {
		switch {
		case (a.Failed == "") != (b.Failed == ""):
			if a.Failed == "" {
				return -1
			}
			return 1
		case a.Median == b.Median:
			return 0
		case (a.Median < b.Median) != more:
			return -1
		}
		return 1
	})
	return rows
}
