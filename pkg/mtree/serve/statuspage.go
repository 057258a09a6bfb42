package serve

import (
	"bytes"
	"html/template"
	"net/http"
	"time"

	"tidemark/internal/webpage"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/serve/internal/published"
	"tidemark/pkg/mtree/serve/internal/render"
	"tidemark/pkg/mtree/wire"
)

// statusRefresh is how often a browser loads the page anew, in seconds.
const statusRefresh = 15

// standing is what the page of ?status says. Like the JSON it names no path of this host.
type standing struct {
	*statusReport
	Title   string // which directory of the tree it is
	Mood    string // of the state: "good", "bad", or ""
	Meaning string // of the state
	Now     time.Time

	Replaced           bool // another directory is at the path of the root
	RootAt             time.Time
	CheckpointAt       *time.Time
	AuditAt, CountedAt *time.Time
	WaitingMost        int64
	Unread, Unstamped  int64
	Counters           map[string]int64 // of the watcher
	Trouble            string           // its last error
	Steps              []step           // of a copy
	Watched            bool             // a watcher keeps the counters
	Hour, Day          template.HTML    // plots of changes
}

// step is an upstream.
type step struct {
	Host string
	Root time.Time
	Lag  *time.Duration
}

// meanings says what each state means, and whether it is well.
var meanings = map[wire.State][2]string{
	wire.Watched:   {"good", "A watcher runs, and every change is published."},
	wire.Auditing:  {"good", "A watcher runs, and scans the whole tree after its start or after a loss of events. Changes are published meanwhile."},
	wire.Degraded:  {"bad", "A watcher cannot hear, read or stamp everything, or could not when it ended. Mirrors look at the whole tree in each pass."},
	wire.Audited:   {"", "No watcher runs. Changes are found by the next audit."},
	wire.Unwatched: {"bad", "Nobody keeps the stamps, or the first audit is under way. Mirrors look at the whole tree in each pass."},
	wire.Filling:   {"", "A copy before its first complete pass. Copies of it delete nothing."},
	wire.Mirrored:  {"good", "A copy that its mirror keeps up to date."},
	wire.Stale:     {"bad", "A copy that no mirror keeps at the moment: it may be old."},
}

// statusPage sends the page.
func (h *Handler) statusPage(w http.ResponseWriter, a *reply, s *published.Snapshot, report *statusReport) {
	var body bytes.Buffer
	if err := statusTemplate.Write(&body, webpage.Frame{Title: "status: " + string(report.State), Refresh: statusRefresh}, h.standing(s, report)); err != nil {
		h.fail(w, a, err)
		return
	}
	a.kind, a.policy = render.HTMLType, webpage.Policy()
	h.send(w, a.withBody(body.Bytes()))
}

// standing returns what the page says.
func (h *Handler) standing(s *published.Snapshot, report *statusReport) *standing {
	now := time.Now()
	h.rate.note(now, s)
	meaning := meanings[report.State]
	out := &standing{
		statusReport: report, Title: "The tree", Mood: meaning[0], Meaning: meaning[1], Now: report.Now.Time(), Replaced: s.Replaced, RootAt: report.Root.Time(),
		CheckpointAt: timeOf(report.Checkpoint), AuditAt: timeOf(s.Status.Audit), WaitingMost: int64(h.cfg.MaxWaiters),
		Unread: int64(s.UnreadDirs()), Unstamped: int64(s.Status.Stamps), Counters: s.Status.Counters, Trouble: s.Status.Error,
	}
	if report.Path != "" && report.Path != "/" {
		out.Title = report.Path + " of the tree"
	}
	if report.Entries != nil {
		out.CountedAt = timeOf(report.Entries.At)
	}
	for _, u := range report.Upstream {
		next := step{Host: u.Host, Root: u.Root.Time()}
		if u.Lag != nil {
			lag := time.Duration(*u.Lag * float64(time.Second))
			next.Lag = &lag
		}
		out.Steps = append(out.Steps, next)
	}
	if _, out.Watched = s.Status.Counters[changesCounter]; out.Watched {
		out.Hour = plotOf("Changes a minute", h.rate.hour, now, 1)
		out.Day = plotOf("Changes a minute", h.rate.day, now, dayStep.Minutes())
	}
	return out
}

