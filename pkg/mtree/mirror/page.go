package mirror

import (
	"html/template"
	"io"
	"path/filepath"
	"strings"
	"time"

	"tidemark/internal/webpage"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"
)

// pageRefresh is how often a browser loads the page anew, in seconds.
const pageRefresh = 15

// mostHeld is how many held deletions the page names.
const mostHeld = 200

// pageData is what the page of a mirror says.
type pageData struct {
	*copyReport        // nil: there is no copy yet
	Exists      bool   // there is one
	Version     string // of the program
	Dest        string
	Now         time.Time

	Mood, Meaning string // of the state
	LagNow        *time.Duration
	Up            bool // the source answered when it was asked last
	Full          bool // every pass is a full walk

	Reasons  []heldReason
	MoreHeld int    // held deletions that are not named
	Release  string // command that carries them out
	Chain    []chainStep
	Progress string
	Passes   []pastPass

	Hour, Day template.HTML
}

// heldReason is why some deletions are held.
type heldReason struct {
	Why       string
	Deletions []heldDeletion
}

// chainStep is an upstream.
type chainStep struct {
	Host string
	Root *time.Time
	Lag  *time.Duration
}

// WritePage writes a page of HTML that says how the copy of c stands, and how it was in the last hour and day.
// c.Stats must be that of a mirror that runs. It reads the disk and makes no request. version is that of the program.
func WritePage(w io.Writer, c Config, version string) error {
	now := machine.Now().Time()
	s := &pageData{Version: version, Dest: anywhere(c.Dest), Now: now, Up: c.Stats.Up.Load() == 1, Passes: c.Stats.history.latest()}
	title := "mirror: not begun"
	if r, upstreams, err := lookForPage(c.Dest, c.StateDir); err == nil {
		s.take(r, upstreams, c.StateDir)
		title = "mirror: " + string(r.State)
	}
	if hour, day := c.Stats.history.lag(now); hour != nil {
		s.Hour, s.Day = lagPlot(hour, now), lagPlot(day, now)
	}
	return mirrorPage.Write(w, webpage.Frame{Title: title, Refresh: pageRefresh}, s)
}

// anywhere returns a path that holds in every directory, as a command that is copied from the page has to.
func anywhere(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

// lookForPage reads what is known of a copy, and where it came from.
func lookForPage(dest, stateDir string) (*copyReport, []wire.Upstream, error) {
	r, err := lookAtCopy(dest, stateDir)
	if err != nil {
		return nil, nil, err
	}
	l, err := replica.LookAt(dest, stateDir)
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	return r, l.Upstreams(), nil
}

// copyMeanings says what each state of a copy means, and whether it is well.
var copyMeanings = map[wire.State][2]string{
	wire.Filling:   {"", "The first copy is under way. Nothing is deleted before it is complete."},
	wire.Mirrored:  {"good", "The copy follows its source."},
	wire.Unwatched: {"bad", "The copy follows its source, but the source's stamps do not prune: every pass is a full walk. Start tidemark-watch at the source, or look at its log."},
	wire.Stale:     {"bad", "The mirror is about to end."},
}

// take takes what is known of the copy.
func (s *pageData) take(r *copyReport, upstreams []wire.Upstream, stateDir string) {
	meaning := copyMeanings[r.State]
	s.copyReport, s.Exists, s.Mood, s.Meaning = r, true, meaning[0], meaning[1]
	if r.State == wire.Filling {
		r.Counted = nil // it tells its own copies what the source has
	}
	if r.Lag != nil {
		lag := r.lag()
		s.LagNow = &lag
	}
	if r.Pass != nil {
		s.Progress = r.Pass.line
	}
	for i, d := range r.HeldDeletions {
		if i == mostHeld {
			s.MoreHeld = len(r.HeldDeletions) - mostHeld
			break
		}
		if i == 0 || d.Why != r.HeldDeletions[i-1].Why {
			s.Reasons = append(s.Reasons, heldReason{Why: d.Why})
		}
		last := &s.Reasons[len(s.Reasons)-1]
		last.Deletions = append(last.Deletions, d)
	}
	s.Release = "tidemark-mirror --release " + shellWord(s.Dest)
	if stateDir != "" {
		stateDir = anywhere(stateDir) // guard (anywhere(stateDir) -> stateDir): TestThePageOfARelativeStateDir
		s.Release = "tidemark-mirror --state-dir " + shellWord(stateDir) + " --release " + shellWord(s.Dest)
	}
	for _, u := range upstreams {
		next := chainStep{Host: u.Host}
		if u.Root != (mtree.Stamp{}) {
			root := u.Root.Time()
			next.Root = &root
		}
		if u.Checkpoint != nil {
			lag := max(0, s.Now.Sub(u.Checkpoint.Time()))
			next.Lag = &lag
		}
		s.Chain = append(s.Chain, next)
	}
}

// shellWord returns text as one word of a shell.
func shellWord(text string) string {
	if text != "" && strings.IndexFunc(text, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("/._-+,:=@%", r))
	}) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// lagPlot draws how old the copy was.
