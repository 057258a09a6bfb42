package report

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Publish writes a run into a directory: a JSON file, which no other run overwrites, a page with its tables
// (README.md), and a plot for each question. Pages and plots are those of the last run.
func Publish(dir string, run *Run) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := run.Began.UTC().Format("2006-01-02-1504") + "-" + run.Size + ".json"
	if err := Write(filepath.Join(dir, name), run); err != nil {
		return err
	}
	for _, q := range run.Questions {
		foot := run.Began.UTC().Format("2006-01-02") + " · tidemark " + run.Versions[Own] + " · " + run.Machine.String()
		if err := os.WriteFile(filepath.Join(dir, q.Name+".svg"), []byte(Plot(q, foot)), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), []byte(page(run, name)), 0o644)
}

// String is one line.
func (m Machine) String() string {
	return fmt.Sprintf("%d processors (%s), %d GiB, Linux %s", m.Processors, m.Processor, (m.Memory+1<<29)>>30, m.Kernel)
}

// page is the run as Markdown.
func page(run *Run, data string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Run of %s\n\n", run.Began.UTC().Format("2006-01-02 15:04 UTC"))
	fmt.Fprintf(&b, "Written by `make bench`; see [how to read it](../performance.md). All samples are in [%s](%s).\n\n", data, data)
	fmt.Fprintf(&b, "%s, %s; %s. It took %.0f minutes.\n", run.Machine, run.Machine.System, run.Machine.Trees, run.Ended.Sub(run.Began).Minutes())
	if why := slices.Concat(run.Failed, run.Noise); !run.Good {
		fmt.Fprintf(&b, "\n**This run is not good:**\n\n* %s\n", strings.Join(why, "\n* "))
	}
	for _, q := range run.Questions {
		fmt.Fprintf(&b, "\n![%s](%s.svg)\n", q.Title, q.Name)
	}
	_ = Table(&b, run.Questions) // a Builder takes all
	b.WriteString("\n### Programs\n\n")
	for _, name := range slices.Sorted(maps.Keys(run.Versions)) {
		fmt.Fprintf(&b, "* %s: %s\n", name, cell(run.Versions[name]))
	}
	for _, line := range run.Missing {
		fmt.Fprintf(&b, "* not measured: %s\n", cell(line))
	}
	return b.String()
}
