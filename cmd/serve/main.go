// Serve publishes a tree over HTTP: curl-able listings with Last-Modified
// headers, and the files.
package main

import (
	"context"
	"errors"
	"io"
	"runtime"

	"tidemark/internal/cli"
	"tidemark/internal/credentials"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/serve"
)

func main() {
	defer runtime.KeepAlive(cli.LimitGarbage(12<<20, 10))
	o := &options{Config: serve.Config{Stats: new(serve.Stats), Version: cli.Version()}, cache: 64 << 20, http: string(serve.Fast)}
	cli.Main(cli.Command{
		Name:    "serve",
		Args:    []string{"DIR"},
		Short:   "publish DIR over HTTP: listings and files",
		Long:    "Serve publishes the tree below DIR over HTTP, read only: listings as text, JSON\nand HTML, and the files.",
		Example: "  tidemark-serve /srv/tree\n  curl http://127.0.0.1:8077/?txt\n  tidemark-serve --status /srv/tree",
		Flags:   o.define,
		Run:     o.run,
		Status:  o.encodeStatus,
		Stats:   o.stats,
		States:  o.states,
	})
}

func (o *options) run(ctx context.Context, env *cli.Env) (err error) {
	o.Root, o.Log = env.Args["DIR"], env.Log
	if o.status {
		env.Results()
	}
	switch {
	case o.json && !o.status:
		return exit.With(exit.Usage, errors.New("--json goes with --status"), "give both")
	case o.status && o.json:
		return serve.EncodeStatus(env.Stdout, o.Root, o.StateDir)
	case o.status:
		return serve.PrintStatus(env.Stdout, o.Root, o.StateDir)
	}
	return o.publish(ctx, env)
}

// stats yields the numbers of --metrics.
func (o *options) stats(yield func(name, help string, value int64)) {
	o.Stats.Each(yield)
	if h := o.handler.Load(); h != nil {
		h.Each(yield)
	}
}

// states yields the state of the tree for --metrics.
func (o *options) states(yield func(name, help, now string, all []string)) {
	if h := o.handler.Load(); h != nil {
		h.States(yield)
	}
}

// publish serves the tree until ctx ends.
func (o *options) publish(ctx context.Context, env *cli.Env) (err error) {
	o.CacheBytes = int64(o.cache)
	if o.cache == 0 {
		o.CacheBytes = -1
	}
	if o.tokenFile != "" {
		tokens, err := credentials.OpenTokens(o.tokenFile, env.Log)
		if err != nil {
			return err
		}
		env.Keep(tokens)
		o.TokensNow = tokens.Tokens
	}
	handler, err := serve.New(o.Config)
	if err != nil {
		return err
	}
	o.handler.Store(handler)
	defer func() {
		o.handler.Store(nil)
		err = errors.Join(err, handler.Close())
	}()
	if handler.NeverWatched() {
		env.Log.Warn("no watch ever ran on this tree: mirrors must compare everything at each pass",
			"remedy", "run tidemark-watch on it")
	}
	unannounce := func() {}
	defer func() { unannounce() }()
	o.web.Listening = func(addresses []string) {
		end, err := handler.Announce(addresses)
		if unannounce = end; err != nil {
			env.Log.Debug("--status does not find this serve", "error", err)
		}
	}
	o.web.Log, o.web.Ready, o.web.Notify, o.web.Keep = env.Log, env.Ready, env.Notify, env.Keep
	ctx, ended := handler.UntilReplaced(ctx)
	if err := o.web.Serve(ctx, serve.Server(handler, serve.HTTP(o.http))); err != nil {
		return err
	}
	return ended()
}

// encodeStatus writes what SIGUSR1 puts into the log.
func (o *options) encodeStatus(_ *cli.Env, w io.Writer) error {
	handler := o.handler.Load()
	if handler == nil {
		return errors.New("it has not begun")
	}
	return handler.EncodeSelf(w)
}
