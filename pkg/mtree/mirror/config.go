package mirror

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/mirror/internal/actions"
	"tidemark/pkg/mtree/mirror/internal/gate"
	"tidemark/pkg/mtree/mirror/internal/limits"
	"tidemark/pkg/mtree/mirror/internal/lineage"
	"tidemark/pkg/mtree/mirror/internal/rights"
	"tidemark/pkg/mtree/mirror/internal/source/remote"
)

// Config says what is copied, where to, and how. Source and Dest are needed. The zero value
// of every other field stands for its default.
type Config struct {
	Source   string  // http(s)://host[:port]/dir/, unix:/PATH[:/dir/] or a local directory
	Others   []Other // further sources, in the order in which they are preferred, after Source: each shows the same tree
	Dest     string  // the copy; made if it is missing
	StateDir string  // where mirror keeps its state; "": in Dest/.tidemark

	Interval    time.Duration // between polls where no long poll is possible; 0: 1 s
	IntervalSet bool          // Interval also paces full walks, else max(10 min, 20 x the last one)
	Jobs        int           // steps under way at once; 0: 8. BWLimit lowers it until each has 64 KiB/s

	NoDelete    bool     // entries that the source no longer has stay
	MaxDelete   string   // if more entries would be deleted, all are held: a share of all entries ("50%") or a number; "": "50%", and for a repair that of the mirror that ran last
	Adopt       bool     // take over a directory that is not a copy, or is one of another tree
	Sums        bool     // the first pass compares files of equal size and mtime by their sums
	DryRun      bool     // write what one pass would change, and change nothing
	NoLinks     bool     // leave out symlinks
	Owner       bool     // set owners, if the source publishes them
	HardLinks   bool     // what is one file with several names at the source becomes one file, if the source publishes that
	Chmod       []string // permission bits in place of the source's: "D755,F644", "u+rwX,go-w"
	Chown       string   // owners in place of the source's: "USER", "USER:GROUP", ":GROUP"; "": none
	Sparse      bool     // runs of zeros of 64 KiB and more become holes
	CrossMounts bool     // copy directories on other file systems, too, from a directory of this machine
	Filters     []string // "+ GLOB" and "- GLOB", the first match decides
	Last        []string // globs of files that are fetched after everything else

	MinSize int64         // bytes; smaller files are not fetched; 0: no limit
	MaxSize int64         // bytes; larger files are not fetched; 0: no limit
	MaxAge  time.Duration // files whose mtime is longer ago, by the source's clock, are not fetched; 0: no limit

	// SelectionSet says that Filters, NoDelete and NoLinks were asked for as they are. Only Verify
	// looks at it: if it is false and all of them are zero, those count that the copy was made with.
	SelectionSet bool

	BackupDir  string        // what would be deleted or overwritten goes there, on the file system of Dest; relative to Dest; "": it is gone
	BackupKeep time.Duration // what is older there is removed; 0: nothing

	BWLimit      int64         // bytes per second of file contents; 0: no limit
	Durability   string        // "batch": one flush before the stamps; "file": each file before it gets its name; "none"
	FullInterval time.Duration // a full walk at least this often, give or take an eighth; 0: 7 days, below 0: never
	Exec         string        // command for sh -c after each pass that changed something, with the changed paths on its stdin; "": none

	Print       io.Writer // gets a line for each thing that was done, and is never waited for; nil: nobody. The summary goes to Log then
	PrintFormat string    // "text" or "json"; "": text

	TLS           *tls.Config         // for https; nil: the system's
	Authorization string              // sent as the header of that name, as "Bearer TOKEN"; "": none
	Header        map[string][]string // sent with each request, by canonical name; may be nil
	UserAgent     string              // "": tidemark-mirror

	// Credentials returns the TLS and Authorization to use from now on; a TLS that has not changed
	// is the same pointer. It is called before each request, and once a second between
	// requests, by several goroutines at once. nil: those above stay.
	Credentials func() (*tls.Config, string)

	FirstPause time.Duration // before a request to a server is tried again; 0: 100 ms. Later pauses are longer
	Patience   time.Duration // how long a server may take until the header of its answer; 0: 30 s. Twice that until the next 16 KiB

	Out      io.Writer          // results: the summary line, the itemised dry run; nil: nowhere
	Log      *slog.Logger       // nil: nowhere
	Quiet    bool               // no summaries in Out
	Progress func(Progress)     // called at most four times a second with how far a pass is; may be nil
	Ready    func()             // called once when the lock is held; may be nil
	Notify   func(string)       // called with a line of status after each pass; may be nil
	Now      func() mtree.Stamp // the local clock; nil: the real one
	Stats    *Stats             // counts what happens; nil: not counted

	repair       bool                              // it is Verify that mends
	vigilant     bool                              // another source can be used if this one vanishes
	open         func(*Config) (origin, error)     // opens Source; nil: openSource does. Tests put another one in its place
	beforeDelete func()                            // called before a pass deletes; tests stop there
	meanwhile    func()                            // called after the first look at Dest and before its lock; tests act there
	serveLook    time.Duration                     // pause between looks whether serve answers now; 0: a minute. Tests shorten it
	firstProbe   time.Duration                     // until a source that is preferred is asked again; 0: 2 s. Tests shorten it
	largeRoom    int                               // bytes of memory that one large listing may take; 0: 320 MiB. Tests lower it
	commitFiles  int                               // a pass commits after that many files; 0: 10,000. Tests lower it
	restartGrace time.Duration                     // how long a release waits for a mirror to be started again
	vary         func(time.Duration) time.Duration // a pause below that; nil: at random. A simulation chooses
}