// plotOf draws a series whose values are divided by per.
func plotOf(title string, s *webpage.Series, now time.Time, per float64) template.HTML {
	values := s.Values(now)
	for i := range values {
		values[i] /= per
	}
	p := webpage.Plot{Title: title, Values: values, Step: s.Step(), Unit: webpage.Rounded}
	return p.SVG()
}

// timeOf returns a stamp as a time; nil for nil.
func timeOf(s *mtree.Stamp) *time.Time {
	if s == nil {
		return nil
	}
	t := s.Time()
	return &t
}

var statusTemplate = webpage.New("status", `<header><h1><a href="./">{{.Title}}</a></h1><span class="word {{.Mood}}">{{.State}}</span></header>
{{if .Replaced}}<p class="bad">Nothing is published: another directory is at the path of the root. A disk went away, or was mounted over it.</p>
{{end}}<p>{{.Meaning}}</p>
{{with .Trouble}}<p class="bad">The last error: {{.}}</p>
{{end}}<dl>
<div><dt>Last change</dt><dd class="large">{{ago .Now .RootAt}}</dd></div>
{{with .CheckpointAt}}<div><dt>{{if $.Upstream}}Known to be what its source was{{else}}Everything is published up to{{end}}</dt><dd class="large">{{ago $.Now .}}</dd></div>
{{end}}<div><dt>Mirrors and pages that wait for a change</dt><dd class="large">{{number .Waiting}}</dd><dd class="soft">of {{number .WaitingMost}} at most</dd></div>
{{with .Entries}}<div><dt>The tree has</dt><dd>{{noun .Files "file" "files"}}, {{noun .Directories "directory" "directories"}}, {{bytes .Bytes}}</dd>{{with $.CountedAt}}<dd class="soft">as counted {{ago $.Now .}}</dd>{{end}}</div>
{{end}}{{if .Watched}}<div><dt>Last complete audit began</dt><dd>{{with .AuditAt}}{{ago $.Now .}}{{else}}none yet{{end}}</dd>{{with index .Counters "audits_total"}}<dd class="soft">{{number .}} since the watcher was started</dd>{{end}}</div>
<div><dt>Times that events were lost</dt><dd>{{number (index .Counters "losses_total")}}</dd><dd class="soft">since the watcher was started; each costs an audit</dd></div>
{{end}}<div><dt>Directories that watch cannot read</dt><dd{{if .Unread}} class="bad"{{end}}>{{number .Unread}}</dd>{{if .Unread}}<dd class="soft">They are not published. <code>.tidemark/unread</code> names them; give watch the rights, or exclude them.</dd>{{end}}</div>
<div><dt>Directories that refuse their stamp</dt><dd>{{number .Unstamped}}</dd>{{if .Unstamped}}<dd class="soft">Their stamps are in <code>.tidemark/stamps</code>, and published all the same.</dd>{{end}}</div>
{{if .Tree}}<div><dt>Tree</dt><dd>{{.Tree}}, epoch {{.Epoch}}</dd></div>
{{end}}<div><dt>Program</dt><dd>serve {{.Version}}, protocol {{.Protocol}}</dd></div>
</dl>
{{if .Steps}}<h2>Where this copy comes from</h2>
<ol class="chain">{{range .Steps}}<li>{{.Host}}: <span class="soft">its tree as of {{ago $.Now .Root}}{{with .Lag}}, known to be so {{span .}} ago{{end}}</span></li>{{end}}</ol>
{{end}}{{if .Watched}}<h2>Changes a minute, in the last hour</h2>
{{.Hour}}
<h2>Changes a minute, in the last day</h2>
{{.Day}}
<p class="soft">As this server has counted since it was started, by the minute.</p>
{{end}}{{with .Runs}}<h2>Runs of the watcher</h2>
<p class="soft">The latest last: {{range $i, $r := .}}{{if $i}}, {{end}}{{.ID}}{{if not .Floor}} (now){{end}}{{end}}</p>
{{end}}<footer>This page loads itself anew every 15 s. Programs get it as JSON: <code>?status&amp;json</code>.</footer>`)
