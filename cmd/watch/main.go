// Watch hears every change in a tree and copies the changed file's mtime up
// into all its ancestor directories, so that a directory's mtime says when
// anything below it last changed.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/spf13/pflag"

	"tidemark/internal/cli"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/watch"
)

// options are what the command line and the environment say.
type options struct {
	watch.Config
	once, print, status, json, sync bool
	since                           string
	null                            bool
	hangups                         chan struct{}
}

func main() {
	defer runtime.KeepAlive(cli.LimitGarbage(2<<20, 33))
	o := options{Config: watch.Config{Stats: new(watch.Stats)}, hangups: make(chan struct{}, 1)}
	cli.Main(cli.Command{
		Name:    "watch",
		Args:    []string{"DIR"},
		Short:   "hear every change below DIR and stamp the directories above it",
		Long:    "Watch hears every change below DIR and copies the changed file's mtime up into\nall its ancestor directories. It changes directory times and DIR/.tidemark,\nnothing else.",
		Example: "  tidemark-watch /srv/tree\n  tidemark-watch --once /srv/tree          # from cron\n  tidemark-watch --sync /srv/tree          # print the stamp that covers all done so far",
		Flags:   o.define,
		Run:     o.run,
		Hangup:  o.audit,
		Status:  o.encodeStatus,
		Stats:   o.Stats.Each,
		States:  o.Stats.States,
		Disk:    o.disk,
	})
}

// disk returns where watch writes files: the tree itself may be on another file system, which it cannot fill.
func (o *options) disk(env *cli.Env) string { return cmp.Or(o.StateDir, env.Args["DIR"]) }

func (o *options) define(f *pflag.FlagSet) {
	f.StringVar(&o.Backend, "backend", "auto", "where events come from: `auto|fanotify|inotify|none`")
	f.Var(cli.DurationVar(&o.Settle, 5*time.Millisecond), "settle", "quiet TIME that ends a batch; a batch never waits longer than 10 times that, and not at all if it comes after such a TIME and its files are closed")
	f.Var(cli.DurationVar(&o.AuditInterval, 24*time.Hour), "audit-interval", "TIME between full scans")
	f.BoolVar(&o.once, "once", false, "audit, publish and exit")
	f.Var(&cli.Strings{List: &o.Exclude, Name: "GLOB"}, "exclude", "changes there wake nobody (repeatable)")
	f.StringVar(&o.Exec, "exec", "", "run `CMD` by sh -c for each batch, the changed paths on its stdin, each ended by NUL")
	f.BoolVar(&o.print, "print", false, "print each change as STAMP<TAB>PATH")
	f.BoolVar(&o.SameTree, "same-tree", false, "DIR was moved or restored and is still the same tree")
	f.BoolVar(&o.NewTree, "new-tree", false, "DIR was copied and is a tree of its own: give it a new id")
	f.BoolVar(&o.Promote, "promote", false, "make a copy a source")
	f.BoolVar(&o.CrossMounts, "cross-mounts", false, "enter directories on other file systems")
	f.StringVar(&o.StateDir, "state-dir", "", "keep the state in `DIR` instead of .tidemark, where the root is not writable")
	f.BoolVar(&o.status, "status", false, "print the state of DIR's watcher and exit")
	f.BoolVar(&o.json, "json", false, "with --status: as JSON")
	f.StringVar(&o.since, "since", "", "print the paths of what changed since --sync printed `STAMP`, and exit")
	f.BoolVarP(&o.null, "null", "0", false, "with --since: end each path with a NUL, and escape nothing")
	f.BoolVar(&o.sync, "sync", false, "wait until everything done so far is published, print the root's stamp and exit")
}

func (o *options) run(ctx context.Context, env *cli.Env) error {
	o.Root, o.Log, o.Ready, o.Notify = env.Args["DIR"], env.Log, env.Ready, env.Notify
	o.Audit = o.hangups
	if o.status || o.since != "" || o.sync {
		env.Results()
	}
	switch {
	case o.json && !o.status:
		return exit.With(exit.Usage, errors.New("--json goes with --status"), "give both")
	case o.status && o.json:
		return watch.EncodeStatus(env.Stdout, o.Root, o.StateDir)
	case o.status:
		return watch.PrintStatus(env.Stdout, o.Root, o.StateDir)
	case o.since != "":
		stamp, err := mtree.ParseStamp(o.since)
		if err != nil {
			return exit.With(exit.Usage, err, "give a STAMP that --sync printed")
		}
		return watch.Since(ctx, o.Config, stamp, o.null, env.Stdout)
	case o.sync:
		stamp, err := watch.Sync(ctx, o.Root, o.StateDir)
		if err == nil {
			_, _ = fmt.Fprintln(env.Stdout, stamp) // an error ends the program: Results
		}
		return err
	}
	if o.print {
		o.Print = env.Stdout
	}
	if o.once {
		return watch.Once(ctx, o.Config)
	}
	return watch.Run(ctx, o.Config)
}

// audit asks for an audit, at SIGHUP.
func (o *options) audit() string {
	select {
	case o.hangups <- struct{}{}:
		return "an audit begins"
	default:
		return "an audit is due already"
	}
}

// encodeStatus writes what SIGUSR1 puts into the log.
func (o *options) encodeStatus(env *cli.Env, w io.Writer) error {
	return watch.EncodeStatus(w, env.Args["DIR"], o.StateDir)
}