// Other is a further source, and what is sent to it: the fields are as those of Config.
type Other struct {
	Source        string
	TLS           *tls.Config
	Authorization string
	Header        map[string][]string
	Credentials   func() (*tls.Config, string)
}

// Values of Config.Durability: what is on disk before it counts.
const (
	Batch = "batch" // one flush before the stamps
	Each  = "file"  // also each file, before it gets its name
	None  = "none"  // nothing
)

// Values of Config.PrintFormat.
const (
	Text = "text" // STAMP<TAB>ACTION<TAB>PATH
	JSON = "json" // an object
)

// Defaults, and what follows from them.
const (
	defaultServeLook   = time.Minute // at other web servers: time between looks whether serve answers now
	defaultInterval    = time.Second
	defaultProbe       = 2 * time.Second // from the use of another one of several sources until the preferred ones are asked again
	defaultCommitFiles = 10_000
	defaultJobs        = 8
	defaultMaxDelete   = "50%"
	leastStream        = 64 << 10 // bytes a second for each step, with BWLimit
	defaultFull        = 7 * 24 * time.Hour
)

// restartGrace is how long a release waits for a mirror that has ended to be started again. If it took
// the lock at once, that mirror would be refused, and systemd would not start it any more. A mirror takes
// the list in its first pass.
const restartGrace = 10 * time.Second

