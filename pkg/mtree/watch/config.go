package watch

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/glob"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/watch/internal/identity"
)

// Config says what to watch and how. The zero value of every field works, except
// Root.
type Config struct {
	Root     string // the directory; symlinks in this one path are followed
	StateDir string // instead of .tidemark in the root; "": that

	Backend       string        // "auto", "fanotify", "inotify" or "none"; "" is auto
	Settle        time.Duration // quiet time that ends a batch, which never waits longer than 10 times that, nor if it is complete after a quiet time; 0: 5 ms
	AuditInterval time.Duration // between full scans; 0: 24 h
	Exclude       []string      // globs: changes there are not published
	CrossMounts   bool          // enter directories on other file systems

	Exec  string    // run by sh -c for each batch; "": nothing
	Print io.Writer // one line STAMP<TAB>PATH a change; a slow reader loses lines; nil: no printing

	SameTree bool // the root was moved or restored and is still this tree
	NewTree  bool // the root was copied and is a new tree
	Promote  bool // make a copy a source

	Log    *slog.Logger       // nil: discard
	Now    func() mtree.Stamp // the clock; nil: the system's
	Ready  func()             // called once the lock is held, before the audit; may be nil
	Notify func(text string)  // called with one line that says what is being done; may be nil
	Audit  <-chan struct{}    // each value asks for an audit; may be nil
	Stats  *Stats             // nil: private ones

	sameProcess bool                               // tests: the process that changes the tree is this one
	setTime     func(*disk.Dir, mtree.Stamp) error // how stamps are written; tests; nil: Dir.SetTime
}

const (
	defaultSettle        = 5 * time.Millisecond
	defaultAuditInterval = 24 * time.Hour
	settleLimit          = 10 // times Settle is the longest a batch waits
)

// withDefaults fills in defaults and compiles the globs.
func (c Config) withDefaults() (Config, *glob.List, error) {
	if c.Backend == "" {
		c.Backend = "auto"
	}
	if c.Settle <= 0 {
		c.Settle = defaultSettle
	}
	if c.AuditInterval <= 0 {
		c.AuditInterval = defaultAuditInterval
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = machine.Now
	}
	if c.Ready == nil {
		c.Ready = func() {}
	}
	if c.Notify == nil {
		c.Notify = func(string) {}
	}
	if c.Stats == nil {
		c.Stats = new(Stats)
	}
	if c.setTime == nil {
		c.setTime = (*disk.Dir).SetTime
	}
	exclude, err := glob.Excluding(c.Exclude)
	if err != nil {
		return c, nil, exit.With(exit.Usage, err, "see --exclude in docs/cli.md")
	}
	switch c.Backend {
	case "auto", "fanotify", "inotify", "none":
	default:
		err = exit.With(exit.Usage, fmt.Errorf("no backend %q", c.Backend), "use auto, fanotify, inotify or none")
	}
	if c.SameTree && c.NewTree {
		err = exit.With(exit.Usage, fmt.Errorf("--same-tree and --new-tree exclude one another"), "")
	}
	return c, exclude, err
}

// identity returns what the user says about the tree.
func (c *Config) identity() identity.Options {
	return identity.Options{
		Root: c.Root, StateDir: c.StateDir, SameTree: c.SameTree, NewTree: c.NewTree, Promote: c.Promote,
		Now: c.Now, Log: c.Log,
	}
}
