// Mirror keeps a copy of a published tree: it polls the root, goes down only
// where a directory's mtime differs from its copy, and fetches what changed.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"tidemark/internal/cli"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror"
)

func main() {
	o := &options{Config: mirror.Config{Stats: new(mirror.Stats)}}
	cli.Main(cli.Command{
		Name:    "mirror",
		Args:    []string{"SOURCE", "DEST"},
		Many:    true,
		Short:   "keep DEST equal to SOURCE",
		Long:    "Mirror makes the contents of SOURCE the contents of DEST and keeps them so.\nSOURCE is http(s)://host[:port]/dir/, unix:/PATH[:/dir/] or a local directory. What is not in\nSOURCE is deleted from DEST, behind guards. Several SOURCEs are ways to one tree: the first that\ncan be used is, and another one while it is away.",
		Example: "  tidemark-mirror http://host:8077/ /srv/copy\n  tidemark-mirror --once --dry-run http://host:8077/ /srv/copy\n  tidemark-mirror --status /srv/copy",
		Flags:   o.define,
		Alone: func(given int) bool {
			return o.status || o.age != 0 || o.release || o.waitFor != "" || (o.verify || o.repair) && !o.Adopt && given <= 1
		},
		Quiet:  func() bool { return o.Quiet },
		Run:    o.run,
		Status: o.encodeStatus,
		Stats:  o.Stats.Each,
		States: o.Stats.States,
		Page:   o.page,
		Disk:   func(env *cli.Env) string { return env.Args["DEST"] },
	})
}

func (o *options) run(ctx context.Context, env *cli.Env) (err error) {
	o.Source, o.Dest = env.Args["SOURCE"], env.Args["DEST"]
	o.more = env.More
	o.Log, o.Out, o.Ready, o.Notify = env.Log, env.Stdout, env.Ready, env.Notify
	o.IntervalSet = env.Flags.Changed("interval")
	o.SelectionSet = slices.ContainsFunc([]string{"include", "exclude", "no-delete", "no-links"}, env.Flags.Changed)
	if !env.Flags.Changed("max-delete") {
		o.MaxDelete = "" // the default, or with --repair that of the mirror that ran last
	}
	o.checks = env.Flags.Changed("check")
	o.BWLimit = int64(o.bwLimit)
	o.MinSize, o.MaxSize = int64(o.minSize), int64(o.maxSize)
	o.UserAgent = "tidemark-mirror/" + cli.Version()
	if err := o.check(); err != nil {
		return err
	}
	if o.checks || o.status || o.DryRun || o.verify || o.waitFor != "" || o.once && !o.print { // --print tells itself what it could not
		env.Results()
		o.Out = env.Stdout
	}
	if o.print {
		o.Print = env.Stdout
	} else if env.HasTerminal() && !o.Quiet {
		o.Progress = progress(env)
	}
	if o.FullInterval == 0 {
		o.FullInterval = -1
	}
	switch {
	case o.checks:
		return mirror.Check(env.Stdout, o.Dest, o.StateDir, o.age)
	case o.status && o.json:
		return mirror.EncodeStatus(env.Stdout, o.Dest, o.StateDir)
	case o.status:
		return mirror.PrintStatus(env.Stdout, o.Dest, o.StateDir)
	case o.waitFor != "":
		stamp, err := mtree.ParseStamp(o.waitFor)
		if err != nil {
			return exit.With(exit.Usage, err, "give what watch --sync printed")
		}
		return mirror.WaitFor(ctx, o.Config, stamp)
	case o.release:
		return mirror.Release(ctx, o.Config)
	}
	return o.ask(ctx, env)
}

// hideSecrets takes out of the environment what may be secret there: it is not for --exec.
func hideSecrets() {
	_ = os.Unsetenv(cli.EnvName("mirror", "header"))
	if source := cli.EnvName("mirror", "source"); strings.Contains(os.Getenv(source), "@") { // a login, maybe
		_ = os.Unsetenv(source)
	}
}

// page writes the page of --metrics.
func (o *options) page(env *cli.Env, w io.Writer) error {
	return mirror.WritePage(w, mirror.Config{Dest: env.Args["DEST"], StateDir: o.StateDir, Stats: o.Stats}, cli.Version())
}

// ask does what needs the source, and so what mirror presents itself with.
func (o *options) ask(ctx context.Context, env *cli.Env) (err error) {
	if o.Header, err = o.client.Header(); err != nil {
		return err
	}
	hideSecrets()
	if err = o.present(env); err != nil {
		return err
	}
	switch {
	case o.verify && !o.Sums:
		return mirror.Verify(ctx, o.Config, o.repair)
	case o.once, o.Sums:
		return mirror.Once(ctx, o.Config)
	}
	return mirror.Run(ctx, o.Config)
}

// present sets what mirror presents itself with to each of its sources.
func (o *options) present(env *cli.Env) (err error) {
	log := env.Log
	clients := o.client.Each(append([]string{o.Source}, o.more...))
	first := clients[0]
	if o.TLS, o.Authorization, err = first.Load(log, o.Source); err != nil {
		return err
	}
	env.Keep(first)
	o.Credentials = first.Now
	any := o.Authorization != ""
	for i, c := range clients[1:] {
		other := mirror.Other{Source: o.more[i], Credentials: c.Now}
		if other.TLS, other.Authorization, err = c.Load(log, other.Source); err != nil {
			return err
		}
		env.Keep(c)
		if other.Header, err = c.Header(); err != nil {
			return err
		}
		o.Others = append(o.Others, other)
		any = any || other.Authorization != ""
	}
	if o.client.Netrc && !any {
		return exit.With(exit.Usage, errors.New("--netrc: there is no login for any of these hosts"), "add: machine HOST login NAME password WORD")
	}
	return nil
}

// encodeStatus writes what SIGUSR1 puts into the log.
func (o *options) encodeStatus(env *cli.Env, w io.Writer) error {
	return mirror.EncodeStatus(w, env.Args["DEST"], o.StateDir)
}