func lagPlot(s *webpage.Series, now time.Time) template.HTML {
	p := webpage.Plot{Title: "Lag", Values: s.Values(now), Step: s.Step(), Tops: webpage.SecondTops, Unit: func(v float64) string {
		return webpage.Span(time.Duration(v * float64(time.Second)))
	}}
	return p.SVG()
}

var mirrorPage = webpage.New("mirror", `<header><h1>{{.Dest}}</h1>{{if .Exists}}<span class="word {{.Mood}}">{{.State}}</span>{{end}}</header>
{{if not .Exists}}<p>There is no copy yet: the source was not reached, or refused. The log says why.</p>
{{else}}<p>{{.Meaning}}</p>
{{with .Away}}<p class="bad">The source has not answered for {{span ($.Now.Sub .)}}. The mirror asks again every few seconds.</p>
{{end}}{{with .Error}}<p class="bad">The last pass did not do all: {{.}}.</p>
{{end}}{{with .Pass}}<h2>The pass under way</h2>
{{with .Percent}}<progress max="100" value="{{.}}">{{.}} %</progress>
{{end}}<p>{{$.Progress}} <span class="soft">(began {{ago $.Now .Began}})</span></p>
{{end}}<dl>
<div><dt>Lag: last known to be what the source published</dt><dd class="large">{{with .LagNow}}{{span .}} ago{{else}}never{{end}}</dd></div>
<div><dt>Source</dt><dd>{{.Source}}</dd><dd class="{{if .Up}}good{{else}}bad{{end}}">{{if .Up}}answers{{else}}did not answer last{{end}}</dd>{{with .SourceState}}<dd class="soft">its tree is {{.}}</dd>{{end}}</div>
{{with .LastChange}}<div><dt>Last pass that changed something</dt><dd>{{ago $.Now .}}</dd></div>
{{end}}<div><dt>The copy has</dt><dd>{{noun .Entries "entry" "entries"}}</dd>{{with .Counted}}<dd class="soft">{{noun .Files "file" "files"}}, {{noun .Directories "directory" "directories"}}, {{bytes .Bytes}}{{with .At}}, as counted {{ago $.Now .Time}}{{end}}</dd>{{end}}{{with .SourceEntries}}<dd class="soft">the source counted {{noun .Files "file" "files"}}, {{bytes .Bytes}}{{with .At}}, {{ago $.Now .Time}}{{end}}</dd>{{end}}</div>
<div><dt>Deletions held</dt><dd{{if .Held}} class="bad"{{end}}>{{noun .Held "entry" "entries"}}</dd></div>
<div><dt>Left undone by the last pass</dt><dd{{if .Failed}} class="bad"{{end}}>{{noun .Failed "path" "paths"}} failed</dd><dd>{{noun .Incomplete "directory" "directories"}} incomplete</dd></div>
<div><dt>Not copied</dt><dd>{{number .NotCopied}}</dd><dd class="soft">symlinks, long paths, what the source may not read, what a limit leaves out</dd></div>
{{if or .Unread .SourceUnread}}<div><dt>Directories that the source cannot read</dt><dd>{{.Unread}} never copied whole, {{.SourceUnread}} not published</dd></div>
{{end}}{{if .Tree}}<div><dt>Tree</dt><dd>{{.Tree}}, epoch {{.Epoch}}</dd></div>
{{end}}{{with .Backup}}<div><dt>Backup directory</dt><dd>{{.}}</dd></div>
{{end}}<div><dt>Program</dt><dd>tidemark-mirror {{.Version}}</dd><dd><a href="metrics">metrics</a></dd></div>
</dl>
{{with .Reasons}}<h2 id="held">Deletions that are held</h2>
{{range .}}<p><b>{{.Why}}</b></p>
<div class="wide"><table><thead><tr><th>Kind</th><th>Path</th><th class="n">Entries</th></tr></thead><tbody>
{{range .Deletions}}<tr><td>{{.Kind}}</td><td class="path">{{.Path}}</td><td class="n">{{number .Entries}}</td></tr>
{{end}}</tbody></table></div>
{{end}}{{with $.MoreHeld}}<p class="soft">and {{.}} more: tidemark-mirror --status names them.</p>
{{end}}<p>They stay until the source has them again, or until somebody carries out exactly these:</p>
<pre tabindex="0">{{$.Release}}</pre>
{{end}}{{if .Sources}}<h2>Sources</h2>
<div class="wide"><table><thead><tr><th>Source</th><th>Used</th><th>Since</th></tr></thead><tbody>
{{range .Sources}}<tr><td class="path">{{.Source}}</td><td>{{if .Used}}<span class="good">yes</span>{{else if .Why}}no: {{.Why}}{{else}}not needed{{end}}</td><td>{{ago $.Now .Since}}</td></tr>
{{end}}</tbody></table></div>
{{end}}{{with .Chain}}<h2>Where it comes from</h2>
<ol class="chain">{{range .}}<li>{{.Host}}<span class="soft">{{with .Root}}: its tree as of {{ago $.Now .}}{{end}}{{with .Lag}}, known to be so {{span .}} ago{{end}}</span></li>{{end}}</ol>
{{end}}{{end}}{{if .Hour}}<h2>Lag in the last hour</h2>
{{.Hour}}
<h2>Lag in the last day</h2>
{{.Day}}
<p class="soft">The longest in each half minute, and in each twelve minutes, since this mirror was started. An idle source confirms every 45 s.</p>
{{end}}<h2>Passes</h2>
{{if .Passes}}<div class="wide"><table><thead><tr><th>Ended</th><th class="n">Took</th><th class="n">Directories</th><th class="n">Files</th><th class="n">Bytes</th><th class="n">Deleted</th><th class="n">Held</th><th class="n">Failed</th><th></th></tr></thead><tbody>
{{range .Passes}}<tr><td>{{ago $.Now .Ended}}</td><td class="n">{{span .Took}}</td><td class="n">{{number .Listed}}</td><td class="n">{{number .Fetched}}</td><td class="n">{{bytes .Bytes}}</td><td class="n">{{number .Deleted}}</td><td class="n">{{number .Held}}</td><td class="n{{if .Failed}} bad{{end}}">{{number .Failed}}</td><td>{{if .Full}}full walk {{end}}{{with .Cause}}<span class="bad">{{.}}</span>{{end}}</td></tr>
{{end}}</tbody></table></div>
<p class="soft">The last that changed something, walked everything, or left something undone.</p>
{{else}}<p class="soft">None has changed anything since this mirror was started.</p>
{{end}}<footer>This page loads itself anew every 15 s. It is for whoever runs this mirror: its address has no access control.</footer>`)