// withDefaults returns c with every zero value replaced by its default.
func (c Config) withDefaults() Config {
	c.Source = absolute(c.Source)
	c.Others = slices.Clone(c.Others)
	for i := range c.Others {
		c.Others[i].Source = absolute(c.Others[i].Source)
	}
	if c.Interval <= 0 {
		c.Interval = defaultInterval
	}
	if c.Jobs <= 0 {
		c.Jobs = defaultJobs
	}
	if c.BWLimit > 0 {
		// A server drops clients that read too slowly, so a low limit allows few streams.
		c.Jobs = min(c.Jobs, int(max(1, c.BWLimit/leastStream)))
	}
	if c.Durability == "" {
		c.Durability = Batch
	}
	if c.FullInterval == 0 {
		c.FullInterval = defaultFull
	}
	if c.Patience == 0 {
		c.Patience = remote.HeaderTimeout
	}
	if c.UserAgent == "" {
		c.UserAgent = "tidemark-mirror"
	}
	if c.Out == nil {
		c.Out = io.Discard
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Ready == nil {
		c.Ready = func() {}
	}
	if c.Notify == nil {
		c.Notify = func(string) {}
	}
	if c.Now == nil {
		c.Now = machine.Now
	}
	if c.Stats == nil {
		c.Stats = &Stats{}
	}
	if c.serveLook == 0 {
		c.serveLook = defaultServeLook
	}
	if c.firstProbe == 0 {
		c.firstProbe = defaultProbe
	}
	if c.restartGrace == 0 {
		c.restartGrace = restartGrace
	}
	if c.vary == nil {
		c.vary = rand.N[time.Duration]
	}
	if c.commitFiles == 0 {
		c.commitFiles = defaultCommitFiles
	}
	return c
}

// absolute makes the path of a local source absolute: the copy records it, for processes with other
// working directories.
func absolute(source string) string {
	if !remote.IsURL(source) && source != "" {
		if path, err := filepath.Abs(source); err == nil {
			return path
		}
	}
	return source
}

// selection returns the options that decide which entries a complete copy has.
func (c *Config) selection() lineage.Selection {
	return lineage.Selection{Filters: c.Filters, NoDelete: c.NoDelete, NoLinks: c.NoLinks, Owner: c.Owner, HardLinks: c.HardLinks, Chmod: c.Chmod, Chown: c.Chown, Limits: c.limits()}
}

// limits returns the options that say which files are fetched.
func (c *Config) limits() limits.Limits {
	return limits.Limits{MinSize: c.MinSize, MaxSize: c.MaxSize, MaxAge: c.MaxAge}
}

// selects reports whether a complete copy may have less, or more, than its source.
func (c *Config) selects() bool { return len(c.Filters) > 0 || c.NoDelete || !c.limits().None() }

// rules are the parts of a Config that need compiling.
type rules struct {
	filters *glob.List
	last    *glob.List
	limit   gate.Limit
	rights  *rights.Rules
}

// compile compiles them, and checks what else a user can get wrong. Its errors carry
// exit.Usage.
func (c *Config) compile() (r rules, err error) {
	if c.Dest == "" {
		return r, exit.With(exit.Usage, errors.New("no destination"), "give SOURCE and DEST")
	}
	if r.filters, err = glob.New(c.Filters); err != nil {
		return r, exit.With(exit.Usage, err, "")
	}
	if r.last, err = glob.Excluding(c.Last); err != nil {
		return r, exit.With(exit.Usage, err, "")
	}
	if r.limit, err = gate.ParseLimit(cmp.Or(c.MaxDelete, defaultMaxDelete)); err != nil {
		return r, exit.With(exit.Usage, err, "")
	}
	if err := c.limits().Check(); err != nil { // guard: TestLimitsThatAreRefused
		return r, exit.With(exit.Usage, err, "")
	}
	if r.rights, err = rights.Parse(c.Chmod, c.Chown, c.Owner); err != nil {
		return r, exit.With(exit.Usage, err, "")
	}
	if r.rights.Owns() && !c.DryRun && !machine.MayChown() { // guard: chmod-chown.txtar
		return r, exit.With(exit.Usage, errors.New("--chown: this user may not give files away"), "run mirror as root, or with CAP_CHOWN")
	}
	if err := c.checkPrint(); err != nil {
		return r, err
	}
	if c.BackupKeep != 0 && c.BackupDir == "" || c.BackupKeep < 0 {
		return r, exit.With(exit.Usage, errors.New("--backup-keep without --backup-dir"), "give both")
	}
	switch c.Durability {
	case Batch, Each, None:
	default:
		return r, exit.With(exit.Usage, fmt.Errorf("bad durability %q", c.Durability), `want "batch", "file" or "none"`)
	}
	return r, nil
}

// checkPrint refuses formats that are not known.
func (c *Config) checkPrint() error {
	if c.PrintFormat != "" && c.PrintFormat != Text && c.PrintFormat != JSON {
		return exit.With(exit.Usage, fmt.Errorf("bad print format %q", c.PrintFormat), `want "text" or "json"`)
	}
	return nil
}

// newPrinter returns the printer of --print; nil: there is none. A dry run has lines of its own.
func (c *Config) newPrinter() *actions.Printer {
	if c.DryRun {
		return nil
	}
	return actions.NewPrinter(c.Print, c.PrintFormat == JSON, c.Log, &c.Stats.PrintLost)
}

// say writes a line into the output, or into the log if the output has lines of --print.
func (c *Config) say(line string) {
	if c.Print != nil && !c.DryRun {
		c.Log.Info(line)
		return
	}
	_, _ = io.WriteString(c.Out, line+"\n")
}
