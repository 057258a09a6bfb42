package rig

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"slices"

	"tidemark/bench/report"
)

// Options are the options of all benchmarks that compare tools on a tree.
type Options struct {
	Files int            // of the tree; 0: the Go source tree
	Dir   string         // where trees are made; "": in memory
	To    string         // where copies are made; "": in Dir
	Found report.Results // what is written to the file of -json
	hold  bool
	json  string
	tools []string
}

// Main reads the command line and runs the benchmark. Flags that only this benchmark has
// must be defined before. An error ends the program.
func (o *Options) Main(name string, files int, run func() error) {
	flag.IntVar(&o.Files, "files", files, "how many the tree has; 0: the Go source tree")
	flag.StringVar(&o.Dir, "dir", "", "where trees are made; empty: in memory")
	flag.StringVar(&o.To, "to", "", "where copies are made; empty: where trees are")
	flag.DurationVar(&Patience, "patience", Patience, "how long one run of a tool may take, and a change to arrive")
	flag.BoolVar(&o.hold, "hold", false, "wait for a line of input between preparing and measuring")
	flag.StringVar(&o.json, "json", "", "write samples and medians to this file, for bench/all")
	flag.Parse()
	o.tools = flag.Args()
	err := run()
	if err == nil && o.json != "" {
		err = report.Write(o.json, o.Found)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Wants reports whether a tool is one of those to be measured.
func (o *Options) Wants(tool string) bool {
	return len(o.tools) == 0 || slices.Contains(o.tools, tool)
}

// Scratch makes a new directory for trees and one for copies, which may be the same
// directory; remove removes both.
func (o *Options) Scratch() (work, copies string, remove func(), err error) {
	if work, err = Scratch(o.Dir); err != nil {
		return "", "", func() {}, err
	}
	copies = work
	if o.To != "" {
		if copies, err = Scratch(o.To); err != nil {
			RemoveScratch(work)
			return "", "", func() {}, err
		}
	}
	return work, copies, func() {
		RemoveScratch(work)
		RemoveScratch(copies)
	}, nil
}

// Hold waits for a line of input if the options say so, until the machine is quiet.
func (o *Options) Hold() {
	if o.hold {
		fmt.Fprintln(os.Stderr, "prepared: a line of input begins the measuring")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	}
}
