package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// options are those of the command.
type options struct {
	root    string
	only    *regexp.Regexp
	jobs    int
	budget  time.Duration
	fresh   bool
	suggest bool
	list    bool
	sample  bool
}

func main() { os.Exit(run()) }

func run() int {
	var o options
	generated := flag.Bool("generated", false, "generated mutants of the packages in heart.txt, not the marked guards")
	only := flag.String("only", "", "only in files whose names match this regular expression")
	quiet := flag.Bool("quiet", false, "print only sums and survivors")
	flag.StringVar(&o.root, "root", ".", "the root of the repository")
	flag.IntVar(&o.jobs, "j", 2, "how many at a time")
	flag.DurationVar(&o.budget, "for", 0, "for that long, in random order, e.g. 10m")
	flag.BoolVar(&o.fresh, "fresh", false, "use no results of earlier runs")
	flag.BoolVar(&o.suggest, "suggest", false, "where the tests of a mark pass, name those that fail")
	flag.BoolVar(&o.sample, "sample", false, "only marks whose tests take no time: those of packages that start no programs")
	flag.BoolVar(&o.list, "list", false, "print what would be mutated")
	flag.Parse()
	err := error(nil)
	if o.only, err = regexp.Compile(*only); err == nil {
		o.root, err = filepath.Abs(o.root)
	}
	if text := os.Getenv("PROOF_FOR"); err == nil && text != "" {
		o.budget, err = time.ParseDuration(text)
	}
	r := &report{out: os.Stdout, all: !*quiet}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if *generated {
			err = runGenerated(ctx, o, r)
		} else {
			err = runMarked(ctx, o, r)
		}
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "mutants:", err)
		return 2
	}
	if o.list {
		return 0
	}
	if r.end() {
		return 1
	}
	return 0
}
