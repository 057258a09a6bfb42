package mirror

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/wire"
)

// Progress says how far a pass has got.
type Progress struct {
	Took      time.Duration // since its beginning
	Listed    int64         // directories compared
	Fetched   int64         // files that arrived
	Bytes     int64         // of file contents that arrived, also of files under way
	WantFiles int64         // files known to be needed, including those that arrived
	WantBytes int64         // bytes of these files
	Deleted   int64         // entries
	Failed    int64         // paths
	Pending   int           // steps that wait or are under way
	Done      bool          // it has ended

	// Where its end is. It is known once all directories are listed. Before that it is about where
	// the counts of the source say, if the pass gets to everything: a first copy, a full walk.
	Permill  int64         // done, in thousandths, 0 to 1000; below 0: not known
	About    bool          // Permill, Left and Total are estimates: the counts are of the last audit, and filters leave out some
	Left     time.Duration // until the end, at the speed of the last seconds; below 0: not known
	Rate     int64         // bytes of files a second, in the last seconds
	Total    wire.Entries  // what it gets to; of no meaning if Permill is not known
	Finished wire.Entries  // of that
}

// longestNotice is how long a line for the service manager, or in --status, may be.
const longestNotice = 300

// Line says in one line of ASCII text, of at most so many columns, how far a pass has got: what
// matters most comes first, and what does not fit is left out.
func (p *Progress) Line(columns int) string {
	var line strings.Builder
	for _, part := range p.parts() {
		if line.Len() > 0 {
			part = ", " + part
		}
		if line.Len()+len(part) > columns {
			break
		}
		line.WriteString(part)
	}
	return line.String()
}

// parts returns the parts of the line.
func (p *Progress) parts() []string {
	rate := size(p.Rate) + "/s"
	if p.Permill < 0 {
		return []string{
			fmt.Sprintf("%d directories", p.Listed), fmt.Sprintf("%d of %d files", p.Fetched, p.WantFiles),
			fmt.Sprintf("%s of %s", size(p.Bytes), size(p.WantBytes)), rate, fmt.Sprintf("%d steps left", p.Pending),
		}
	}
	about := ""
	if p.About {
		about = "about "
	}
	parts := []string{fmt.Sprintf("%s%d%%", about, p.Permill/10)}
	if p.Left >= 0 && p.Permill < 1000 {
		parts = append(parts, duration(p.Left)+" left")
	}
	parts = append(parts, rate,
		fmt.Sprintf("%s of %s%s", size(p.Finished.Bytes), about, size(p.Total.Bytes)),
		fmt.Sprintf("%d of %s%d files", p.Finished.Files, about, p.Total.Files))
	if p.Total.Directories > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s%d directories", p.Finished.Directories, about, p.Total.Directories))
	}
	return parts
}

// told returns the line for --status: without an end it says only what is done.
func (p *Progress) told() string {
	if p.Permill >= 0 {
		return p.Line(longestNotice)
	}
	return fmt.Sprintf("%d directories, %d files, %s, %s/s", p.Listed, p.Fetched, size(p.Bytes), size(p.Rate))
}

// size returns a number of bytes for people.
func size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// duration returns a time for people, at least a second: "3d04h", "1h05m", "5m10s", "8s".
func duration(d time.Duration) string {
	s := max(1, int64(d.Round(time.Second)/time.Second))
	switch {
	case s >= 24*60*60:
		return fmt.Sprintf("%dd%02dh", s/(24*60*60), s/(60*60)%24)
	case s >= 60*60:
		return fmt.Sprintf("%dh%02dm", s/(60*60), s/60%60)
	case s >= 60:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%ds", s)
}

// asState returns the progress of a pass as the status has it.
func (p *Progress) asState(began mtree.Stamp) *state.Pass {
	s := &state.Pass{
		Began: began, Permill: p.Permill, About: p.About, Left: -1, Rate: p.Rate,
		Listed: p.Listed, Fetched: p.Fetched, Bytes: p.Bytes, Finished: p.Finished, Total: p.Total,
	}
	if p.Left >= 0 {
		s.Left = int64(p.Left / time.Second)
	}
	return s
}

// progressOf is the inverse of asState.
func progressOf(s *state.Pass) *Progress {
	p := &Progress{
		Permill: s.Permill, About: s.About, Left: -1, Rate: s.Rate,
		Listed: s.Listed, Fetched: s.Fetched, Bytes: s.Bytes, Finished: s.Finished, Total: s.Total,
	}
	if s.Left >= 0 {
		p.Left = time.Duration(s.Left) * time.Second
	}
	return p
}
