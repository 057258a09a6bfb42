package main

import (
	"sync/atomic"

	"github.com/spf13/pflag"

	"tidemark/internal/cli"
	"tidemark/internal/listen"
	"tidemark/pkg/mtree/serve"
)

// options are what the command line and the environment say.
type options struct {
	serve.Config
	web       listen.Web
	cache     cli.Size
	tokenFile string
	http      string
	handler   atomic.Pointer[serve.Handler] // while it serves

	status, json bool
}

func (o *options) define(f *pflag.FlagSet) {
	o.web.Listen = []string{"127.0.0.1:8077"}
	f.Var(&cli.Strings{List: &o.web.Listen, Name: "ADDR", Reset: true}, "listen", "listen on ADDR: HOST:PORT or unix:PATH (repeatable; sockets from systemd are used first)")
	f.BoolVar(&o.Hidden, "hidden", false, "publish dotfiles too")
	f.Var(&cli.Strings{List: &o.Exclude, Name: "GLOB"}, "exclude", "do not publish what matches (repeatable)")
	f.BoolVar(&o.Owner, "owner", false, "publish owners as UID:GID")
	f.BoolVar(&o.Tar, "tar", false, "answer GET DIR/?tar with the whole subtree")
	f.StringVar(&o.web.Cert, "tls-cert", "", "serve HTTPS with the certificate in `FILE`")
	f.StringVar(&o.web.Key, "tls-key", "", "key of the certificate, in `FILE`")
	f.StringVar(&o.web.ClientCA, "client-ca", "", "ask for client certificates signed by the CAs in `FILE`")
	f.StringVar(&o.tokenFile, "token-file", "", "ask for one of the bearer tokens in `FILE`, one a line")
	f.Var(&o.cache, "cache", "most memory for unchanged listings; 0 for none")
	f.IntVar(&o.MaxWaiters, "max-waiters", 16384, "most long polls held at once")
	f.Var(&cli.Choice{Value: &o.http, Of: []string{string(serve.Fast), string(serve.Std)}}, "http", "who speaks HTTP/1.1: fast (a short way for simple GETs) or std (net/http alone)")
	f.IntVar(&o.web.MaxConnections, "max-connections", 32768, "most connections at once, and at most half of the descriptors")
	f.BoolVar(&o.CrossMounts, "cross-mounts", false, "publish directories on other file systems")
	f.BoolVar(&o.status, "status", false, "print what is published of DIR and which serves of this machine do that, and exit")
	f.BoolVar(&o.json, "json", false, "with --status: as JSON")
	f.StringVar(&o.StateDir, "state-dir", "", "where watch keeps its state, if not in .tidemark: `DIR`")
}
