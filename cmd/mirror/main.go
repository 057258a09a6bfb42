// Mirror keeps a copy of a published tree: it polls the root, goes down only
// where a directory's mtime differs from its copy, and fetches what changed.
package main

import (
	"context"
	"os"
	"slices"

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
		Short:   "keep DEST equal to SOURCE",
		Long:    "Mirror makes the contents of SOURCE the contents of DEST and keeps them so.\nSOURCE is http(s)://host[:port]/dir/, unix:/PATH[:/dir/] or a local directory. What is not in\nSOURCE is deleted from DEST, behind guards.",
		Example: "  tidemark-mirror http://host:8077/ /srv/copy\n  tidemark-mirror --once --dry-run http://host:8077/ /srv/copy\n  tidemark-mirror --status /srv/copy",
		Flags:   o.define,
		Alone: func(given int) bool {
			return o.status || o.age != 0 || o.release || o.waitFor != "" || (o.verify || o.repair) && !o.Adopt && given <= 1
		},
		Run:   o.run,
		Stats: o.Stats.Each,
	})
}

func (o *options) run(ctx context.Context, env *cli.Env) (err error) {
	o.Source, o.Dest = env.Args["SOURCE"], env.Args["DEST"]
	o.Log, o.Out, o.Ready, o.Notify = env.Log, env.Stdout, env.Ready, env.Notify
	o.IntervalSet = env.Flags.Changed("interval")
	o.SelectionSet = slices.ContainsFunc([]string{"include", "exclude", "no-delete", "no-links"}, env.Flags.Changed)
	o.checks = env.Flags.Changed("check")
	o.BWLimit = int64(o.bwLimit)
	o.UserAgent = "tidemark-mirror/" + cli.Version()
	if err := o.check(); err != nil {
		return err
	}
	if o.print {
		o.Print = env.Stdout
	} else if env.HasTerminal() {
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

// ask does what needs the source, and so what mirror presents itself with.
func (o *options) ask(ctx context.Context, env *cli.Env) (err error) {
	if o.Header, err = o.client.Header(); err != nil {
		return err
	}
	_ = os.Unsetenv(cli.EnvName("mirror", "header")) // what may be secret there is not for --exec
	if o.TLS, o.Authorization, err = o.client.Load(env.Log, o.Source); err != nil {
		return err
	}
	o.Credentials = o.client.Now
	switch {
	case o.verify && !o.Sums:
		return mirror.Verify(ctx, o.Config, o.repair)
	case o.once, o.Sums:
		return mirror.Once(ctx, o.Config)
	}
	return mirror.Run(ctx, o.Config)
}
