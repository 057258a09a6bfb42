// Serve measures bin/serve side by side with Debian's nginx on one tree in
// memory, both driven by wrk in turn, and prints medians and ratios.
//
//	make && go run ./bench/serve [-rounds 5] [-seconds 1] [-only NAME] [-million]
//
// It needs nginx and wrk; bin/watch keeps the stamps. A bare net/http server that answers
// from memory shows the limit for every handler.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tidemark/bench/peers"
	"tidemark/bench/report"
	"tidemark/bench/rig"
)

const (
	served   = "http://127.0.0.1:18277"
	uncached = "http://127.0.0.1:18278"
	nginx    = "http://127.0.0.1:18279"
	bare     = "http://127.0.0.1:18280"
	metrics  = "http://127.0.0.1:18281/metrics"
)

func main() {
	rounds := flag.Int("rounds", 5, "how often each pair is measured")
	seconds := flag.Int("seconds", 1, "how long each measurement takes")
	only := flag.String("only", "", "measure only rows whose name contains this")
	results := flag.String("json", "", "write samples and medians to this file, for bench/all")
	million := flag.Bool("million", false, "measure large directories and the search for the newest files instead (takes a minute to set up)")
	flag.Parse()
	var err error
	switch {
	case flag.Arg(0) == "bare":
		err = serveBare()
	case flag.Arg(0) == "crowd":
		err = crowd(flag.Args()[1:])
	case *million:
		err = inBench(manyFiles)
	default:
		b := &bench{rounds: *rounds, seconds: *seconds, only: *only}
		if err = inBench(b.run); err == nil && *results != "" {
			err = report.Write(*results, b.found)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

// inBench runs a measurement with a directory in memory for trees and one for
// logs and scripts.
func inBench(run func(tree, work string) error) error {
	tree, err := rig.Scratch("")
	if err != nil {
		return err
	}
	defer rig.RemoveScratch(tree)
	work, err := rig.Scratch(os.TempDir())
	if err != nil {
		return err
	}
	defer rig.RemoveScratch(work)
	if err := os.Chmod(tree, 0o755); err != nil {
		return err
	}
	return run(tree, work)
}

// bench is one run over all rows.
type bench struct {
	rounds, seconds int
	only            string
	tree, work      string
	serve           *rig.Program
	found           report.Results
}

// smallFiles is how many files of 0 to 4 KiB clients ask for, one by one and in bulk.
const smallFiles = 1000

func (b *bench) run(tree, work string) error {
	b.tree, b.work = tree, work
	for dir, n := range map[string]int{"d100": 100, "d10000": 10_000, "small": smallFiles} {
		if err := os.Mkdir(filepath.Join(tree, dir), 0o755); err != nil {
			return err
		}
		for i := range n {
			size := 0
			if dir == "small" {
				size = i * 37 % 4096
			}
			name := filepath.Join(tree, dir, fmt.Sprintf("file-%05d.txt", i))
			if err := os.WriteFile(name, []byte(strings.Repeat("x", size)), 0o644); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "big"), make([]byte, 256<<20), 0o644); err != nil {
		return err
	}
	programs, err := startAll(tree, work)
	defer func() {
		for _, p := range programs {
			p.Stop()
		}
	}()
	if err != nil {
		return err
	}
	b.serve = programs["serve"]
	return b.rows()
}

// startAll starts watch, two serves (with the cache and without), nginx and the
// bare server.
func startAll(tree, work string) (programs map[string]*rig.Program, err error) {
	programs = map[string]*rig.Program{}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	conf, err := peers.NginxConf(tree, work, host(nginx))
	if err != nil {
		return nil, err
	}
	for _, one := range []struct{ name, says, command string }{
		{"watch", "armed", "bin/watch " + tree},
		{"serve", "address=", "bin/serve --listen " + host(served) + " --metrics " + strings.TrimSuffix(host(metrics), "/metrics") + " " + tree},
		{"uncached", "address=", "bin/serve --cache 0 --listen " + host(uncached) + " " + tree},
		{"nginx", "", "nginx -e stderr -c " + conf},
		{"bare", "", self + " bare"},
	} {
		args := strings.Fields(one.command)
		p, err := rig.Start(work, args[0], args[1:]...)
		if err != nil {
			return programs, err
		}
		programs[one.name] = p
		if err := p.WaitFor(one.says); err != nil {
			return programs, err
		}
	}
	return programs, answering(nginx+"/d100/", bare+"/")
}

func host(url string) string { return strings.TrimPrefix(url, "http://") }
